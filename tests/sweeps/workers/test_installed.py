"""A package of anybody's own brings a launcher, by an entry point alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.sweep_process import spawn, started

ROOT = Path(__file__).parents[3]
TWO_TRIALS = 'models = ["nano-25k", "nano-100k"]\nbudgets = [3e11]\n[[methods]]\nname = "full"\nlr = 2e-3\n'
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny-engine"
version = "1.0"
[project.entry-points."recipe_planner.launchers"]
tiny = "tiny_engine:Tiny"
local = "tiny_engine:Tiny"
broken = "tiny_engine:NotThere"
wrong = "tiny_engine:number"
[tool.setuptools]
py-modules = ["tiny_engine"]
"""
ENGINE = '''
"""One worker after the other, in the foreground of this machine."""

import os
import subprocess

from sweeps.workers.base import ClusterJob, Launcher, Workers, environment

number = 1


class Job(ClusterJob):
    identity = {"job": "tiny"}
    port = 29999

    def step(self, nodes):
        return []

    def requeue(self):
        return False

    def reap(self, store):
        pass


class Tiny(Launcher):
    here = True

    def start(self, store, trials):
        return OneWorker([*self.options.command, "--sweep", str(store.directory)])

    @classmethod
    def this_job(cls):
        return Job() if "TINY" in os.environ else None


class OneWorker(Workers):
    count = 1

    def __init__(self, command):
        variables = os.environ | environment(1) | {"TINY": "1", "SWEEP_LAUNCHER": str(os.getpid())}
        self.process = subprocess.Popen(command, env=variables)

    def tend(self):
        return []

    def stop(self):
        self.process.terminate()
        self.process.wait()
'''


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Variables under which a tiny engine is installed beside what is installed."""
    folder = tmp_path_factory.mktemp("engine")
    (folder / "source").mkdir()
    (folder / "source" / "pyproject.toml").write_text(PROJECT)
    (folder / "source" / "tiny_engine.py").write_text(ENGINE)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site")]
    subprocess.run([*command, str(folder / "source")], check=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "site")])}


@pytest.fixture
def sweep(environment, tmp_path):
    """Runs `sweep run` with a launcher: its exit code, and what it printed."""
    (tmp_path / "toy.toml").write_text(TWO_TRIALS)

    def run(launcher: str, *more: str) -> tuple[int, str, str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = spawn("run", "toy.toml", "--launcher", launcher, *more, cwd=tmp_path, env=environment, **pipes)
        return (*process.communicate(timeout=90), process.returncode)[::-1]

    return run


def test_a_launcher_of_another_package_runs_a_sweep_and_its_job_is_noted(sweep, tmp_path):
    code, said, out = sweep("tiny", "--json")
    assert code == 0, said
    assert json.loads(out)["done"] == 2
    notes = [json.loads(path.read_text()) for path in (tmp_path / "results/toy/trials").glob("*/attempt-0001")]
    assert {note["job"] for note in notes} == {"tiny"} and len(started(tmp_path / "results/toy")) == 2


def test_a_name_that_is_ours_stays_ours(sweep):
    code, said, _ = sweep("none")
    assert code == 2 and "'local', " in said and "'tiny-engine:local'" in said and "'tiny'" in said


@pytest.mark.parametrize(
    ("name", "why"),
    [("broken", "AttributeError"), ("wrong", "tiny_engine:number is no subclass of sweeps.workers.base.Launcher")],
)
def test_one_that_cannot_be_loaded_says_so_when_it_is_asked_for(sweep, name, why):
    code, said, _ = sweep(name)
    assert code == 2 and "Traceback" not in said
    assert f"sweep: error: the launcher {name} of the package tiny-engine cannot be loaded: {why}" in said
