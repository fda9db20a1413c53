"""What an installation lacks is said in one line with what brings it, by every command; the core needs no library."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import recipe_planner_cli
from sweeps.support.extras import EXTRAS, PACKAGES, how_to_install

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]
# Of modules that code names: those that come with others, and those of a tracker that somebody uses already.
WITH_OTHERS = {"sqlalchemy", "accelerate"}
NAMES = {"huggingface_hub": "huggingface-hub", "rich_argparse": "rich-argparse", "psycopg": "psycopg"}
# Runs commands, a list of words each, in one process in which some modules are not installed; prints what each gave.
PROGRAM = """
import contextlib, importlib.abc, io, json, sys

class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in json.loads(sys.argv[1]):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Lacking())
import recipe_planner_cli
said = []
for words in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = recipe_planner_cli.recipe(words)
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
    (folder / "ladder.toml").write_text("")
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
    assert len(err.splitlines()) == 1 and f"pip install 'recipe-planner[{extra}]'" in err, err
    assert err.startswith(f"{command.split()[0]}: error: ")


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
    lines = [line for line in err.splitlines() if not line.endswith(" s")]  # how long something takes
    assert code == 2 and lines == [
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
    ours = {*PACKAGES, "recipe_planner_cli"}
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


def test_a_package_that_was_overwritten_is_named_with_what_to_do(monkeypatch, capsys):
    def overwritten(module: str) -> None:
        raise ImportError(f"cannot import name 'support' from 'sweeps' ({module})")

    owners = {"sweeps": ["recipe-planner", "sweeps"], "planner": ["recipe-planner"]}
    monkeypatch.setattr("importlib.metadata.packages_distributions", lambda: owners)
    monkeypatch.setattr("importlib.import_module", overwritten)
    assert recipe_planner_cli.plan(["--budget", "1e13"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line.startswith("plan: error: the package sweeps was overwritten by that of the distribution sweeps")
        and "pip uninstall" in line
    )


def test_all_commands_are_there_under_one_name(capsys):
    assert recipe_planner_cli.recipe(["plan", "--budget", "1e13"]) == 0
    first = capsys.readouterr().out
    assert recipe_planner_cli.plan(["--budget", "1e13"]) == 0 and capsys.readouterr().out == first
    assert recipe_planner_cli.recipe(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {command} " in shown for command in recipe_planner_cli.COMMANDS)
    assert recipe_planner_cli.recipe(["plam"]) == 2
    assert capsys.readouterr().err == "recipe: error: COMMAND is 'plam'; known: plan, sweep, fit, embed\n"


def test_the_page_on_installation_tells_of_every_extra():
    page = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    assert not [extra for extra in OPTIONAL if extra != "dev" and f"`{extra}`" not in page and f"[{extra}]" not in page]
