"""A store in a folder: what holds for any store, and what its files promise."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from support.store_truths import StoreTruths
from support.toy_stores import start
from support.toy_sweeps import COMMAND, observe
from support.waiting import wait_for
from sweeps.store import attempts
from sweeps.store.base import DOUBTED
from sweeps.store.open import open_store
from sweeps.store.records import read_observations
from sweeps.store.retry import LOST, TRIES
from sweeps.trial import failure
from sweeps.workers.local import LocalWorkers


class TestAFolder(StoreTruths):
    """What holds for any store holds for one in a folder."""


def test_many_stores_added_at_once_hold_each_trial_once(new_store, tmp_path):
    store, wanted = new_store(20)
    shutil.rmtree(store.files.trials)
    code = "import json, sys; from pathlib import Path; from sweeps.store.folder import FolderStore\n"
    code += "from sweeps.trial import Trial\n"
    code += "FolderStore(Path(sys.argv[1])).add([Trial.from_json(t) for t in json.load(open(sys.argv[2]))])"
    (tmp_path / "wanted.json").write_text(json.dumps([trial.to_json() for trial in wanted]))
    command = [sys.executable, "-c", code, str(store.directory), str(tmp_path / "wanted.json")]
    adding = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) for _ in range(3)]
    assert [process.wait(30) for process in adding] == [0, 0, 0]
    assert sorted(os.listdir(store.files.trials)) == sorted(trial.key for trial in wanted)
    assert [store.read_trial(key) for key in store.queue()] == wanted


def test_a_claim_looks_at_few_of_the_trials_that_run(new_store, monkeypatch):
    store, wanted = new_store(60)
    for _ in range(50):
        assert store.claim()
    other, looked = open_store(store.directory), []
    of = other.attempts
    monkeypatch.setattr(other, "attempts", lambda key: looked.append(key) or of(key))
    assert other.claim().trial == wanted[50]
    assert len(looked) <= DOUBTED + 1  # and the one that it took


def test_a_worker_that_another_always_precedes_soon_looks_elsewhere(new_store, monkeypatch):
    store, _ = new_store(60)
    late, looked = open_store(store.directory), []
    of = late.attempts

    def preceded(key):
        looked.append(key)
        assert of(key) or store.claim()  # the first that is free
        return of(key)

    monkeypatch.setattr(late, "attempts", preceded)
    assert late.claim() and len(looked) < 15


def test_what_is_said_of_running_trials_is_never_believed(new_store):
    store, wanted = new_store(3)
    first = store.claim()
    said = store.directory / "running"
    assert [path.name for path in said.iterdir()] == [first.trial.key]
    (said / first.trial.key).unlink()
    for trial in wanted[1:]:
        (said / trial.key).touch()
    assert {store.claim().trial.key for _ in range(2)} == {trial.key for trial in wanted[1:]}
    assert store.claim() is None
    (said / first.trial.key).touch()
    store.end(first.trial.key, 1, LOST)
    assert not (said / first.trial.key).exists()
    shutil.rmtree(said)
    said.touch()  # nobody can say anything
    assert store.claim().trial == first.trial and store.claim() is None


def test_a_dead_worker_among_many_is_found_while_others_still_wait(new_store, monkeypatch):
    store, wanted = new_store(80)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(attempts, "host_and_boot", lambda: ("elsewhere", "boot"))
        dead = store.claim().trial.key
        claims = [store.claim() for _ in range(30)]
    os.utime(store.folder(dead) / "attempt-0001", (0, 0))
    taken = []
    while dead not in taken:
        taken.append(store.claim().trial.key)
    assert len(taken) < len(wanted) - len(claims)


def test_names_from_files_never_become_paths(new_store):
    store, (trial,) = new_store(1)
    with pytest.raises(ValueError, match="is not the key of a trial"):
        store.folder("../../etc")
    (store.directory / "queue.json").write_text(json.dumps(["../x", "/etc", trial.key, 3, None]))
    assert store.queue() == [trial.key]
    (store.folder(trial.key) / "trial.json").write_text(json.dumps(replace(trial, lr=1.0).to_json()))
    with pytest.raises(ValueError, match=r"trial.json: holds a trial whose key is"):
        store.claim()


def test_results_can_be_read_without_their_curves(new_store):
    store, wanted = new_store(1)
    seen = replace(observe(wanted[0]), curve=((1, 10, 2.0), (2, 20, 1.5)), reason='a "curve": [[1]] in words')
    store.finish(seen)
    store.curves = False
    assert store.result(seen.key) == replace(seen, curve=())
    store.curves = True
    assert store.result(seen.key) == seen


def test_a_record_that_nobody_could_read_again_keeps_what_became_of_the_trial(new_store):
    store, (done, diverged) = new_store(2)
    store.finish(replace(observe(done), seconds=math.nan))
    assert (store.result(done.key).status, store.result(done.key).loss) == ("failed", None)
    store.finish(
        failure(diverged, "training loss is inf at step 3", "diverged", curve=((2, 9, 5.0), (3, 15, math.inf)))
    )
    seen = store.result(diverged.key)
    assert seen.status == "diverged" and seen.reason.startswith("training loss is inf at step 3; ") and not seen.curve


def test_a_failed_trial_is_tried_again_when_asked_and_what_it_left_is_kept(new_store):
    store, (trial,) = new_store(1, kills="nano-25k")
    workers = LocalWorkers(store, 1, COMMAND)
    try:
        wait_for(lambda: (workers.tend() and False) or store.finished(trial.key))
    finally:
        workers.stop()
    failed = store.result(trial.key)
    assert failed.status == "failed"
    (store.directory / "toy.json").unlink()
    assert start(store).wait(30) == 0
    assert store.result(trial.key) == failed  # not by itself
    assert store.retry_failed() == [failed]
    folder = store.folder(trial.key)
    assert list(read_observations(folder / f"failed-{TRIES:04d}.json")) == [failed]
    assert failed.reason in (folder / "log.txt").read_text()
    assert not store.finished(trial.key)
    assert start(store).wait(30) == 0
    assert store.result(trial.key) == observe(trial)
    assert [attempt.number for attempt in store.attempts(trial.key)] == list(range(1, TRIES + 2))
    assert store.retry_failed() == []


def test_a_trial_tried_again_may_die_as_often_as_before(new_store):
    store, (trial,) = new_store(1)
    for _ in range(2):
        for _ in range(TRIES):
            claim = store.claim()
            store.end(trial.key, claim.attempt, LOST, "killed")
        assert store.claim() is None
        assert store.result(trial.key).reason == f"killed; given up after {TRIES} attempts without progress"
        store.retry_failed()
    assert store.claim().attempt == 2 * TRIES + 1
    assert len(list(store.folder(trial.key).glob("failed-*.json"))) == 2
