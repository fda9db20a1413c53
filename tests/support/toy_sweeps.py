"""A toy trainer behind the real worker loop: its losses follow a known law, and it misbehaves as toy.json tells it.

Run as a program it is a worker (`toy_sweeps.py --sweep DIR`), prepares data (`toy_sweeps.py --json -- FILE`), or is
the `sweep` command with both in place of the real ones (`toy_sweeps.py sweep ...`). With the variable REAL_PACE trainer
and data are the real ones, and the trainer waits so many seconds after each step, until the sweep's folder has a file
of the name HURRY.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# What a worker needs: hundreds of them start, and what only the command needs is imported where it begins.
from sweeps.experiment.sources import Data
from sweeps.models import find_model
from sweeps.store import attempts
from sweeps.store.bucket import BucketStore
from sweeps.store.files import report
from sweeps.store.trunks import Trunk, trunk_of
from sweeps.support.paths import MARKER
from sweeps.trial import Observation, Trial, failure
from sweeps.workers import loop, ray_job
from sweeps.workers.stop_requests import StopRequests

DATA = Data(data_hash="d0", train_pairs=200_000, held_out_pairs=1000, tokens=60.0, squares=2500.0)
BEST_RATE = {"full": 2e-3, "lora": 1e-2, "freeze": 3e-3, "bias": 3e-2}
COMMAND = (sys.executable, __file__)
HURRY = "hurry"

SWEEP = """
models = ["nano-25k", "nano-100k"]
budgets = [1e11, 3e11]
[[methods]]
name = "full"
lr = 2e-3
[[methods]]
name = "lora"
rank = 8
lr_search = [1e-3, 3e-3]
"""


def loss(trial: Trial) -> float:
    """A law with one best learning rate for each method; rates ten times too high diverge (infinity)."""
    off = math.log(trial.lr / BEST_RATE[trial.method.name])
    bowl = 0.05 * off**2 if off < math.log(10) else math.inf
    return 0.5 + find_model(trial.model).params ** -0.1 + 40 * trial.pairs**-0.4 + bowl


def toy_train(trial: Trial, folder: Path, stop: StopRequests | None = None) -> Observation:
    """Take `seconds` in ten steps with a checkpoint after each, unless toy.json says otherwise for the model."""
    sweep = folder.parents[1]
    plan = json.loads((sweep / "toy.json").read_text()) if (sweep / "toy.json").exists() else {}
    with open(sweep / "started.txt", "a") as file:
        file.write(f"{trial.key} {os.getpid()}\n")
    if trial.model == plan.get("raises"):
        raise RuntimeError("the\nmodel is broken")
    if trial.model == plan.get("scarce") and not (stop and stop.smaller):
        raise MemoryError("no memory for the whole micro-batch")
    if plan.get("curves") and math.isinf(loss(trial)):
        return observe(trial)  # at its first step, which no curve tells of
    checkpoint, trunk = folder / "checkpoint.safetensors", trunk_of(folder, trial)
    reused = _trunk_steps(trunk) if trunk and not checkpoint.exists() else 0
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(first, 10):
        time.sleep(plan.get("seconds", 0.0) / 10)
        if trial.model == plan.get("kills") and step == plan.get("at", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if plan.get("checkpoints"):
            (folder / ".new").write_text(str(step + 1))
            os.replace(folder / ".new", checkpoint)
        if trunk and (step + 1) * trial.steps >= 10 * trunk.cooldown_start and trunk.wanted():
            trunk.folder.mkdir(exist_ok=True)
            trunk.own.write_text("a state")
        at = (step + 1) * trial.steps // 10
        report(folder, step=at, loss=loss(trial) if plan.get("curves") else 9.0 - step)
        if stop and stop.requested():
            raise SystemExit
    observation = observe(trial)
    if plan.get("curves"):
        observation = replace(observation, curve=((1, 60, loss(trial)),))
    return replace(observation, reused_flops=observation.flops * reused / trial.steps)


def _trunk_steps(trunk: Trunk) -> int:
    """Steps that another trial of the trunk went already."""
    state = trunk.newest()
    return int(state.stem) if state else 0


def observe(trial: Trial) -> Observation:
    """What the toy leaves of a trial."""
    known = {"flops": 1e9, "pairs": trial.pairs, "seconds": 0.1, "total_seconds": 0.2, "data_pairs": DATA.train_pairs}
    if math.isinf(loss(trial)):
        return failure(trial, "training loss is inf", "diverged", **known)
    return Observation(trial, "done", loss=loss(trial), **known)


@contextmanager
def changed(thing: Any, name: str, value: Any) -> Iterator[None]:
    """Inside, a thing's attribute has this value. (unittest.mock would take as long to import as all of a worker.)"""
    before = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, before)


@contextmanager
def toys() -> Iterator[None]:
    """Inside, sweeps have the toy's worker and data."""
    from sweeps.commands import conduct
    from sweeps.running import conductor
    from sweeps.workers import slurm
    from sweeps.workers.base import LaunchOptions

    ours = [changed(conduct, "LaunchOptions", partial(LaunchOptions, command=COMMAND))]
    ours += [changed(slurm, "POLL", 0.5)]
    if "REAL_PACE" not in os.environ:
        ours += [changed(conduct, "prepare", lambda file: DATA)]
    ours += [changed(conductor, "POLL", 0.1)]  # its trials take milliseconds
    with ExitStack() as stack:
        for one in ours:
            stack.enter_context(one)
        yield


def toy_main(argv: list[str]) -> int:
    """`sweep` with the toy's worker and data."""
    from sweeps import cli

    with toys():
        return cli.main([*argv, "--no-law"] if argv[:1] == ["run"] else argv)  # most toys are too small for laws


def toy_worker(argv: list[str]) -> int:
    """`embed worker` with the toy's trainer, but for trials of several processes."""
    import runner.cli
    from runner.commands import worker

    real = worker.trainer_of

    def trainer_of(one: Any, job: Any) -> loop.Train:
        if pace := os.environ.get("REAL_PACE"):
            return _paced(real(one, job), float(pace))
        return real(one, job) if one.processes > 1 else toy_train

    with changed(worker, "trainer_of", trainer_of):
        return runner.cli.main(["worker", *argv])


def _paced(train: loop.Train, seconds: float) -> loop.Train:
    """The same trainer, which waits so many seconds after each step while nothing says HURRY."""

    def paced(trial: Trial, folder: Path, stop: StopRequests) -> Observation:
        requested, hurry = stop.requested, folder.parents[1] / HURRY

        def wait() -> bool:
            time.sleep(0.0 if hurry.exists() else seconds)
            return requested()

        with changed(stop, "requested", wait):
            return train(trial, folder, stop)

    return paced


def _machine(name: str, arguments: list[str]) -> list[str]:
    """The arguments of a worker on a machine of its own, whose processes nobody else sees; where the sweep is kept
    elsewhere, with a folder of its own."""
    attempts.host_and_boot = lambda: (name, "")
    if "--store" not in arguments:
        return arguments
    conductors = arguments[arguments.index("--sweep") + 1]
    own = Path(conductors).parents[1] / "machines" / name / Path(conductors).name
    own.mkdir(parents=True)
    for known in (MARKER, "toy.json"):
        shutil.copy(Path(conductors) / known, own)
    return [str(own) if argument == conductors else argument for argument in arguments]


if __name__ == "__main__":
    loop.IDLE = BucketStore.pause = 0.1
    if "TOY_LEASE" in os.environ:
        loop.work = partial(loop.work, lease=float(os.environ["TOY_LEASE"]))
    if sys.argv[1] == "--sweep":
        actor = os.environ.get(ray_job.NAME)
        raise SystemExit(toy_worker(_machine(actor, sys.argv[1:]) if actor else sys.argv[1:]))
    if sys.argv[1] == "sweep":
        raise SystemExit(toy_main(sys.argv[2:]))
    print(json.dumps(DATA.to_json()))
