"""A launcher says itself what it needs: nobody else knows one by its name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sweeps.workers import LAUNCHERS, this_job
from sweeps.workers.base import LaunchOptions

ROOT = Path(__file__).parents[3]


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
        if path.parent != ROOT / "sweeps" / "workers":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & {*LAUNCHERS}
            assert not named, f"{path} knows {named}"
