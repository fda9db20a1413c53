"""A training step with the blocks of fused_block.py and with transformers' own, with fp32 and bf16 products, in turn.

    python tests/benchmarks/bench_block.py                    every nano size, full tuning, batches of 256
    python tests/benchmarks/bench_block.py --method lora

CPU seconds of one thread, the median of the steps; all encoders start alike and see the same batches of random ids with
lengths as real pairs have them. "gain" is theirs / ours, "bf16" ours with fp32 products over ours with bf16.
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

from runner.model.encoder import make_encoder
from runner.training import allocator
from runner.training.engine import Engine
from runner.training.grad_cache import Batch
from sweeps.methods import METHODS, make_method
from sweeps.models import NANO, find_model
from sweeps.trial import Training, Trial

PAIRS, QUERY, DOCUMENT, CONTEXT = 256, 15, 250, 75  # tokens: means before the cut, which leaves 15 and 65
CPU = torch.device("cpu")
WAYS = [(precision, fused) for precision in ("fp32", "bf16") for fused in (True, False)]


def engine(name: str, method_name: str, precision: str, fused: bool) -> Engine:
    model, method = find_model(name), make_method(method_name, {})
    trial = Trial(model.name, method, Training(batch_size=PAIRS), 1e-5, 2)
    made = Engine(model, trial, make_encoder(model, method, "mean", CPU, 0, precision))
    made.encoder.fused = fused
    return made


def batch(draw: np.random.Generator, pairs: int = PAIRS) -> Batch:
    lengths = np.concatenate([draw.exponential(mean, pairs) for mean in (QUERY, DOCUMENT)])
    texts = [draw.integers(2, 4096, size=n) for n in np.clip(lengths, 3, CONTEXT).astype(int)]
    return Batch(texts, np.arange(2 * pairs), pairs, torch.arange(pairs)[None])


def compare(name: str, method: str, steps: int) -> list[float]:
    """CPU seconds of a step in each of WAYS."""
    engines = [engine(name, method, *way) for way in WAYS]
    draw, taken = np.random.default_rng(0), [[] for _ in WAYS]
    for _ in range(steps + 1):
        given = batch(draw)
        for made, seconds in zip(engines, taken, strict=True):
            begun = time.thread_time()
            made.step(given, 1e-5)
            seconds.append(time.thread_time() - begun)
    return [statistics.median(seconds[1:]) for seconds in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="default: every nano size")
    parser.add_argument("--method", choices=METHODS, default="full")
    parser.add_argument("--steps", type=int, default=8)
    asked = parser.parse_args()
    allocator.keep_freed()
    torch.set_num_threads(1)
    columns = "".join(f"{f'ours {each}':>11}{'theirs':>9}  gain" for each in ("fp32", "bf16"))
    print(f"{'model':<12}{'method':<8}{columns}  bf16")
    for name in asked.model or [model.name for model in NANO]:
        ours, theirs, ours_low, theirs_low = compare(name, asked.method, asked.steps)
        line = f"{name:<12}{asked.method:<8}{ours:>9.3f} s{theirs:>7.3f} s  {theirs / ours:.2f}"
        line += f"{ours_low:>9.3f} s{theirs_low:>7.3f} s  {theirs_low / ours_low:.2f}  {ours / ours_low:.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
