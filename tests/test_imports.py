"""Imports point one way, and what starts often starts light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "numpy", "scipy", "pandas", "transformers", "matplotlib", "peft", "optuna", "rich"}
# A package -> the packages of the project that it may import.
ALLOWED = {
    "sweeps": {"sweeps"},
    "planner": {"planner", "sweeps", "results"},
    "runner": {"runner", "sweeps"},
    "analysis": {"analysis", "planner", "sweeps"},
}


def imported(path: Path, everywhere: bool = True) -> set[str]:
    """Top packages that a module imports; `everywhere`: inside functions too, type checking aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()

    def visit(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if not everywhere and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_point_one_way(package):
    assert modules(package)
    for path in modules(package):
        ours = imported(path) & {*ALLOWED, "results"}
        assert ours <= ALLOWED[package], f"{path.name} imports {ours - ALLOWED[package]}"


@pytest.mark.parametrize("package", ["sweeps", "planner"])
def test_light_packages_import_only_the_standard_library_when_loaded(package):
    for path in modules(package):
        others = imported(path, everywhere=False) - set(sys.stdlib_module_names) - ALLOWED[package]
        assert not others, f"{path.name} imports {others}"


@pytest.mark.parametrize(
    "statement",
    [
        "import planner; planner.plan",
        "import planner.cli, planner.report, planner.recipe",
        "import sweeps.models, sweeps.methods, sweeps.flops, sweeps.trial, sweeps.experiment.recipe_file",
    ],
)
def test_nothing_heavy_is_loaded(statement):
    assert heavy_after(statement) == []


def test_plan_help_loads_nothing_heavy():
    statement = (
        "from planner.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0"
    )
    assert heavy_after(statement) == []


def heavy_after(statement: str) -> list[str]:
    """Heavy libraries that a fresh Python holds after `statement`."""
    program = f"{statement}\nimport sys\nprint('loaded:', *sorted({HEAVY!r} & set(sys.modules)), sep=' ')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("loaded:")[2].split()


def test_a_heavy_import_would_be_seen():
    assert heavy_after("import numpy") == ["numpy"]
