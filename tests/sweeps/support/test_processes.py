"""A process runs this program's own code wherever it is started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from recipe_planner.packages import ROOT
from sweeps.support.processes import own_code


@pytest.mark.parametrize("package", ["sweeps", "planner", "runner", "analysis"])
def test_a_users_own_modules_hide_none_of_ours(tmp_path, monkeypatch, package):
    (tmp_path / f"{package}.py").write_text("raise SystemExit('the user\\'s own')")
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "__init__.py").write_text("raise SystemExit('the user\\'s own')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # as many shells have it
    command = [sys.executable, "-m", f"{package}.cli", "--help"]
    run = subprocess.run(command, cwd=tmp_path, env=os.environ | own_code(), capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout.startswith("usage: "), run.stderr


def test_our_folder_comes_before_what_the_shell_names(monkeypatch, tmp_path):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert own_code()["PYTHONPATH"] == str(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert own_code()["PYTHONPATH"] == f"{ROOT}{os.pathsep}{tmp_path}"
