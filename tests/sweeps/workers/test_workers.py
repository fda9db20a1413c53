"""Every launcher runs a sweep, leaves no process and says itself what it needs: nobody else knows its name."""

from __future__ import annotations

import ast
import json
import signal
import subprocess
from pathlib import Path

import pytest

from support.sweep_process import begin, spawn, started
from support.toy_sweeps import COMMAND
from support.waiting import wait_for
from sweeps.workers import LAUNCHERS, this_job
from sweeps.workers.base import LaunchOptions

ROOT = Path(__file__).parents[3]
TWO_TRIALS = 'models = ["nano-25k", "nano-100k"]\nbudgets = [3e11]\n[[methods]]\nname = "full"\nlr = 2e-3\n'
ON_A_CLUSTER = {
    "slurm": "test_slurm.py",
    "ray": "test_ray.py",
}  # where those have one that need it
HERE = [name for name, launcher in LAUNCHERS.items() if launcher.here]


def pids(folder: Path) -> list[int]:
    """Processes that began a trial."""
    return [int(line.split()[1]) for line in (folder / "started.txt").read_text().splitlines()]


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(TWO_TRIALS)
    return tmp_path / "toy.toml"


def test_launchers_of_a_cluster_have_tests_of_their_own():
    assert {name for name, launcher in LAUNCHERS.items() if launcher.needs_profile} <= set(ON_A_CLUSTER)
    assert all(Path(__file__).with_name(name).exists() for name in ON_A_CLUSTER.values())


@pytest.mark.parametrize("name", [name for name in LAUNCHERS if name not in ON_A_CLUSTER])
def test_a_sweep_of_two_trials_is_run(name, file):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    sweep = spawn("run", file.name, "--launcher", name, "--workers", "2", "--json", **pipes)
    elsewhere = []
    if not LAUNCHERS[name].here:  # whoever starts its workers is played by the test
        wait_for(Path("results/toy/sweep.toml").exists)
        elsewhere = [subprocess.Popen([*COMMAND, "--sweep", "results/toy"])]
    out, said = sweep.communicate(timeout=90)
    assert sweep.returncode == 0, said
    assert json.loads(out)["done"] == 2 and len(set(started(Path("results/toy")))) == 2
    assert [worker.wait(30) for worker in elsewhere] == [0] * len(elsewhere)
    assert [pid for pid in pids(Path("results/toy")) if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.parametrize("name", HERE)
def test_ctrl_c_ends_every_worker_on_this_machine(name, file):
    folder = begin("results/toy", seconds=300.0)
    sweep = spawn("run", file.name, "--launcher", name, "--workers", "2", stderr=subprocess.DEVNULL)
    wait_for(lambda: len(started(folder)) == 2 or sweep.poll() is not None)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(60) == 130
    assert [pid for pid in pids(folder) if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_that_needs_a_profile_refuses_to_start_without(name, new_store):
    launcher = LAUNCHERS[name]
    assert not (launcher.here and (launcher.needs_profile or launcher.detachable))
    if launcher.needs_profile:
        store, _ = new_store(1)
        with pytest.raises(ValueError, match=f"the launcher {name} needs a cluster profile"):
            launcher(LaunchOptions()).start(store, 1)


def test_outside_of_every_cluster_a_worker_has_no_job(monkeypatch):
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert this_job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert this_job().identity == {"job": "12", "restarts": 0}


def test_no_other_file_names_a_launcher():
    for path in [*(ROOT / "sweeps").rglob("*.py"), *(ROOT / "runner").rglob("*.py")]:
        # extras.py names what is installed for a launcher, by the library's name.
        if path.parent != ROOT / "sweeps" / "workers" and path.name != "extras.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & {*LAUNCHERS}
            assert not named, f"{path} knows {named}"
