"""The chain of commands gives the same in any folder: an empty one, one with the user's own modules, another one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from recipe_planner.packages import ROOT

MODULES = {"sweep": "sweeps.cli", "fit": "analysis.cli", "plan": "planner.cli", "embed": "runner.cli"}
# What a user's own folder may hold: modules and packages of the names of ours, and of libraries' that ours import.
OWN = ("runner.py", "planner.py", "analysis/__init__.py", "sweeps/__init__.py", "results/__init__.py", "datasets.py")
SWEEP = """
suite = "nano"
models = ["nano-7k", "nano-25k", "nano-100k"]
budgets = [1.4e9, 2.8e9, 5.6e9]
max_epochs = 4

[training]
data = "pairs.jsonl"
batch_size = 4
context = 24

[[methods]]
name = "full"
lr = 3e-3
"""


def run(*command: str, folder: Path) -> str:
    """stdout of a command that succeeds, run in `folder` as its console script would be: without that on its path."""
    program = [sys.executable, "-P", "-m", MODULES[command[0]], *command[1:]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, capture_output=True, text=True, cwd=folder, env=environment, timeout=600)
    assert done.returncode == 0, f"{command}: {done.stderr}\n{done.stdout}"
    return done.stdout


def chain(file: str, out: str, folder: Path) -> dict[str, object]:
    """All commands from the sweep file to the scores of a model, run in `folder`; what each gave."""
    dry = json.loads(run("sweep", "run", file, "--out", out, "--dry-run", "--json", folder=folder))
    run("sweep", "run", file, "--out", out, "--workers", "2", "--fresh", folder=folder)
    status = json.loads(run("sweep", "status", out, "--json", folder=folder))
    run("sweep", "export", out, "--csv", f"{out}.csv", folder=folder)
    laws = json.loads(run("fit", out, "--json", "--bootstraps", "40", "--family", "power", folder=folder))
    beside = ("--with", "reference", "--out", f"{out}-with.json", "--bootstraps", "20")
    shared = json.loads(run("fit", out, *beside, "--json", folder=folder))
    run("plan", "--budget", "1.4e9", "--laws", f"{out}/laws.json", "--out", f"{out}.toml", folder=folder)
    recipe = (folder / f"{out}.toml").read_text()
    data = tomllib.loads(recipe)["training"]["data"]  # written for where the recipe lies
    assert ((folder / out).parent / data).samefile((folder / file).parent / "pairs.jsonl")
    recipe = recipe.replace(json.dumps(data), '"pairs.jsonl"').partition("\n")[2]
    recipe = recipe.replace(f"runs of {Path(out).name}", "runs of the sweep")
    run("embed", "train", f"{out}.toml", "--out", f"{out}-model", folder=folder)
    trained = json.loads((folder / f"{out}-model" / "observation.json").read_text())
    lines = (folder / out / "observations.jsonl").read_text().splitlines()
    seen = sorted((row["key"], row["loss"]) for row in map(json.loads, lines))
    places = sorted((row["model"], row["budget"], row["steps"]) for row in dry["trials"])
    ran = sorted((t["model"], t["budget"], t["steps"]) for t in (json.loads(line)["trial"] for line in lines))
    assert places == ran and status["done"] == len(seen) >= 6 and not status["failed"]
    coefficients = [law["coefficients"] for law in (*laws["laws"], *shared["laws"])]
    return {"seen": seen, "laws": coefficients, "recipe": recipe, "loss": trained["loss"]}


@pytest.mark.slow
def test_the_chain_gives_the_same_in_every_folder(tmp_path, pairs_file):
    for name in ("empty", "beside", "own"):
        (tmp_path / name).mkdir()
        shutil.copy(pairs_file, tmp_path / name / "pairs.jsonl")
        (tmp_path / name / "mine.toml").write_text(SWEEP)
    for name in OWN:
        path = tmp_path / "own" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit('a module of the user was imported')\n")
    (tmp_path / "own" / "pairs.jsonl").write_text("")  # another file of that name lies in the current folder
    alone = chain("mine.toml", "out", tmp_path / "empty")
    assert chain("../beside/mine.toml", "results/mine", tmp_path / "own") == alone
