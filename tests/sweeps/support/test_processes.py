"""A process runs this program's own code wherever it is started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sweeps.support.processes import ROOT, own_code


@pytest.mark.parametrize("package", ["sweeps", "planner", "runner", "analysis"])
def test_a_users_own_modules_hide_none_of_ours(tmp_path, monkeypatch, package):
    (tmp_path / f"{package}.py").write_text("raise SystemExit('the user\\'s own')")
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "__init__.py").write_text("raise SystemExit('the user\\'s own')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # as many shells have it
    command = [sys.executable, "-m", f"{package}.cli", "--help"]
    run = subprocess.run(command, cwd=tmp_path, env=os.environ | own_code(), capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout.startswith("usage: "), run.stderr


def test_where_it_is_installed_python_finds_it_by_itself(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert own_code()["PYTHONPATH"] == str(ROOT)
    monkeypatch.setattr("sweeps.support.processes.ROOT", ROOT / "site-packages")
    assert "PYTHONPATH" not in own_code()
