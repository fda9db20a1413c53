"""Stores of toy sweeps, filled and closed, and the workers of them as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support.toy_sweeps import COMMAND, DATA
from sweeps.experiment.grid import cells
from sweeps.experiment.sweep_file import read_sweep
from sweeps.store.base import Store
from sweeps.trial import Trial

FULL = (  # a trial for every seed
    'models = ["nano-25k"]\nbudgets = [1e12]\nmin_steps = 1\nseeds = {seeds}\n[[methods]]\nname = "full"\nlr = 2e-3\n'
)
LADDER = FULL.replace("[1e12]", "[1e11, 2e11, 4e11]") + "[training]\nwarmup_steps = 20\n"  # a trunk for every seed


def wanted_trials(file: Path, seeds: int, text: str = FULL) -> list[Trial]:
    """The trials of so many seeds, whose sweep file is written; those of a trunk in order of their steps."""
    file.write_text(text.format(seeds=list(range(seeds))))
    trials = [cell.trial(2e-3) for cell in cells(read_sweep(file), DATA)]
    return sorted(trials, key=lambda trial: trial.seed)  # stable: budgets ascend within a seed


def fill(store: Store, seeds: int, closed: bool = True, text: str = FULL, **toy) -> list[Trial]:
    """Begin a sweep of so many seeds, all its trials wanted; they are returned. toy: how its trainer behaves."""
    store.directory.mkdir(parents=True, exist_ok=True)
    file = store.directory.parent / "sweep-file.toml"
    wanted = wanted_trials(file, seeds, text)
    store.begin(file, DATA)
    (store.directory / "toy.json").write_text(json.dumps(toy))
    store.trunks.share(wanted)
    store.add(wanted)
    if closed:
        store.close()
    return wanted


def start(store: Store) -> subprocess.Popen:
    """A worker with the toy trainer."""
    return subprocess.Popen([*COMMAND, "--sweep", str(store.directory)])


def python(code: str, *arguments: object, before: tuple[str, ...] = (), **options) -> subprocess.Popen:
    """A program that imports what the tests can. before: a command that runs it."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | options.pop("env", {})
    return subprocess.Popen([*before, sys.executable, "-c", code, *map(str, arguments)], env=variables, **options)
