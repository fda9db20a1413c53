"""A whole sweep of 24 trials beside the same trials run one after another with Sentence Transformers' trainer.

    python tests/benchmarks/bench_sweep.py        20 to 35 minutes on 2 cores

Ours runs twice: with every trial trained alone, and with `warmup_steps`, as examples/reference.toml has it, so that
trials that differ only in their budget share one trunk. All three start cold: a new process and an empty cache, so
reading the source files, tokenising and imports count. Theirs is one process that keeps its imports. All embed the
held-out pools of every trial.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SWEEP = """
suite   = "nano"
models  = ["nano-25k", "nano-100k"]
budgets = [2e11, 3e11, 6e11]

[training]
batch_size = 64
pool_size  = 256
pools      = 2

[[methods]]
name = "full"
lr   = 3e-3

[[methods]]
name = "lora"
rank = 8
lr   = 3e-3

[[methods]]
name  = "freeze"
share = 0.5
lr    = 3e-3

[[methods]]
name = "bias"
lr   = 3e-2
"""


def ours(folder: Path, training: str = "") -> tuple[float, list[dict]]:
    """Seconds of the sweep command, from nothing, and its observations. training: more lines of that table."""
    (folder / "sweep.toml").write_text(SWEEP.replace("[training]", f"[training]\n{training}"))
    environment = os.environ | {"RECIPE_PLANNER_CACHE": str(folder / "cache")}
    begun = time.perf_counter()
    command = [sys.executable, "-m", "sweeps.cli", "run", str(folder / "sweep.toml"), "--out", str(folder / "out")]
    subprocess.run([*command, "--fresh"], env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    return seconds, [json.loads(line) for line in (folder / "out" / "observations.jsonl").read_text().splitlines()]


def theirs(observations: Path) -> None:
    """Run the trials of `observations` with Sentence Transformers; meant for a process of its own."""
    from bench_training import make_theirs

    from sweeps.data.readers import read_pairs
    from sweeps.store.records import read_observations

    found, _ = read_pairs("python-env")
    train = [(pair.query, pair.positive) for pair in found if not pair.held_out]
    held_out = [(pair.query, pair.positive) for pair in found if pair.held_out][:512]
    for observation in read_observations(observations):
        model, train_model = make_theirs(observation.trial, train)
        train_model()
        for column in (0, 1):
            model.encode([pair[column] for pair in held_out], batch_size=64, show_progress_bar=False)


def beside(folder: Path) -> float:
    """Seconds of the other trainer for the trials that were trained in `folder`."""
    environment = os.environ | {"RECIPE_PLANNER_CACHE": str(folder / "theirs"), "PYTHONPATH": os.getcwd()}
    program = [sys.executable, "-W", "ignore", __file__, str(folder / "out" / "observations.jsonl")]
    begun = time.perf_counter()
    subprocess.run(program, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        alone, trials = ours(Path(first))
        done = sum(one["status"] == "done" for one in trials)
        print(f"ours, each trial alone   {alone:7.1f} s   {done} of {len(trials)} trials done", flush=True)
        other = beside(Path(first))
        print(f"theirs                   {other:7.1f} s   {other / alone:.2f}x", flush=True)
        shared, trials = ours(Path(second), "warmup_steps = 20")
        done = sum(one["status"] == "done" for one in trials)
        reused = sum(one["reused_flops"] for one in trials) / sum(one["flops"] for one in trials)
        print(f"ours, one trunk          {shared:7.1f} s   {done} of {len(trials)} done, {reused:.0%} of FLOPs reused")
        print(f"theirs over it           {other / shared:7.2f}x")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        theirs(Path(sys.argv[1]))
    else:
        main()
