"""What an installation lacks is said in one line with what brings it, by every command; the core needs no library."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from recipe_planner import cli
from recipe_planner.packages import NEEDS as PACKAGES
from sweeps.support.extras import EXTRAS, how_to_install

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]
# Of modules that code names: those that come with others, and those of a tracker that somebody uses already.
WITH_OTHERS = {"sqlalchemy", "accelerate", "PIL"}
NAMES = {"huggingface_hub": "huggingface-hub", "rich_argparse": "rich-argparse", "psycopg": "psycopg"}
# Runs commands, a list of words each, in one process in which some modules are not installed; prints what each gave.
PROGRAM = """
import contextlib, importlib.abc, io, json, sys

class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in json.loads(sys.argv[1]):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Lacking())
from recipe_planner import cli
said = []
for words in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.recipe(words)
        except SystemExit as end:
            code = end.code
    said.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""


def run_without(modules: list[str], commands: list[str], folder: Path) -> dict[str, tuple[int, str, str]]:
    """Exit code, stdout and stderr of each command, in a Python that lacks the modules."""
    words = json.dumps([command.split() for command in commands])
    program = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROGRAM}"]
    done = subprocess.run([*program, json.dumps(modules), words], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, map(tuple, json.loads(done.stdout)), strict=True))


def without_progress(err: str) -> list[str]:
    """The lines of stderr but for what something slow is doing, which a busy machine shows sooner."""
    return [line for line in err.splitlines() if not line.endswith((" s", " ..."))]


EVERYTHING = sorted({module for modules in EXTRAS.values() for module in modules} | WITH_OTHERS)
# Command -> the extra that it names where no library is installed; "" where it needs none.
NEEDS = {
    "plan --budget 1e13 --out recipe.toml": "",
    "plan --budget 24h --hardware 8xh100 --explain": "",
    "plan --budget 1e13 --data pairs.jsonl --max-epochs 4": "",
    "sweep init mine.toml --data pairs.jsonl": "",
    "sweep init --example demo": "",
    "sweep status reference": "",
    "sweep export reference --csv table.csv": "",
    "sweep doctor .": "",
    "plan --version": "",
    "plan --print-completion bash": "terminal",
    "sweep run mine.toml --dry-run": "train",
    "sweep run mine.toml": "train",
    "sweep export reference --parquet table.parquet": "parquet",
    "sweep dashboard reference": "dashboard",
    "fit reference": "fit",
    "fit table.csv --n params --d tokens --loss loss": "fit",
    "embed train recipe.toml": "train",
    "embed prepare mine.toml": "train",
    "embed pretrain ladder.toml --out ladder": "train",
    "embed bench": "train",
    "embed evaluate model --tasks code-search": "train",
    "embed mine pairs.jsonl --model model --out mined.jsonl": "train",
    "embed export model": "train",
    "embed project model --out projection.json": "train",
    "embed merge nano-7k a b --method average --out merged": "train",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with pairs and the reference sweep, of which nothing is written in the project."""
    folder = tmp_path_factory.mktemp("core")
    rows = [{"query": f"question {i} of many", "positive": f"answer {i} " * 10} for i in range(400)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "reference").symlink_to(ROOT / "results" / "reference")
    for name in ("a", "b", "model"):
        (folder / name).mkdir()
    size = "[[sizes]]\nname = 'a'\nlayers = 1\nwidth = 32\nheads = 4\nlr = 1e-3\n"
    (folder / "ladder.toml").write_text(f"name = 'x'\ntokens = 100000\n{size}")
    return folder


@pytest.fixture(scope="module")
def said(folder) -> dict[str, tuple[int, str, str]]:
    return run_without(EVERYTHING, list(NEEDS), folder)


@pytest.mark.parametrize(("command", "extra"), NEEDS.items(), ids=list(NEEDS))
def test_without_any_library_a_command_works_or_names_the_extra(command, extra, said):
    code, out, err = said[command]
    if not extra:
        assert code == 0 and out, err
        return
    assert (code, out) == (2, "")
    (line,) = without_progress(err)
    assert line.startswith(f"{command.split()[0]}: error: ") and f"pip install 'recipe-planner[{extra}]'" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("sentence_transformers", "embed evaluate model --tasks code-search", "st"),
        ("sentence_transformers", "embed mine pairs.jsonl --model model --out mined.jsonl", "st"),
        ("pandas", "fit reference", "fit"),
    ],
)
def test_one_library_that_is_missing_is_named(module, command, extra, folder):
    code, _, err = run_without([module], [command], folder)[command]
    assert code == 2 and without_progress(err) == [
        f"{command.split()[0]}: error: {module} is not installed; pip install 'recipe-planner[{extra}]'"
    ]


def test_the_core_depends_on_nothing_and_all_brings_every_extra_that_needs_no_special_machine():
    assert PROJECT["dependencies"] == []
    (everything,) = OPTIONAL["all"]
    assert set(EXTRAS) - {"terminal", "quantized"} <= Requirement(everything).extras
    assert Requirement(everything).extras <= set(OPTIONAL)


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_the_modules_that_it_is_named_for(extra):
    brought = {Requirement(line).name for line in OPTIONAL[extra]}
    assert {NAMES.get(module, module.replace("_", "-")) for module in EXTRAS[extra]} <= brought


def test_every_library_that_the_code_imports_belongs_to_an_extra():
    ours = {*PACKAGES, "recipe_planner"}
    used: dict[str, Path] = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            used |= {name.partition(".")[0]: path for name in names}
    assert set(used) - set(sys.stdlib_module_names) - ours - WITH_OTHERS <= set(EVERYTHING)


def test_a_module_of_no_extra_is_installed_by_its_name():
    assert how_to_install("wandb.sdk") == "pip install wandb"
    assert how_to_install("scipy.optimize") == "pip install 'recipe-planner[fit]'"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder like site-packages with our packages as a wheel lays them, and a neighbour's package `sweeps`."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "recipe_planner", site / "recipe_planner", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*PACKAGES, "examples"):
        (site / "recipe_planner" / name).symlink_to(ROOT / name)
    (site / "sweeps").mkdir()
    (site / "sweeps" / "__init__.py").write_text("def next_run():\n    return 'the neighbour'\n")
    return site


def beside_a_neighbour(site: Path, program: str) -> str:
    """The last line that a program says, in a Python that looks in `site` first and then where its .pth file says."""
    paths = f"import sys; sys.path[:] = [{str(site)!r}, {str(site / 'recipe_planner')!r}, *sys.path[1:]]\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", paths + program]
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True)
    return (done.stderr or done.stdout).splitlines()[-1]


@pytest.mark.parametrize(
    "statement",
    [
        "from recipe_planner import Sweep as name",
        "from recipe_planner import plan as name",
        "from planner import plan as name",
        "from planner.law_book import LawBook as name",
        "import runner as name",
        "from analysis import fit_laws as name",
        "from recipe_planner import cli; cli.sweep(['init', '--example', 'demo']); from sweeps import Sweep as name",
    ],
)
def test_a_neighbours_package_of_the_same_name_hides_none_of_ours(installed, statement):
    before = "import sweeps; assert sweeps.next_run() == 'the neighbour'; del sys.modules['sweeps']"
    found = beside_a_neighbour(installed, f"{before}\n{statement}\nprint(sys.modules['sweeps'].__file__, name)")
    assert found.startswith(str(installed / "recipe_planner" / "sweeps")), found


@pytest.mark.parametrize("statement", ["from planner import plan", "from recipe_planner import Sweep"])
def test_a_neighbours_package_that_is_loaded_already_is_named(installed, statement):
    assert beside_a_neighbour(installed, f"import sweeps\n{statement}") == (
        f"ImportError: another package sweeps is loaded already, from {installed / 'sweeps' / '__init__.py'}: "
        "`from recipe_planner import ...` must come before it, or each in a process of its own"
    )


def test_importing_ours_changes_no_path_and_loads_no_other_package(installed):
    program = "before = list(sys.path)\nfrom recipe_planner import plan\nprint(sys.path == before, "
    program += "sorted({'sweeps', 'planner', 'runner', 'analysis'} & set(sys.modules)))"
    assert beside_a_neighbour(installed, program) == "True ['planner', 'sweeps']"


def test_all_commands_are_there_under_one_name(capsys):
    assert cli.recipe(["plan", "--budget", "1e13"]) == 0
    first = capsys.readouterr().out
    assert cli.plan(["--budget", "1e13"]) == 0 and capsys.readouterr().out == first
    assert cli.recipe(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {command} " in shown for command in cli.COMMANDS)
    assert cli.recipe(["plam"]) == 2
    assert capsys.readouterr().err == "recipe: error: COMMAND is 'plam'; known: plan, sweep, fit, embed\n"


def test_the_page_on_installation_tells_of_every_extra():
    page = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    assert not [extra for extra in OPTIONAL if extra != "dev" and f"`{extra}`" not in page and f"[{extra}]" not in page]
