"""A worker keeps its claim for as long as it lives, and leaves when it should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from support.sweep_process import started
from support.toy_stores import start
from support.toy_sweeps import COMMAND, observe, toy_train
from support.waiting import wait_for
from sweeps.store.folder import FolderStore
from sweeps.store.retry import TIME
from sweeps.workers import loop
from sweeps.workers.lease import LOST_CLAIM
from sweeps.workers.loop import work
from sweeps.workers.options import WorkerOptions
from sweeps.workers.stop_requests import TERMINATED


def test_a_frozen_worker_loses_its_claim_and_its_process(tmp_path, new_store):
    store, (trial,) = new_store(1, seconds=60.0)
    code = "import sys; from pathlib import Path; from sweeps.workers.loop import work\n"
    code += "from support.toy_sweeps import toy_train\n"
    code += "sys.exit(work(Path(sys.argv[1]), toy_train, lease=1.0))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    zombie = subprocess.Popen([sys.executable, "-c", code, str(store.directory)], env=environment)
    wait_for(lambda: started(store.directory))
    zombie.send_signal(signal.SIGSTOP)
    (store.directory / "toy.json").unlink()
    assert work(store.directory, toy_train, lease=1.0) == 0
    seen = store.result(trial.key)
    zombie.send_signal(signal.SIGCONT)
    assert zombie.wait(10) == LOST_CLAIM
    assert store.result(trial.key) == seen
    assert [attempt.number for attempt in store.attempts(trial.key)] == [1, 2]
    assert "no heartbeat" in store.attempts(trial.key)[0].ended


def test_a_living_worker_keeps_its_claim_beyond_the_lease(new_store):
    store, (trial,) = new_store(1)
    seen = []

    def slow(given, folder, stop):
        for _ in range(15):
            time.sleep(0.1)
            seen.append(FolderStore(store.directory, lease=0.5).claim())
        return observe(given)

    assert work(store.directory, slow, lease=0.5) == 0
    assert seen == [None] * 15 and len(store.attempts(trial.key)) == 1


def test_a_worker_leaves_before_its_time_is_up_and_another_goes_on(new_store):
    store, (trial,) = new_store(1, seconds=4.0, checkpoints=True)
    timed = [*COMMAND, "--sweep", str(store.directory), "--seconds", "3", "--grace", "2"]
    first = subprocess.run(timed, timeout=60)
    assert first.returncode == TERMINATED
    assert [attempt.cause for attempt in store.attempts(trial.key)] == [TIME]
    assert start(store).wait(60) == 0
    assert store.result(trial.key) == observe(trial) and store.attempts(trial.key)[1].state


def test_an_idle_worker_leaves_when_told_to_be_impatient(new_store, capfd):
    store, _ = new_store(1, closed=False)
    assert work(store.directory, toy_train, options=WorkerOptions(patience=0.1)) == 0
    assert work(store.directory, toy_train, options=WorkerOptions(resource_class="gpu", patience=0.1)) == 0
    assert "nothing to do in class gpu for 0.1 s: worker stops" in capfd.readouterr().err


def test_an_idle_worker_rests_ten_times_as_long_as_it_looked(new_store, monkeypatch):
    store, _ = new_store(1, closed=False)
    now, looks, rests = [0.0], iter([0.01, 0.4, 30.0, 0.01]), []

    def claim(self, eligibility):
        now[0] += next(looks)

    def rest(seconds):
        rests.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(FolderStore, "claim", claim)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=rest))
    patience = 30.0 + loop.LONGEST
    assert work(store.directory, toy_train, options=WorkerOptions(patience=patience)) == 0
    assert rests == [loop.IDLE, pytest.approx(4.0), loop.LONGEST]
