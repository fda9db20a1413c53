"""A sweep in Python does what the command does, from a file or from the keys of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.toy_sweeps import DATA, SWEEP, toys
from sweeps import Sweep
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
        (Sweep, "made of a file or of the keys"),
        (lambda: Sweep("toy.toml", suite="nano"), "made of a file or of the keys"),
        (lambda: Sweep(**KEYS), "`out` is needed"),
        (lambda: Sweep(out="results/mine", **KEYS | {"budget": [1e9]}), "budget"),
        (lambda: Sweep(out="results/mine", **KEYS).run(launcher="slrum"), "launcher.*'slrum'.*known: local"),
        (lambda: Sweep(out="results/mine", **KEYS).run(launcher="slurm"), "needs a `profile`"),
        (lambda: Sweep(out="results/mine", **KEYS | {"methods": KEYS["methods"][:1]}).run(), "no law can come of it"),
        (lambda: Sweep(out="results/mine", **KEYS).observations(), "no sweep here"),
        (lambda: Sweep(out="results/mine", **KEYS).dry_run(mfu=0.4), "`mfu` is of a machine"),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_file_of_somebody_else_is_never_written_over():
    Path("mine.toml").write_text(SWEEP)
    with pytest.raises(ValueError, match=r"mine\.toml: is there and was not written by Sweep"):
        Sweep(out="mine", **KEYS)
    assert Path("mine.toml").read_text() == SWEEP
