"""The tests themselves: each lies beside its module, none imports another, and what was not tested is said."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PACKAGES = ("sweeps", "planner", "runner", "analysis")
FILES = sorted(path for path in TESTS.rglob("*.py") if "benchmarks" not in path.parts)
OF_A_MODULE = [path for package in PACKAGES for path in sorted((TESTS / package).rglob("test_*.py"))]
# What these hold is no single module's.
OF_NO_MODULE = {
    "runner/test_fake_gpu.py": "the steps that a GPU would take, where there is none",
    "runner/test_gpu.py": "the steps that a GPU takes",
    "sweeps/experiment/test_hostile_files.py": "sweep files and recipes that mean harm",
    "sweeps/test_records.py": "that every long record says what each of its fields is",
    "sweeps/workers/test_chaos.py": "kills, full disks, wrong clocks while a sweep runs",
}


def imported(path: Path) -> set[str]:
    """Modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_no_test_module_is_imported_by_another():
    assert len(FILES) > 90
    for path in FILES:
        taken = {name for name in imported(path) if any(part.startswith("test_") for part in name.split("."))}
        assert not taken, f"{path.relative_to(TESTS)} imports {taken}: what is shared lies in tests/support"
    settings = tomllib.loads((TESTS.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]
    assert settings["ini_options"]["pythonpath"] == [".", "tests"]


@pytest.mark.parametrize("path", OF_A_MODULE, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_lies_in_the_folder_of_its_module_and_is_named_after_it(path):
    name = str(path.relative_to(TESTS))
    folder = TESTS.parent / path.parent.relative_to(TESTS)
    modules = {module.stem for module in folder.glob("*.py")} | {folder.name}  # the folder itself: its __init__
    subject = path.stem.removeprefix("test_")
    named = any(subject == module or subject.startswith(f"{module}_") for module in modules)
    assert named != (name in OF_NO_MODULE), f"{folder} has no module that {path.name} is named after"


def test_what_is_of_no_module_is_there():
    assert set(OF_NO_MODULE) <= {str(path.relative_to(TESTS)) for path in OF_A_MODULE}


LACKING = """
import pytest
from support.missing import missing

@pytest.mark.parametrize("number", range(4))
def test_lacking(number):
    missing("the moon", "it is not up")

def test_with_a_server(postgres):
    pass

def test_alone():
    pass
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_was_not_tested_is_said_once_and_what_needs_a_server_is_left_out(tmp_path, processes):
    shutil.copy(TESTS / "conftest.py", tmp_path)
    (tmp_path / "test_lacking.py").write_text(LACKING)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    service\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    command = [sys.executable, "-m", "pytest", "-n", processes, "-p", "no:cacheprovider", "-m", "not service"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines.count("NOT TESTED: the moon: it is not up") == 1, done.stdout + done.stderr
    assert "1 passed, 4 skipped" in lines[-1]
