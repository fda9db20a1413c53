"""`embed pretrain`: a ladder of small language models."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from runner.libraries import quiet_libraries
from runner.pretraining.ladder import read_ladder
from sweeps.support.arguments import whole


def pretrain(arguments: argparse.Namespace) -> int:
    """Run `embed pretrain`; returns the exit code."""
    ladder = read_ladder(arguments.ladder)  # what is wrong with it is told before anything is loaded
    quiet_libraries()
    import torch

    from runner.pretraining.pretrain import make_ladder

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = make_ladder(ladder, arguments.out, arguments.model)
    if arguments.json:
        print(json.dumps(results))
        return 0
    print("size          parameters       tokens  held-out loss  perplexity")
    for result in results:
        line = f"{result['name']:<12} {result['params']:>11,} {result['tokens']:>12,}"
        print(f"{line} {result['loss']:>14.4f} {result['perplexity']:>11.1f}")
    return 0


def add_pretrain(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `embed pretrain`."""
    command.add_argument("ladder", type=Path, help="TOML file of the ladder")
    command.add_argument(
        "--out", type=Path, required=True, help="folder of the models; an interrupted run is continued"
    )
    command.add_argument(
        "--model", action="append", help="train only this size; repeatable, and sizes can be trained in parallel"
    )
    command.add_argument("--threads", type=whole(), help="CPU threads (default: torch's)")
    command.add_argument("--json", action="store_true", help="print the models' records as JSON")
