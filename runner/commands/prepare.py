"""`embed prepare`: the data of a sweep is read and tokenised, or told what it would take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.libraries import quiet_libraries
from sweeps.support.arguments import real
from sweeps.support.progress import waiting

if TYPE_CHECKING:
    from runner.data.pairs import Pairs, Prepared
    from sweeps.trial import Training


def prepare(arguments: argparse.Namespace) -> int:
    """Run `embed prepare`; returns the exit code."""
    from sweeps.support.paths import relative_to

    with relative_to(arguments.sweep):
        return _prepare(arguments)


def _prepare(arguments: argparse.Namespace) -> int:
    from sweeps.experiment.sources import text_settings
    from sweeps.experiment.sweep_file import read_sweep

    sweep = read_sweep(arguments.sweep)
    quiet_libraries()
    from runner.data import pairs as data
    from runner.data.tokenizer import load_tokenizer, tokenizer_hash
    from runner.tasks.kinds import check_tasks

    hashes = {model.name: tokenizer_hash(load_tokenizer(model.source)) for model in sweep.models}
    if len(set(hashes.values())) > 1:
        raise ValueError(
            f"{arguments.sweep}: models have different tokenizers, {hashes}; give each tokenizer its own sweep"
        )
    source = sweep.models[0].source
    if arguments.pairs:
        return _plan_data(arguments, sweep.training, source)
    with waiting(f"reading {sweep.training.data}"):
        check_tasks(sweep.training.tasks)
        prepared = {text_settings(each): data.prepare(each, source, judged=False) for each in sweep.conditions()}
        report = _report(sweep.training, prepared[text_settings(sweep.training)])
    if len(prepared) > 1:
        conditions = {text_settings(each): each for each in sweep.conditions()}
        report["texts"] = {name: _texts(conditions[name], each.pairs) for name, each in prepared.items()}
    print(json.dumps(report) if arguments.json else "\n".join(_lines(sweep.training, report)))
    return 0


def _report(training: Training, prepared: Prepared) -> dict[str, Any]:
    """Returns what the data holds, as JSON."""
    from runner.data.pairs import fitting_pools

    size, pools = fitting_pools(prepared.pairs, training)
    return {
        "data_hash": prepared.data_hash,
        "train_pairs": len(prepared.pairs.train),
        "held_out_pairs": len(prepared.pairs.held_out),
        **_texts(training, prepared.pairs),
        "pool_size": size,
        "pools": pools,
        "problems": prepared.problems,
        "notes": prepared.notes,
        "made_pairs": prepared.made_pairs,
        "pairs_per_second": prepared.made_pairs / prepared.seconds if prepared.made_pairs else None,
        "bytes_per_pair": prepared.disk_bytes / len(prepared.pairs),
    }


def _texts(training: Training, pairs: Pairs) -> dict[str, Any]:
    """Returns how long the texts of a pair are, and those of each source, as fields of Data."""
    tokens, squares = pairs.mean_pair(training.hard_negatives, [weight for _, weight in training.sources])
    return {"tokens": tokens, "squares": squares, "sources": pairs.mean_pairs(training.hard_negatives)}


def _lines(training: Training, report: Mapping[str, Any]) -> list[str]:
    """Returns the same as lines for a terminal."""
    new = "tokenised before"
    if report["made_pairs"]:
        new = f"{report['made_pairs']:,} tokenised now, {report['pairs_per_second']:,.0f} pairs/s with their reading"
    return [
        f"{training.data}: {report['train_pairs']:,} training pairs, {report['held_out_pairs']:,} held out",
        f"hash {report['data_hash']}; a pair has {report['tokens']:.1f} tokens of at most {2 * training.context}",
        f"the held-out loss is measured in {report['pools']} x {report['pool_size']} of them",
        f"{report['bytes_per_pair']:.0f} bytes per pair on disk; {new}",
        *(report["notes"] or [f"all {report['problems']['records']:,} records can be used"]),
    ]


def _plan_data(arguments: argparse.Namespace, training: Training, source: str) -> int:
    from runner.data.data_plan import plan_data
    from runner.data.tokenizer import tokenizer_settings, training_tokenizer
    from sweeps.machine.cores import available_cores

    settings = tokenizer_settings(training_tokenizer(source, training.pooling), training)
    plan = plan_data(training.data, settings, arguments.pairs, len(available_cores()))
    print(json.dumps(plan.to_json()) if arguments.json else "\n".join(plan.lines()))
    return 0


def add_prepare(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `embed prepare`."""
    command.add_argument("sweep", type=Path, help="sweep file")
    command.add_argument(
        "--pairs",
        type=real("a number of pairs, at least 1", lambda value: value >= 1),
        metavar="N",
        help="only estimate the time, disk and memory for N pairs like the sweep's, such as 1e8",
    )
    command.add_argument("--json", action="store_true", help="print the counts as JSON")
