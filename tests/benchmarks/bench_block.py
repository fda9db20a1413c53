"""A training step with the blocks of runner/block.py and with transformers' own, taken in turn.

    python tests/benchmarks/bench_block.py                    every nano size, full tuning, batches of 256
    python tests/benchmarks/bench_block.py --method lora

CPU seconds of one thread, the median of the steps; both encoders start alike and see the same batches of random ids
with lengths as real pairs have them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner import heap
from runner.contrastive import Batch
from runner.encoder import make_encoder
from runner.engine import Engine
from sweeps.methods import METHODS, make_method
from sweeps.models import NANO, find_model
from sweeps.trial import Training, Trial

PAIRS, QUERY, DOCUMENT, CONTEXT = 256, 15, 250, 75  # tokens: means before the cut, which leaves 15 and 65
CPU = torch.device("cpu")


def engine(name: str, method_name: str) -> Engine:
    model, method = find_model(name), make_method(method_name, {})
    trial = Trial(model.name, method, Training(batch_size=PAIRS), 1e-5, 2)
    return Engine(model, trial, make_encoder(model, method, "mean", CPU, 0))


def batch(draw: np.random.Generator, pairs: int = PAIRS) -> Batch:
    lengths = np.concatenate([draw.exponential(mean, pairs) for mean in (QUERY, DOCUMENT)])
    texts = [draw.integers(2, 4096, size=n) for n in np.clip(lengths, 3, CONTEXT).astype(int)]
    return Batch(texts, np.arange(2 * pairs), pairs, torch.arange(pairs)[None])


def compare(name: str, method: str, steps: int) -> tuple[float, float]:
    """CPU seconds of a step: ours, transformers' own."""
    ours = engine(name, method)
    theirs = engine(name, method)
    theirs.encoder.fused = False
    draw, taken = np.random.default_rng(0), ([], [])
    for _ in range(steps + 1):
        given = batch(draw)
        for made, seconds in zip((ours, theirs), taken, strict=True):
            begun = time.thread_time()
            made.step(given, 1e-5)
            seconds.append(time.thread_time() - begun)
    return statistics.median(taken[0][1:]), statistics.median(taken[1][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="default: every nano size")
    parser.add_argument("--method", choices=METHODS, default="full")
    parser.add_argument("--steps", type=int, default=8)
    asked = parser.parse_args()
    heap.keep_freed()
    torch.set_num_threads(1)
    print(f"{'model':<12}{'method':<8}{'ours':>9}{'theirs':>9}  theirs / ours")
    for name in asked.model or [model.name for model in NANO]:
        ours, theirs = compare(name, asked.method, asked.steps)
        print(f"{name:<12}{asked.method:<8}{ours:>7.3f} s{theirs:>7.3f} s  {theirs / ours:.2f}", flush=True)


if __name__ == "__main__":
    main()
