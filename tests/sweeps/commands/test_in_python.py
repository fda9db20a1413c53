"""A sweep in Python does what the command does, from a file or from the keys of one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from support.toy_sweeps import DATA, SWEEP, toys
from sweeps import Sweep
from sweeps.experiment.sweep import Proposed
from sweeps.experiment.sweep_file import read_sweep

KEYS = {
    "models": ["nano-25k", "nano-100k"],
    "budgets": [1e11, 3e11],
    "methods": [{"name": "full", "lr": 2e-3}, {"name": "lora", "rank": 8, "lr_search": [1e-3, 3e-3]}],
}


@pytest.fixture(autouse=True)
def toy_workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with toys():
        yield


def test_keys_make_the_same_sweep_as_a_file_and_are_written_as_one():
    Path("toy.toml").write_text(SWEEP)
    sweep = Sweep(out="results/mine", **KEYS)
    assert sweep.experiment == Sweep("toy.toml").experiment == read_sweep(Path("results/mine.toml"))
    assert Sweep("toy.toml").folder == Path("results/toy")
    assert Sweep(out="results/mine", **KEYS | {"seeds": [0, 1]}).experiment.seeds == (0, 1)  # its own file is its own


def test_a_sweep_is_foreseen_run_and_read_as_a_table():
    sweep = Sweep(out="results/mine", **KEYS)
    foreseen = sweep.dry_run(workers=2)
    assert "to train  9 trials" in str(foreseen) and len(foreseen.to_frame()) == 9
    assert not Path("results/mine").exists()
    end = sweep.run(workers=2, no_law=True)
    assert end.total == end.count("done") == 13 and "13 done" in repr(end)
    observations = sweep.observations()
    exported = [json.loads(line) for line in Path("results/mine/observations.jsonl").read_text().splitlines()]
    assert dict(zip(observations["key"], observations["loss"], strict=True)) == {
        row["key"]: row["loss"] for row in exported
    }
    assert list(observations["budget"]) == sorted(observations["budget"])
    assert sweep.status().count("done") == 13 and "best so far" in str(sweep.status())


def test_in_a_notebook_each_is_a_line_and_a_table():
    sweep = Sweep(out="results/mine", **KEYS)
    foreseen = sweep.dry_run()
    assert "2 models x 2 budgets x [full, lora rank 8" in repr(sweep)
    assert len(repr(foreseen)) < 150 and foreseen._repr_html_().count("<tr>") == 10
    end = sweep.run(workers=2, no_law=True)
    assert end._repr_html_().count("<tr>") == 3  # a head, and the best of two budgets
    assert str(DATA.train_pairs)[:3] in str(foreseen)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Sweep, "give either a sweep file or the keys of one"),
        (lambda: Sweep("toy.toml", suite="nano"), "give either a sweep file or the keys of one"),
        (lambda: Sweep(**KEYS), "`out` is missing"),
        (lambda: Sweep(out="results/mine", **KEYS | {"budget": [1e9]}), "budget"),
        (lambda: Sweep(out="results/mine", **KEYS).run(launcher="slrum"), "launcher.*'slrum'.*known: local"),
        (lambda: Sweep(out="results/mine", **KEYS).run(launcher="slurm"), "needs `profile`"),
        (
            lambda: Sweep(out="results/mine", **KEYS | {"methods": KEYS["methods"][:1]}).run(),
            "the trials cannot give a law",
        ),
        (lambda: Sweep(out="results/mine", **KEYS).observations(), "no sweep here"),
        (
            lambda: Sweep(out="results/mine", **KEYS).run(launcher="external", slots=2),
            "`slots` is for `launcher` local",
        ),
        (lambda: Sweep(out="results/mine", **KEYS).run(workers=0), "`workers` is 0"),
        (lambda: Sweep(out="results/mine", **KEYS).run(track="paper"), "`track` is 'paper'.*known: tensorboard"),
        (lambda: Sweep(out="results/mine", **KEYS).dry_run(price=-1), "`price` is '-1'"),
        (lambda: Sweep(out="s3://mine", **KEYS), "names no sweep"),
        (lambda: Sweep(out="results/mine", **KEYS).dry_run(mfu=0.4), "`mfu` needs `hardware`"),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_keys_that_make_no_sweep_leave_nothing_and_what_they_are_is_told():
    with pytest.raises(ValueError, match=r"^Sweep\(\.\.\.\): has no \[\[methods\]\]"):
        Sweep(out="results/mine", suite="nano", budgets=[1e10])
    assert not Path("results").exists()
    Sweep(out="results/mine", **KEYS)
    with pytest.raises(ValueError, match=r"^Sweep\(\.\.\.\): budgets"):
        Sweep(out="results/mine", **KEYS | {"budgets": []})
    assert read_sweep(Path("results/mine.toml")).budgets == (1e11, 3e11)


def test_a_file_of_somebody_else_is_never_written_over():
    Path("mine.toml").write_text(SWEEP)
    with pytest.raises(ValueError, match=r"mine\.toml: exists and was not written by Sweep"):
        Sweep(out="mine", **KEYS)
    assert Path("mine.toml").read_text() == SWEEP


def test_a_sweep_in_a_bucket_has_its_folder_in_results_as_that_of_the_command():
    sweep = Sweep(out="s3://bucket/sweeps/mine", **KEYS)
    assert (sweep.folder, sweep.store) == (Path("results/mine"), "s3://bucket/sweeps")
    assert sweep.file == Path("results/mine.toml") and not Path("s3:").exists()


def test_what_is_in_a_store_is_looked_for_there():
    with pytest.raises(ValueError, match="postgresql://"):
        Sweep(out="results/mine", store="mysql://here/db", **KEYS).status()


def test_a_sweep_with_a_goal_shows_its_next_round(monkeypatch):
    first = Proposed("nano-25k", "full", 1e11, 1e-3)
    monkeypatch.setattr(
        "sweeps.commands.in_python.with_next_round",
        lambda asked: replace(asked, sweep=replace(asked.sweep, proposed=(first,))),
    )
    sweep = Sweep(out="results/goal", models=["nano-25k"], goal={"budget": "1e13"}, methods=[{"name": "full"}])
    assert "a goal of 1e13" in repr(sweep)
    assert list(sweep.dry_run().to_frame()["budget"]) == [1e11]
