"""Damaged files in a sweep's folder: one line, or set aside as a lost attempt; never a sweep that waits for ever."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from support.damage import ABSURD, DEEP
from support.toy_sweeps import SWEEP, observe, toy_main, toy_train
from sweeps.store.attempts import holder
from sweeps.store.folder import FolderStore
from sweeps.store.retry import LOST, STOPPED
from sweeps.support.checksum import sealed
from sweeps.workers.loop import work
from sweeps.workers.options import WorkerOptions

NOTES = [json.dumps({**holder(0, {}), "pid": value}) for value in ABSURD if not isinstance(value, str)]
NOTES += [json.dumps({**holder(0, {}), "host": value}) for value in (3, None, [])]
NOTES += [sealed(holder(0, {})).replace('"host": "', '"host": "a')]  # it would be waited for
NOTES += ["", "{", "3", "null", "[]", "{}", '{"pid": "text"}', "\0\0\0", "[" * DEEP]


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note[:60])
def test_an_attempt_whose_note_is_damaged_is_lost_and_the_trial_is_tried_anew(new_store, note):
    store, (trial,) = new_store(1)
    (store.folder(trial.key) / "attempt-0001").write_text(note)
    assert work(store.directory, toy_train, options=WorkerOptions(patience=5.0)) == 0
    assert store.result(trial.key) == observe(trial)
    first, second = store.attempts(trial.key)
    assert first.cause == LOST and first.ended and second.number == 2


def test_how_an_attempt_ended_is_told_though_its_note_was_changed(new_store):
    store, (trial,) = new_store(1)
    store.attempt(trial.key, 1, holder(0, {}))
    store.end(trial.key, 1, STOPPED, "stopped")
    assert store.attempts(trial.key)[0].ended == "stopped"
    note = store.folder(trial.key) / "attempt-0001"
    note.write_text(note.read_text().replace('"pid": ', '"pid": 1'))
    (seen,) = store.attempts(trial.key)
    assert (seen.cause, seen.ended) == (STOPPED, "stopped; its note is damaged: its checksum does not match")
    ending = note.with_suffix(".end")
    ending.write_text(ending.read_text().replace("stopped", "tired"))
    assert store.attempts(trial.key)[0].cause == LOST


def test_an_attempt_that_is_a_folder_or_a_pipe_is_lost(new_store):
    store, (one, two) = new_store(2)
    (store.folder(one.key) / "attempt-0001").mkdir()
    os.mkfifo(store.folder(two.key) / "attempt-0001")
    assert work(store.directory, toy_train) == 0
    assert store.result(one.key) == observe(one) and store.result(two.key) == observe(two)


def test_an_attempt_by_a_process_that_cannot_be_is_not_waited_for(new_store):
    """Number 1 may be a worker in a container: it is alive, and what it said last counts."""
    store, (trial,) = new_store(1)
    note = store.folder(trial.key) / "attempt-0001"
    note.write_text(json.dumps({**holder(0, {}), "pid": 1}))
    assert store.claim() is None
    os.utime(note, (0, 0))
    assert store.claim().attempt == 2


@pytest.mark.parametrize("damaged", ["missing", "", "{", "3", '{"model": 3}', "pipe"])
def test_a_sweep_mends_the_description_of_a_trial(finished, damaged):
    for trial in Path("results/toy/trials").iterdir():
        shutil.rmtree(trial)
        trial.mkdir()
        if damaged == "pipe":
            os.mkfifo(trial / "trial.json")
        elif damaged != "missing":
            (trial / "trial.json").write_text(damaged)
    for name in ("observations.jsonl", "queue.json"):
        Path("results/toy", name).unlink()
    assert toy_main(["run", "toy.toml", "--fresh"]) == 0
    assert "rewritten" in Path("results/toy/logs/sweep.log").read_text()
    assert len(Path("results/toy/observations.jsonl").read_text().splitlines()) == 13


def test_a_worker_alone_tells_of_a_damaged_trial_and_does_the_others(new_store):
    store, (damaged, whole) = new_store(2)
    (store.folder(damaged.key) / "trial.json").write_text("{")
    with pytest.raises(ValueError, match=rf"{damaged.key}/trial\.json: not JSON"):
        work(store.directory, toy_train)
    assert store.finished(whole.key)


@pytest.mark.parametrize("text", ["3", "{}", '"x"', "{", "", "null", '[["x"]]'])
def test_a_queue_that_is_none_is_one_line_and_written_anew_by_the_sweep(finished, capsys, text):
    queue = Path("results/toy/queue.json")
    queue.write_text(text)
    if text != '[["x"]]':  # a list, of which nothing is a key
        with pytest.raises(ValueError, match=r"queue\.json"):
            FolderStore(Path("results/toy")).queue()
        capsys.readouterr()
        assert toy_main(["status", "results/toy"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    Path("toy.toml").write_text(SWEEP.replace("3e11", "9e11"))
    assert toy_main(["run", "toy.toml"]) == 0
    assert isinstance(json.loads(queue.read_text()), list)


def test_a_committed_folder_without_its_trials_has_a_status(finished, capsys):
    shutil.rmtree("results/toy/trials")
    assert toy_main(["status", "results/toy"]) == 0
    assert "13 done" in capsys.readouterr().out


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: repr(value)[:30])
def test_progress_that_is_none_is_not_shown(new_store, value):
    store, (trial,) = new_store(1)
    path = store.folder(trial.key) / "progress.json"
    for content in (value, {"step": value, "loss": 1.0}, {"step": 1, "loss": value}):
        path.write_text(json.dumps(content))
        told = store.files.progress(trial.key)
        assert not told or (isinstance(told["step"], int) and abs(told["loss"]) < 1e300)


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: repr(value)[:30])
def test_what_else_a_folder_says_is_refused_by_its_name_or_passed_over(new_store, value):
    store, (trial,) = new_store(1)
    needs, wanted = store.directory / "needs.json", store.directory / "trunks" / "wanted.json"
    for content in (value, {"classes": value}, {"classes": [], "trials": value}, {"trials": {trial.key: value}}):
        needs.write_text(json.dumps(content))
        try:
            store.requirements()
        except ValueError as error:
            told = str(error)
            assert told.startswith(f"{needs}: ")
    for content in (value, {trial.key: value}, {trial.key: [value, value]}):
        wanted.parent.mkdir(exist_ok=True)  # an empty one is taken away
        wanted.write_text(json.dumps(content))
        store.trunks.share([])


@pytest.mark.parametrize("how", ["3", "{", "[" * DEEP, "\0", "folder", "pipe", "link"])
def test_a_broken_sweep_beside_stops_neither_a_run_nor_a_status(finished, capsys, how):
    """Each file of a neighbour's in turn."""
    shutil.copytree(Path("results/toy").rename("results/one"), "results/two")
    trial = next(Path("results/two/trials").iterdir())
    names = ["observations.jsonl", "data.json", "queue.json", "rates.json", "sweep.toml", ".sweep.json"]
    for path in [*(Path("results/two", name) for name in names), *trial.iterdir()]:
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how == "pipe":
            os.mkfifo(path)
        elif how == "link":
            path.symlink_to("/dev/zero")
        else:
            path.write_text(how)
    capsys.readouterr()
    assert toy_main(["status", "results/one"]) == 0
    assert toy_main(["run", "toy.toml", "--out", "results/three"]) == 0
    assert toy_main(["run", "toy.toml", "--out", "results/one"]) == 0
