"""A sweep in optuna-dashboard: the real server shows it, and the projection is the same whenever it is made."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import optuna
import pytest

from support.sweep_process import begin, spawn
from support.toy_sweeps import SWEEP, toy_main
from sweeps import cli
from sweeps.commands import dashboard
from sweeps.commands.dashboard import project
from sweeps.store.folder import FolderStore
from sweeps.store.records import read_observations


@pytest.fixture
def store(tmp_path, monkeypatch) -> FolderStore:
    """A sweep of which three trials failed."""
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(SWEEP)
    begin("results/toy", raises="nano-100k")
    assert toy_main(["run", "toy.toml"]) == 1
    return FolderStore(Path("results/toy"))


def content(path: Path) -> dict:
    """All that a person sees in the studies; times of day aside."""
    storage = f"sqlite:///{path}"
    told = {}
    for name in sorted(optuna.get_all_study_names(storage)):
        trials = optuna.load_study(study_name=name, storage=storage).trials
        told[name] = [(t.state.name, t.value, t.params, t.user_attrs, t.intermediate_values) for t in trials]
    return told


def test_the_projection_holds_every_trial_and_is_made_anew_the_same(store, tmp_path):
    assert project(store, tmp_path / "a.sqlite3") == 4 == project(store, tmp_path / "b.sqlite3")
    told = content(tmp_path / "a.sqlite3")
    assert told == content(tmp_path / "b.sqlite3")
    shown = {
        attributes["key"]: (state, value, params)
        for row in told.values()
        for state, value, params, attributes, _ in row
    }
    seen = {row.key: row for row in read_observations(store.directory / "observations.jsonl")}
    assert shown.keys() == seen.keys()
    for key, (state, value, params) in shown.items():
        assert state == ("COMPLETE" if seen[key].status == "done" else "FAIL")
        assert value == seen[key].loss
        assert params == {"lr": seen[key].trial.lr, "budget": seen[key].trial.budget, "seed": 0}


def test_the_server_shows_the_studies(store, capsys):
    before = {path: path.stat().st_mtime_ns for path in store.directory.rglob("*")}
    process = spawn("dashboard", "results/toy", "--port", "0", "--no-browser", stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stderr if "studies at" in line)
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
        with urllib.request.urlopen(f"{address}api/studies", timeout=30) as answer:
            listed = json.load(answer)["study_summaries"]
        assert {study["study_name"] for study in listed} == {
            f"nano-{size} {method}" for size in ("25k", "100k") for method in ("full", "lora rank 8 alpha 8")
        }
        assert cli.main(["dashboard", "results/toy", "--port", address.split(":")[2].strip("/")]) == 2
        assert "which cannot be used" in capsys.readouterr().err
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0 and "Traceback" not in said
    assert {path: path.stat().st_mtime_ns for path in store.directory.rglob("*")} == before


def test_without_the_extra_it_is_said_how_to_get_it(store, monkeypatch, capsys):
    monkeypatch.setattr(dashboard, "find_spec", lambda name: None)
    assert cli.main(["dashboard", "results/toy"]) == 2
    assert "pip install 'recipe-planner[dashboard]'" in capsys.readouterr().err
