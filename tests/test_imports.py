"""Imports point one way, from layer to layer and from file to file, and what starts often starts light."""

import ast
import importlib
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from recipe_planner.packages import NEEDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sweeps", "planner", "runner", "analysis")
HEAVY = {"torch", "numpy", "scipy", "pandas", "transformers", "matplotlib", "peft", "optuna", "rich"}
LIGHT = ("sweeps", "planner")  # packages that load only the standard library

# The layers of each package, lowest first. A folder is a layer; of the files at a package's root those that stand above
# its folders are one each, the others are the vocabulary, named like the package. A layer may import those before it in
# its package, and of other packages what stands here: each layer up to the one named.
LAYERS = {
    "sweeps.support": (),
    "sweeps": (),
    "sweeps.machine": (),
    "sweeps.data": (),
    "sweeps.experiment": (),
    "sweeps.search": (),
    "sweeps.store": (),
    "sweeps.workers": (),
    "sweeps.running": (),
    "sweeps.commands": (),
    "sweeps.cli": (),
    "planner": ("sweeps.search",),
    "runner.libraries": ("sweeps.support",),
    "runner.data": ("sweeps.data",),
    "runner.tasks": ("sweeps.data",),
    "runner.model": ("sweeps",),
    "runner.training": ("sweeps.workers",),
    "runner.export": ("sweeps.experiment",),
    "runner.evaluation": ("sweeps.store",),
    "runner.pretraining": ("sweeps.data",),
    "runner.merging": ("sweeps.workers",),
    "runner.trainer": ("sweeps",),
    "runner.bench": ("sweeps.data",),
    "runner.commands": ("sweeps.workers",),
    "runner.cli": ("sweeps.support",),
    "analysis.tables": ("sweeps.store", "planner"),
    "analysis.frontier": ("planner",),
    "analysis.fitting": ("sweeps", "planner"),
    "analysis.goal": ("sweeps.search", "planner"),
    "analysis.figures": ("sweeps.search", "planner"),
    "analysis.comparison": ("sweeps",),
    "analysis.conditions": ("sweeps", "planner"),
    "analysis.page": ("sweeps.machine", "planner"),
    "analysis.formula": ("planner",),
    "analysis.methods_report": ("sweeps.support",),
    "analysis.batch_report": ("sweeps.support", "planner"),
    "analysis.batch_prediction": ("sweeps.experiment", "planner"),
    "analysis.repeats": ("sweeps",),
    "analysis.report": ("sweeps.support", "planner"),
    "analysis": ("sweeps", "planner"),
    "analysis.commands": ("sweeps", "planner"),
    "analysis.cli": ("sweeps", "planner"),
}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    """A file's dotted name; a folder's for its __init__.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for package in PACKAGES for path in files(package) if path.stat().st_size}


def layer_of(module: str) -> str:
    """Where a module lies: its own layer if it is one, else that of its folder, else its package's vocabulary."""
    while module not in LAYERS and "." in module:
        module = module.rpartition(".")[0]
    return module


def imported(path: Path, everywhere: bool = True) -> set[str]:
    """Dotted names that a file imports. everywhere: inside functions and for type checking too."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if not everywhere and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if not everywhere and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in MODULES else node.module for name in names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def ours(path: Path) -> set[str]:
    """Files of the project that a file imports, wherever in it."""
    return {name for name in imported(path) if name in MODULES}


FRONTS = ("sweeps", "runner")  # packages whose __init__ offers names of any of their layers, loaded when asked for


def test_every_layer_is_there_and_every_file_in_one():
    assert {layer_of(module) for module in MODULES if module not in FRONTS} == set(LAYERS)


@pytest.mark.parametrize("package", FRONTS)
def test_the_front_of_a_package_loads_nothing_by_itself(package):
    loaded = {name.partition(".")[0] for name in imported(MODULES[package], everywhere=False)}
    assert loaded <= {"__future__", "typing", "recipe_planner"}
    assert all(name.startswith(f"{package}.") for name in ours(MODULES[package]))


def below(name: str) -> set[str]:
    """A layer and those before it in its package."""
    order = [other for other in LAYERS if other.partition(".")[0] == name.partition(".")[0]]
    return set(order[: order.index(name) + 1])


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_imports_what_it_may(name):
    allowed = below(name).union(*(below(other) if other in LAYERS else {other} for other in LAYERS[name]))
    for module, path in MODULES.items():
        if layer_of(module) == name and module not in FRONTS:
            used = {layer_of(other) for other in ours(path)}
            assert used <= allowed, f"{module} imports {', '.join(sorted(used - allowed))}"


def test_no_file_imports_itself_by_way_of_others():
    try:
        list(TopologicalSorter({module: ours(path) for module, path in MODULES.items()}).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(reversed(error.args[1]))}")


def test_contributing_shows_the_table_of_layers():
    _, _, table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("| layer |")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    shown = {
        row[0].strip("`"): row[2].replace("`", "") for row in rows if len(row) == 3 and row[0].strip("`") in LAYERS
    }
    assert list(shown) == list(LAYERS)
    assert shown == {name: ", ".join(others) or "-" for name, others in LAYERS.items()}


@pytest.mark.parametrize("package", LIGHT)
def test_light_packages_import_only_the_standard_library_when_loaded(package):
    for path in files(package):
        tops = {name.partition(".")[0] for name in imported(path, everywhere=False)}
        others = tops - set(sys.stdlib_module_names) - {*PACKAGES, "recipe_planner"}
        assert not others, f"{path.name} imports {others}"


@pytest.mark.parametrize(
    "statement",
    [
        "import planner; planner.plan",
        "import planner.cli, planner.report, planner.recipe",
        "import sweeps.models, sweeps.methods, sweeps.flops, sweeps.trial, sweeps.experiment.recipe_file",
        "import sweeps.cli",
        "from sweeps import Sweep",
        "import runner, runner.cli",
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


def test_what_the_front_of_all_needs_of_ours_is_what_the_packages_import():
    for package, needs in NEEDS.items():
        used = {name.partition(".")[0] for path in files(package) for name in ours(path)}
        assert used - {package} == set(needs)


@pytest.mark.parametrize("package", ["recipe_planner", "planner", *FRONTS])
def test_what_a_package_names_as_public_is_there(package):
    front = importlib.import_module(package)
    assert sorted(front.__all__) == sorted(front.HOMES)
    assert all(getattr(front, name).__name__ == name for name in front.__all__)
    assert set(front.__all__) <= set(dir(front))
