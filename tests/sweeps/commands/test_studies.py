"""The study of a sweep: every trial with its parameters and times, made anew the same, brought up to date."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import optuna
import pytest

from support.sweep_process import begin
from support.toy_sweeps import SWEEP, observe, toy_main
from sweeps.commands.studies import AXIS, Study, journal
from sweeps.store.records import read_observations


def trials(path: Path) -> list[optuna.trial.FrozenTrial]:
    storage = journal(path)
    (name,) = optuna.get_all_study_names(storage)
    assert name == "toy"
    study = optuna.load_study(study_name=name, storage=storage)
    assert study.metric_names == [AXIS]
    return study.trials


def content(path: Path) -> list[tuple]:
    """All that a person sees in the study; times of day aside."""
    return [(t.state.name, t.value, t.params, t.user_attrs, t.intermediate_values) for t in trials(path)]


def test_the_study_holds_every_trial_and_is_made_anew_the_same(store, tmp_path):
    for name in "ab":
        Study(store, tmp_path / f"{name}.log").update()
    told = content(tmp_path / "a.log")
    assert told == content(tmp_path / "b.log")
    seen = {row.key: row for row in read_observations(store.directory / "observations.jsonl")}
    assert {attributes["key"] for *_, attributes, _ in told} == seen.keys()
    for state, value, params, attributes, _ in told:
        one = seen[attributes["key"]]
        assert state == ("COMPLETE" if one.status == "done" else "FAIL") and value == one.loss
        trial = one.trial
        assert params == {
            "model": trial.model,
            "method": trial.method.label,
            "learning rate": trial.lr,
            "budget (FLOP)": trial.budget,
            "seed": 0,
        }


def test_finished_trials_have_the_times_at_which_they_ran(store, tmp_path):
    Study(store, tmp_path / "a.log").update()
    for trial in trials(tmp_path / "a.log"):
        (attempt, *_) = store.attempts(trial.user_attrs["key"])[-1:]
        assert trial.datetime_start == datetime.fromtimestamp(attempt.started)
        assert trial.duration.total_seconds() == pytest.approx(trial.user_attrs["total_seconds"] or 0.0)


def test_a_trial_that_waits_runs_and_ends_is_one_row_all_the_while(store, tmp_path):
    keys = [failed.key for failed in store.retry_failed()]
    study = Study(store, tmp_path / "a.log")
    store.set_queue(keys)
    study.update()

    def states() -> list[str]:
        rows = {trial.user_attrs["key"]: trial.state.name for trial in trials(tmp_path / "a.log")}
        return [rows[key] for key in keys]

    assert set(states()) <= {"WAITING", "FAIL"}
    count = len(study)
    claim = store.claim()
    assert claim is not None
    study.update()
    assert states()[keys.index(claim.trial.key)] == "RUNNING"
    store.finish(observe(claim.trial))
    study.update()
    study.update()
    (row,) = [t for t in trials(tmp_path / "a.log") if t.user_attrs["key"] == claim.trial.key]
    assert row.state.name == "COMPLETE" and row.value == observe(claim.trial).loss
    assert row.user_attrs["status"] == "done" and row.duration.total_seconds() >= 0 and len(study) == count


def test_a_model_that_the_sweep_file_did_not_name_gets_a_place_too(store, tmp_path):
    study = Study(store, tmp_path / "a.log")
    study.update()
    before = len(trials(tmp_path / "a.log"))
    Path("toy.toml").write_text(SWEEP.replace('"nano-100k"]', '"nano-100k", "nano-340k"]'))
    begin("results/toy")
    assert toy_main(["run", "toy.toml"]) in (0, 1)
    study.update()
    assert len(trials(tmp_path / "a.log")) > before
    assert "nano-340k" in {trial.params["model"] for trial in trials(tmp_path / "a.log")}
