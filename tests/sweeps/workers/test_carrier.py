"""A node is lost in the middle of a trial: the trial goes on elsewhere, from its checkpoint, to the same bits."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from runner.data.pairs import prepare
from runner.trainer import train
from support.toy_stores import python
from support.toy_sweeps import DATA, observe
from sweeps.methods import Full
from sweeps.models import find_model
from sweeps.store.files import CHECKPOINT
from sweeps.store.open import open_store
from sweeps.store.postgres import PostgresStore
from sweeps.store.retry import LOST, STOPPED
from sweeps.trial import Training, Trial
from sweeps.workers import loop
from sweeps.workers.loop import work

LEASE = 3.0  # s
# A node: a folder of its own, a name of its own, so that nobody can ask whether its processes live.
NODE = """
import os, signal, sys
from functools import partial
from runner import cli
from runner.training import train
from sweeps.store import attempts
from sweeps.store.base import Store
from sweeps.workers import carrier, loop
name, folder, url, lease = sys.argv[1:]
if name == "one":  # saves after every step, and is lost as soon as a checkpoint of it is elsewhere
    train.CHECKPOINT_SECONDS, carrier.LOOK, copy = 0.0, 0.05, Store.copy_checkpoint
    Store.copy_checkpoint = lambda self, claim: (copy(self, claim), os.kill(os.getpid(), signal.SIGKILL))
attempts.host_and_boot = lambda: (name, name)
loop.work = partial(loop.work, lease=float(lease))
sys.exit(cli.main(["worker", "--sweep", folder, "--store", url]))
"""


@pytest.fixture
def begun(tmp_path, database, s3):
    """Begins a sweep of one trial whose claims are in the database, and whose checkpoints are in the bucket."""

    def begin(trial: Trial, place: str = s3) -> PostgresStore:
        file = tmp_path / "file.toml"
        file.write_text("")
        store = open_store(tmp_path / "conductor" / "sweep", LEASE, database, place)
        store.begin(file, DATA)
        store.add([trial])
        store.close()
        return store

    return begin


@pytest.mark.slow
def test_a_lost_nodes_trial_goes_on_elsewhere_from_its_checkpoint_to_the_same_bits(begun, tmp_path, database, training):
    conditions = replace(training, data_hash=prepare(training, find_model("nano-25k").source).data_hash)
    trial = Trial("nano-25k", Full(), conditions, lr=1e-2, steps=60)
    undisturbed = train(trial)
    store = begun(trial)
    folders = [tmp_path / node / "sweep" for node in ("one", "two")]
    assert python(NODE, "one", folders[0], database, LEASE).wait(240) == -signal.SIGKILL
    assert store.checkpoints.newest(trial.key) and not store.finished(trial.key)
    assert python(NODE, "two", folders[1], database, LEASE).wait(240) == 0
    seen, attempts = store.result(trial.key), store.attempts(trial.key)
    assert (seen.loss, seen.curve, seen.accuracy) == (undisturbed.loss, undisturbed.curve, undisturbed.accuracy)
    assert [attempt.host for attempt in attempts] == ["one", "two"] and attempts[0].cause == LOST
    assert attempts[0].state == 0 < attempts[1].state  # it began from the first's checkpoint
    assert "sent no heartbeat" in attempts[0].ended
    assert not (folders[1] / "trials" / trial.key / CHECKPOINT).exists()
    assert store.checkpoints.newest(trial.key) == 0  # what was there to continue it is gone with it
    assert json.loads((folders[1] / "store.json").read_text())["checkpoints"] == store.copies


TRIAL = Trial("nano-25k", Full(), Training(), lr=1e-2, steps=10)


def test_a_bucket_that_cannot_be_reached_is_not_the_trials_fault(begun, tmp_path, s3, capfd):
    """The attempt ends as stopped, with the reason; no worker begins anew what it might have gone on from."""
    store = begun(TRIAL)

    def unreachable(trial):
        raise OSError("s3://sweeps: no answer")

    store.fetch_checkpoint = unreachable
    claim = store.claim()
    with pytest.raises(OSError, match="its checkpoint cannot be fetched: s3://sweeps: no answer"):
        loop._run(store, claim, lambda *_: pytest.fail("it began"), loop.StopRequests(loop.WorkerOptions()), 1)
    assert [(attempt.cause, attempt.ended) for attempt in store.attempts(TRIAL.key)] == [
        (STOPPED, "its checkpoint cannot be fetched: s3://sweeps: no answer")
    ]


def test_what_a_trainer_says_is_read_by_machines_that_share_no_folder(begun, tmp_path, database):
    store = begun(TRIAL)

    def say(trial: Trial, folder: Path, stop):
        with open(folder / "log.txt", "a") as log:
            log.write("a word of the trainer\n")
        return observe(trial)

    assert work(store.directory, say) == 0
    laptop = open_store(tmp_path / "laptop" / "sweep", url=database)
    laptop.fetch()
    assert "a word of the trainer\n" in laptop.open_log(TRIAL.key).new()


def test_a_sweeps_checkpoints_stay_in_one_place(begun, tmp_path, database):
    store = begun(TRIAL)
    with pytest.raises(ValueError, match="the checkpoints of this sweep are kept in s3://"):
        begun(TRIAL, place="s3://sweeps/another")
    fresh = open_store(tmp_path / "fresh" / "sweep", url=database, checkpoints="s3://sweeps/another")
    with pytest.raises(ValueError, match="the checkpoints of this sweep are kept in s3://"):
        fresh.fetch()
    assert open_store(store.directory).copies == store.copies
