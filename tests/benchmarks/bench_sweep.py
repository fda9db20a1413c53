"""A whole sweep of 24 trials beside the same trials run one after another with Sentence Transformers' trainer.

    python tests/benchmarks/bench_sweep.py        about 10 minutes on 2 quiet cores

Both start cold: a new process and an empty cache, so reading the source files, tokenising and imports count. Theirs is
one process that keeps its imports. Both embed the held-out pools of every trial.
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


def ours(folder: Path) -> float:
    """Seconds of the sweep command, from nothing."""
    (folder / "sweep.toml").write_text(SWEEP)
    environment = os.environ | {"RECIPE_PLANNER_CACHE": str(folder / "cache")}
    begun = time.perf_counter()
    command = [sys.executable, "-m", "sweeps.cli", "run", str(folder / "sweep.toml"), "--out", str(folder / "out")]
    subprocess.run([*command, "--fresh"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def theirs(observations: Path) -> None:
    """Run the trials of `observations` with Sentence Transformers; meant for a process of its own."""
    from bench_training import make_theirs

    from runner.readers import read_pairs
    from sweeps.trial import Observation

    found, _ = read_pairs("python-env")
    train = [(pair.query, pair.positive) for pair in found if not pair.held_out]
    held_out = [(pair.query, pair.positive) for pair in found if pair.held_out][:512]
    for line in observations.read_text().splitlines():
        trial = Observation.from_json(json.loads(line)).trial
        model, train_model = make_theirs(trial, train)
        train_model()
        for column in (0, 1):
            model.encode([pair[column] for pair in held_out], batch_size=64, show_progress_bar=False)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mine = ours(folder)
        observations = folder / "out" / "observations.jsonl"
        seen = [json.loads(line) for line in observations.read_text().splitlines()]
        done = sum(one["status"] == "done" for one in seen)
        print(f"ours    {mine:7.1f} s   {done} of {len(seen)} trials done", flush=True)
        environment = os.environ | {"RECIPE_PLANNER_CACHE": str(folder / "theirs"), "PYTHONPATH": os.getcwd()}
        begun = time.perf_counter()
        program = [sys.executable, "-W", "ignore", __file__, str(observations)]
        subprocess.run(program, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        other = time.perf_counter() - begun
        print(f"theirs  {other:7.1f} s\nratio   {other / mine:7.2f}x")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        theirs(Path(sys.argv[1]))
    else:
        main()
