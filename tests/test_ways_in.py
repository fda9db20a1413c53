"""Ways into an empty environment: in each, the wheel's or the checkout's commands and functions do what they should."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from recipe_planner.packages import NEEDS
from support.missing import missing

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
INSTALLED = ("recipe_planner", *NEEDS, "results", "examples")
# What another distribution installs beside ours: a package of the same name, as wheels hold it.
METADATA = "Metadata-Version: 2.1\nName: sweeps\nVersion: 0.2.0\n"
FOREIGN = {
    "sweeps/__init__.py": "def next_run():\n    return 'the neighbour'\n",
    "sweeps-0.2.0.dist-info/METADATA": METADATA,
    "sweeps-0.2.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


def run(*command: str | Path, folder: Path, code: int = 0) -> str:
    """What a command prints in an environment that knows nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Our wheel, built as `pip install .` does."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No matching distribution found for hatchling" in done.stderr:
        missing("the installed packages", "the package index that has hatchling, which builds them, is not reached")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory) -> Path:
    """The wheel of a distribution `sweeps` with a package `sweeps`."""
    path = tmp_path_factory.mktemp("neighbour") / "sweeps-0.2.0-py3-none-any.whl"
    record = "sweeps-0.2.0.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in FOREIGN.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in (*FOREIGN, record)))
    return path


def test_the_wheel_holds_every_file_below_one_package(wheel):
    listed = subprocess.run(["git", "ls-files", *INSTALLED], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        missing("the contents of the wheel", "this is no checkout of git")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {name if name.startswith("recipe_planner/") else f"recipe_planner/{name}" for name in listed.stdout.split()}
    assert ours | {"recipe_planner.pth"} <= inside
    assert {name.partition("/")[0] for name in inside} == {"recipe_planner", "recipe_planner.pth"}


def virtual(folder: Path, *packages: str | Path) -> Path:
    """A new virtual environment with the packages, one after the other; returns its folder of programs."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    for package in packages:
        pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-deps")
        pip = (*pip, "--no-compile")  # only what is run is compiled
        run(*pip, *(("--editable",) if package == ROOT else ()), package, folder=folder.parent)
    return folder / "bin"


def pip_alone(folder: Path, wheel: Path, neighbour: Path) -> Path:
    return virtual(folder, wheel)


def before_a_neighbour(folder: Path, wheel: Path, neighbour: Path) -> Path:
    return virtual(folder, wheel, neighbour)


def after_a_neighbour(folder: Path, wheel: Path, neighbour: Path) -> Path:
    return virtual(folder, neighbour, wheel)


def editable(folder: Path, wheel: Path, neighbour: Path) -> Path:
    return virtual(folder, ROOT)


def uv_tool(folder: Path, wheel: Path, neighbour: Path) -> Path:
    """`uv tool install`: the commands lie in one folder, their Python in another, which is returned."""
    uv = virtual(folder, "uv") / "uv"
    places = {"UV_TOOL_DIR": folder / "tools", "UV_TOOL_BIN_DIR": folder / "commands", "UV_CACHE_DIR": folder / "cache"}
    given = [f"{name}={value}" for name, value in places.items()]
    run("env", *given, uv, "tool", "install", "--python", sys.executable, wheel, folder=folder)
    assert {path.name for path in (folder / "commands").iterdir()} == {"plan", "sweep", "fit", "embed", "recipe"}
    return folder / "tools" / "recipe-planner" / "bin"


WAYS: dict[str, Callable[[Path, Path, Path], Path]] = {
    "pip": pip_alone,
    "before a neighbour": before_a_neighbour,
    "after a neighbour": after_a_neighbour,
    "editable": editable,
    "uv tool": uv_tool,
}


@pytest.fixture(scope="module", params=WAYS)
def programs(request, wheel, neighbour, tmp_path_factory) -> Path:
    """The folder of programs of an environment that our packages went into."""
    return WAYS[request.param](tmp_path_factory.mktemp("way") / "environment", wheel, neighbour)


@pytest.fixture
def own_folder(tmp_path) -> Path:
    """A user's folder, in which a package has a name of ours."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "__init__.py").write_text("raise SystemExit('a module of the user was imported')\n")
    return tmp_path


def test_every_way_in_leads_to_a_plan_and_a_sweep(programs, own_folder):
    shown = run(programs / "plan", "--budget", "1e19", folder=own_folder)
    assert shown.startswith("model ") and "\nsteps " in shown
    assert run(programs / "python", "-m", "recipe_planner", "plan", "--budget", "1e19", folder=own_folder) == shown
    assert "demo.toml" in run(programs / "sweep", "init", "--example", "demo", folder=own_folder)
    assert run(programs / "sweep", "run", "demo.toml", "--dry-run", folder=own_folder, code=2) == (
        "sweep: error: torch is not installed; pip install 'recipe-planner[train]'\n"
    )
    for module in ("planner", "recipe_planner"):
        program = f"from {module} import plan\nprint(plan(1e19).recipe.trial.model)"
        assert run(programs / "python", "-c", program, folder=own_folder).strip() in shown


def test_a_neighbour_keeps_its_package(programs, own_folder, request):
    if "neighbour" not in request.node.callspec.params["programs"]:
        pytest.skip("this way has no neighbour")
    program = "import sweeps\nprint(sweeps.next_run())"
    assert run(programs / "python", "-c", program, folder=own_folder) == "the neighbour\n"
    program = "from recipe_planner import Sweep\nimport sweeps\nprint(sweeps.Sweep is Sweep)"
    assert run(programs / "python", "-c", program, folder=own_folder) == "True\n"
