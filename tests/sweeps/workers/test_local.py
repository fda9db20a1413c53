"""Workers on this machine are replaced when they die, and each has its own cores."""

from __future__ import annotations

import json
import sys

import pytest

from support.toy_sweeps import COMMAND, observe
from support.waiting import wait_for
from sweeps.machine.cores import available_cores
from sweeps.store.retry import TRIES
from sweeps.workers.local import LocalWorkers


def test_a_trial_that_advances_is_continued_however_often_its_worker_dies(new_store):
    store, (trial,) = new_store(1, kills="nano-25k", at=1, checkpoints=True, seconds=0.1)
    workers = LocalWorkers(store, 1, COMMAND)
    try:
        for at in range(2, 6):  # each life gets one step further than the last
            wait_for(workers.tend)
            plan = {"kills": "nano-25k", "at": at, "checkpoints": True}
            (store.directory / "toy.json").write_text(json.dumps(plan))
        (store.directory / "toy.json").write_text("{}")
        wait_for(lambda: workers.tend() or store.finished(trial.key))
    finally:
        workers.stop()
    assert store.result(trial.key) == observe(trial)
    assert len(store.attempts(trial.key)) > TRIES


@pytest.mark.parametrize(
    ("ending", "said"), [("raise SystemExit('no model')", "1: no model"), ("print('bye')", "0: bye")]
)
def test_workers_that_cannot_start_are_not_started_for_ever(new_store, ending, said):
    store, _ = new_store(1)
    workers = LocalWorkers(store, 2, (sys.executable, "-c", ending))
    try:
        with pytest.raises(ValueError, match=rf"workers did not start: .*exit code {said}; see .*worker-\d.log"):
            wait_for(lambda: workers.tend() and False)
    finally:
        workers.stop()


def test_each_worker_has_its_own_cores_and_as_many_threads(new_store):
    store, _ = new_store(1)
    code = "import os, json, sys; print(json.dumps([os.environ['OMP_NUM_THREADS'], sorted(os.sched_getaffinity(0))]))"
    cores = available_cores()
    count = min(2, len(cores))
    workers = LocalWorkers(store, count, (sys.executable, "-c", f"import time; time.sleep(0.3); {code}"))
    for process in workers.processes:
        process.wait(10)
    seen = [json.loads(store.files.worker_log(index + 1).read_text()) for index in range(count)]
    assert all(len(own) == int(threads) == len(cores) // count for threads, own in seen)
    assert len({core for _, own in seen for core in own}) == sum(len(own) for _, own in seen)
