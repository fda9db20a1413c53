"""The most that LoRA trials could gain by training together over one backbone.

    python tests/benchmarks/bench_together.py        four nano sizes, one thread as a worker has it

With adapters in every block, trials differ in all states after the first, so nothing of a forward pass is the same in
two of them. They could only share calls: the texts of `--trials` trials through one product with W, each trial's
adapter in thin products beside it, where a trial alone folds its adapter into W. Here those thin products cost nothing:
one step over so many times the pairs, beside so many steps. It was 0.99 to 1.02 times as fast, so this is not built.
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
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_block import batch, engine

from runner.training import allocator

MODELS = ("nano-25k", "nano-100k", "nano-340k", "nano-1.2m")


def compare(name: str, trials: int, pairs: int, steps: int) -> tuple[float, float]:
    """CPU seconds for `trials` steps alone, and for one step of all their pairs."""
    made, draw = engine(name, "lora"), np.random.default_rng(0)
    alone, together = [], []
    for _ in range(steps + 1):
        parts, whole = [batch(draw, pairs) for _ in range(trials)], batch(draw, trials * pairs)
        begun = time.thread_time()
        for each in parts:
            made.step(each, 1e-5)
        between = time.thread_time()
        made.step(whole, 1e-5)
        alone.append(between - begun)
        together.append(time.thread_time() - between)
    return statistics.median(alone[1:]), statistics.median(together[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    asked = parser.parse_args()
    allocator.keep_freed()
    torch.set_num_threads(1)
    print(f"{'model':<12}{'alone':>9}{'together':>11}  alone / together")
    for name in MODELS:
        alone, together = compare(name, asked.trials, asked.pairs, asked.steps)
        print(f"{name:<12}{alone:>7.3f} s{together:>9.3f} s  {alone / together:.2f}", flush=True)


if __name__ == "__main__":
    main()
