"""Trainings killed with SIGKILL at random moments and resumed: is the end the same to the last bit?

    python tests/benchmarks/bench_restart.py                      full and LoRA, 20 kills each
    python tests/benchmarks/bench_restart.py --method freeze      another method; --kills 5 for fewer

A checkpoint is written after every step. Most kills fall evenly over the whole run: loading, steps, evaluation; every
fourth waits for a checkpoint that is just being written. What is compared is every parameter, the losses of all steps
and the held-out loss. The trainings are forked from a process that has imported everything and computed nothing, which
saves seconds each; an undisturbed one in a Python of its own must end with the same bits too. Exit code 1 where an end
differs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["OMP_NUM_THREADS"] = "1"  # before torch: two trainings run at once

import transformers
from safetensors import safe_open
from safetensors.torch import save_file

from runner.data.pairs import prepare
from runner.trainer import train_encoder
from runner.training import train as train_module
from sweeps.methods import METHODS, make_method
from sweeps.models import find_model
from sweeps.store.files import CHECKPOINT
from sweeps.trial import Training, Trial

FORK = multiprocessing.get_context("fork")
transformers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
MODEL = "nano-25k"
PARAMETERS, LOSSES = "end.safetensors", "end.json"
COMPARED = ("status", "loss", "accuracy", "start_loss", "tokens", "flops", "curve")
AT_ONCE = 2
PATIENCE = 600  # seconds for one training


@dataclass(frozen=True)
class Case:
    """One training to kill. after: seconds from its start. writing: wait for a checkpoint that is being written."""

    trial: Trial
    folder: Path
    after: float
    writing: bool


@dataclass(frozen=True)
class Outcome:
    """When and where a training was killed, and what differs at the end ("" when nothing does)."""

    after: float
    moment: str
    step: int
    difference: str


def train_to_end(trial: Trial, folder: Path) -> None:
    """Train or resume, then leave the end state. Run in a process of its own."""
    train_module.CHECKPOINT_SECONDS = 0.0
    observation, encoder = train_encoder(trial, folder, "cpu")
    save_file({name: value.detach().contiguous() for name, value in encoder.named_parameters()}, folder / PARAMETERS)
    (folder / LOSSES).write_text(json.dumps({name: getattr(observation, name) for name in COMPARED}))


def start(trial: Trial, folder: Path, kind: str = "fork") -> BaseProcess:
    folder.mkdir(parents=True, exist_ok=True)
    process = multiprocessing.get_context(kind).Process(target=train_to_end, args=(trial, folder))
    process.start()
    return process


def finish(process: BaseProcess) -> None:
    process.join(PATIENCE)
    if process.exitcode != 0:
        raise RuntimeError(f"a training ended with exit code {process.exitcode}")


def undisturbed(trial: Trial, folder: Path, kind: str) -> float:
    """Seconds of a training that nobody kills."""
    begun = time.monotonic()
    finish(start(trial, folder, kind))
    return time.monotonic() - begun


def killed(case: Case) -> Outcome:
    """Kill a training, resume it, and compare its end with that of the one in the folder `whole` beside it."""
    begun = time.monotonic()
    process = start(case.trial, case.folder)
    process.join(case.after)
    while case.writing and process.is_alive() and not unfinished(case.folder):
        time.sleep(0.0005)
    after = time.monotonic() - begun
    process.kill()
    process.join()
    if process.exitcode != -signal.SIGKILL:  # it was faster than the undisturbed one, and had ended
        return killed(replace(case, folder=case.folder.with_name(f"{case.folder.name}-"), after=0.9 * case.after))
    moment, step = where(case)
    finish(start(case.trial, case.folder))
    return Outcome(after, moment, step, difference(case.folder.parent / "whole", case.folder))


def unfinished(folder: Path) -> bool:
    return any(name.endswith(".tmp") and CHECKPOINT in name for name in os.listdir(folder))


def where(case: Case) -> tuple[str, int]:
    """What the training did when it was killed, and how many steps its last checkpoint holds."""
    path, writing = case.folder / CHECKPOINT, unfinished(case.folder)
    if not path.exists():
        return "writing the first checkpoint" if writing else "before the first checkpoint", 0
    with safe_open(path, framework="pt") as file:
        step = json.loads(file.metadata()["record"])["step"]
    doing = "writing a checkpoint" if writing else "in a step" if step < case.trial.steps else "evaluating"
    return doing, step


def difference(whole: Path, other: Path) -> str:
    """What is not the same, to the bit."""
    here, there = (json.loads((folder / LOSSES).read_text()) for folder in (whole, other))
    unlike = [name for name in here if here[name] != there[name]]
    with safe_open(whole / PARAMETERS, "pt") as one, safe_open(other / PARAMETERS, "pt") as two:
        names = sorted(one.keys())
        if names != sorted(two.keys()):
            return "other parameters"
        unlike += [name for name in names if _bytes(one.get_tensor(name)) != _bytes(two.get_tensor(name))]
    return ", ".join(unlike)


def _bytes(tensor) -> bytes:
    return tensor.numpy().tobytes()


def compare(name: str, kills: int, steps: int, training: Training, folder: Path, pool: ProcessPoolExecutor) -> bool:
    """One method: its table; whether every end is that of the undisturbed training."""
    trial = Trial(MODEL, make_method(name, {}), training, lr=1e-2, steps=steps)
    seconds, _ = pool.map(undisturbed, [trial] * 2, [folder / "whole", folder / "again"], ["fork", "spawn"])
    repeats = difference(folder / "whole", folder / "again")
    print(f"\n{trial.method.label}: {steps} steps in {seconds:.1f} s; in a Python of its own: {repeats or 'same bits'}")
    outcomes = list(pool.map(killed, cases(trial, folder, kills, seconds)))
    print(f"{'killed after':>12}  {'at step':>7}  {'while':<30}end")
    for one in outcomes:
        print(f"{one.after:>10.2f} s  {one.step:>7}  {one.moment:<30}{one.difference or 'same bits'}")
    good = sum(not one.difference for one in outcomes)
    moments = ", ".join(f"{count} {moment}" for moment, count in Counter(one.moment for one in outcomes).items())
    print(f"{good} of {kills} bit-identical ({moments})", flush=True)
    return good == kills and not repeats


def cases(trial: Trial, folder: Path, kills: int, seconds: float) -> list[Case]:
    """Kills spread evenly over the run, each at random in its own part of it."""
    draw = random.Random(trial.key)
    moments = [(place + draw.random()) / kills * seconds for place in range(kills)]
    return [Case(trial, folder / f"{i}", after, writing=i % 4 == 3) for i, after in enumerate(moments)]


def prepared(data: str, source: str) -> str:
    """The data's hash; in a process of its own, for the one that is forked from must not have computed."""
    return prepare(Training(data=data, pool_size=64), source).data_hash


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", choices=tuple(METHODS), help="default: full and lora")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--data", default="python-env")
    arguments = parser.parse_args()
    good = True
    with ProcessPoolExecutor(1, FORK) as pool:
        data_hash = pool.submit(prepared, arguments.data, find_model(MODEL).source).result()
        training = Training(data=arguments.data, data_hash=data_hash, batch_size=16, pool_size=64, pools=1)
    with ProcessPoolExecutor(AT_ONCE, FORK) as pool, tempfile.TemporaryDirectory() as name:
        for method in arguments.method or ["full", "lora"]:
            good &= compare(method, arguments.kills, arguments.steps, training, Path(name) / method, pool)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
