"""As a user types it: sweep run, fit, plan, embed train, on real models and real text."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.ladder import NANO

SWEEP = """
suite   = "nano"
models  = ["nano-25k", "nano-100k", "nano-340k"]
budgets = [1e10, 2e10, 4e10]
min_steps = 3
max_epochs = 20

[training]
data       = {data}
batch_size = 16
context    = 48
pool_size  = 32
pools      = 1

[[methods]]
name = "full"
lr_search = [3e-3, 1e-2]

[[methods]]
name = "lora"
rank = 4
lr   = 1e-2

[[methods]]
name = "bias"
lr   = {{ "nano-25k" = 3e-2, "nano-100k" = 2e-2, "nano-340k" = 2e-2 }}
"""


def started(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of the project, run in `folder` as its console script would be, to its end."""
    module = {"sweep": "sweeps.cli", "fit": "analysis.cli", "plan": "planner.cli", "embed": "runner.cli"}[command[0]]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    program = [sys.executable, "-m", module, *command[1:]]
    return subprocess.run(program, capture_output=True, text=True, cwd=folder, env=environment, timeout=600)


def run(*command: str, folder: Path) -> str:
    """stdout of a command that succeeds."""
    done = started(*command, folder=folder)
    assert done.returncode == 0, f"{command}: {done.stderr}\n{done.stdout}"
    assert "Traceback" not in done.stderr
    return done.stdout


def refused(*command: str, folder: Path) -> str:
    """The one line that a command ends with, exit code 2, and nothing else but how long it took on a busy machine."""
    done = started(*command, folder=folder)
    assert done.returncode == 2, f"{command}: {done.stderr}\n{done.stdout}"
    said = [line for line in done.stderr.splitlines() if not re.fullmatch(r".* \.\.\. \d+ s", line)]
    assert done.stdout == "" and len(said) == 1, f"{done.stdout}\n{done.stderr}"
    assert said[0].startswith(f"{command[0]}: error: ")
    return said[0]


@pytest.fixture(scope="module")
def swept(pairs_file, tmp_path_factory) -> Path:
    """A folder in which the sweep has been run to its end."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "small.toml").write_text(SWEEP.format(data=json.dumps(str(pairs_file))))
    run("sweep", "run", "small.toml", "--out", "results/small", folder=folder)
    return folder


def observations(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results/small/observations.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_dry_run_shows_the_cost_and_trains_nothing(pairs_file, tmp_path):
    (tmp_path / "small.toml").write_text(SWEEP.format(data=json.dumps(str(pairs_file))))
    shown = run("sweep", "run", "small.toml", "--out", "out", "--dry-run", folder=tmp_path)
    assert "nano-100k" in shown and "lora rank 4" in shown and "FLOP" in shown
    assert not list((tmp_path / "out").rglob("result.json"))


@pytest.mark.slow
def test_every_cell_has_one_observation_and_the_search_is_part_of_it(swept):
    found = observations(swept)
    assert all(row["status"] == "done" for row in found)
    keys = [row["key"] for row in found]
    assert len(keys) == len(set(keys))
    cells = {(row["trial"]["model"], json.dumps(row["trial"]["method"]), row["trial"]["budget"]) for row in found}
    assert len(cells) == 3 * 3 * 3
    searched = {row["trial"]["lr"] for row in found if row["trial"]["method"]["name"] == "full"}
    assert len(searched) >= 2
    for row in found:
        assert row["flops"] == pytest.approx(row["trial"]["budget"], rel=0.25)  # few steps, so coarse rounding
        assert row["loss"] < math.log(32) + 0.5


@pytest.mark.slow
def test_a_second_run_repeats_nothing(swept):
    before = {path: path.stat().st_mtime_ns for path in (swept / "results/small/trials").rglob("result.json")}
    run("sweep", "run", "small.toml", "--out", "results/small", folder=swept)
    after = {path: path.stat().st_mtime_ns for path in (swept / "results/small/trials").rglob("result.json")}
    assert before == after


@pytest.mark.slow
def test_another_sweep_reuses_the_same_trials(swept):
    run("sweep", "run", "small.toml", "--out", "results/again", folder=swept)
    again = (swept / "results/again/observations.jsonl").read_text().splitlines()
    assert {json.loads(line)["key"]: json.loads(line)["loss"] for line in again} == {
        row["key"]: row["loss"] for row in observations(swept)
    }


@pytest.mark.slow
def test_fit_plan_and_train_follow_from_the_sweep(swept):
    fit = ["fit", "results/small", "--figures", "figures", "--bootstraps", "50"]
    run(*fit, "--min-steps", "3", "--max-epochs", "20", folder=swept)
    laws = json.loads((swept / "results/small/laws.json").read_text())
    assert {law["method"]["name"] for law in laws["laws"]} >= {"full", "lora"}
    assert list((swept / "figures").glob("*.png")) and list((swept / "figures").glob("*.svg"))
    plan = ["plan", "--budget", "6e10", "--laws", "results/small/laws.json", "--min-steps", "3"]
    answer = json.loads(run(*plan, "--json", folder=swept))
    recipe = answer["recipe"]
    assert recipe["model"] in {model.name for model in NANO} and recipe["flops"] == pytest.approx(6e10, rel=0.1)
    text = run(*plan, "--out", "recipe.toml", folder=swept)
    low, high = (f"{bound:#.3g}" for bound in recipe["interval"])
    reaches = f"{recipe['loss']:.3f} nats per pair, held out; 90 % prediction interval {low} to {high}"
    assert re.search(rf"^loss +{re.escape(reaches)}$", text, re.MULTILINE)
    assert re.match(f"model +{recipe['model']}, ", text)
    run("embed", "train", "recipe.toml", "--out", "model", folder=swept)
    observation = json.loads((swept / "model/observation.json").read_text())
    assert observation["status"] == "done"
    assert observation["flops"] == pytest.approx(recipe["exact_flops"], rel=0.05)
    trial = observation["trial"]
    assert [trial[name] for name in ("model", "method", "steps")] == [
        recipe[name] for name in ("model", "method", "steps")
    ]
    assert (swept / "model/modules.json").exists()
    assert "model" in refused("embed", "train", "recipe.toml", "--out", "model", folder=swept)  # nothing is overwritten


@pytest.mark.slow
def test_status_tells_what_was_done(swept):
    count = len(observations(swept))
    shown = run("sweep", "status", "results/small", folder=swept)
    assert re.search(rf"\b{count} trials: {count} done\b(?!, )", shown)  # and none that failed, runs or is to come


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("plan", "--budget", "nan"), "--budget is 'nan'"),
        (("plan", "--budget", "-1"), "--budget is '-1'"),
        (("fit", "no-such-folder"), "no-such-folder: "),
        (("sweep", "run", "no-such-file.toml"), "no-such-file.toml: "),
        (("embed", "train", "no-such-file.toml"), "no-such-file.toml: "),
        (("embed", "prepare", "no-such-file.toml"), "no-such-file.toml: "),
        (("embed", "pretrain", "no-such-file.toml", "--out", "x"), "no-such-file.toml: "),
        (("embed", "worker", "--sweep", "no-such-folder"), "no-such-folder: "),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(command, named, tmp_path):
    assert named in refused(*command, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["sweep", "plan", "fit", "embed"])
def test_help_has_examples(command, tmp_path):
    assert f"examples:\n  {command} " in run(command, "--help", folder=tmp_path)
