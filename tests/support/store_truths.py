"""What holds for any store: a trial has one result, whole, whatever happens to workers, and what was begun goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from support.sweep_process import started
from support.toy_stores import start
from support.toy_sweeps import COMMAND, observe, toy_train
from support.waiting import wait_for
from sweeps.store import records
from sweeps.store.base import Store
from sweeps.store.files import CHECKPOINT
from sweeps.store.open import open_store
from sweeps.store.records import read_observations
from sweeps.store.retry import EXCEPTION, MEMORY, PREEMPTED, STOPPED, TRIES
from sweeps.trial import Training, Trial, failure
from sweeps.workers.local import LocalWorkers
from sweeps.workers.loop import work
from sweeps.workers.stop_requests import TERMINATED


def give_up(store: Store, trial: Trial) -> None:
    """End as many attempts as a trial has; the next claim gives it up."""
    for _ in range(TRIES):
        store.end(trial.key, store.claim().attempt, EXCEPTION, "broken")


class StoreTruths:
    """Tests of any store, which the fixture new_store makes: a store of so many trials, and the trials."""

    def test_two_workers_racing_on_100_trials_leave_one_result_each(self, new_store):
        store, wanted = new_store(100)
        workers = [start(store), start(store)]
        assert [worker.wait(60) for worker in workers] == [0, 0]
        assert sorted(started(store.directory)) == sorted(trial.key for trial in wanted)
        results = {seen.key: seen for seen in store.results()}
        assert results == {trial.key: observe(trial) for trial in wanted}
        pids = {store.attempts(trial.key)[0].pid for trial in wanted}
        assert pids == {worker.pid for worker in workers}

    def test_a_killed_worker_leaves_its_trial_to_be_continued_and_ended_once(self, new_store):
        store, (trial,) = new_store(1, seconds=2.0, checkpoints=True)
        first = start(store)
        wait_for((store.folder(trial.key) / "checkpoint.safetensors").exists)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert not store.finished(trial.key)
        assert start(store).wait(30) == 0
        assert started(store.directory) == [trial.key] * 2
        assert store.result(trial.key) == observe(trial)
        one, two = store.attempts(trial.key)
        assert one.ended == f"worker {first.pid} on {one.host} is gone"
        assert one.state == 0 < two.state  # the second began from the first's checkpoint
        assert not (store.folder(trial.key) / "checkpoint.safetensors").exists()

    def test_a_stopped_worker_is_not_the_trials_fault(self, new_store):
        store, (trial,) = new_store(1, seconds=30.0)
        for _ in range(TRIES + 1):
            count = len(started(store.directory))
            worker = start(store)
            wait_for(lambda count=count: len(started(store.directory)) > count)
            worker.terminate()
            assert worker.wait(10) == TERMINATED
        assert [attempt.ended for attempt in store.attempts(trial.key)] == [STOPPED] * (TRIES + 1)
        assert not store.finished(trial.key)
        (store.directory / "toy.json").unlink()
        assert start(store).wait(30) == 0
        assert store.result(trial.key) == observe(trial)

    def test_the_launcher_replaces_dead_workers_and_gives_up_a_trial_that_kills_them(self, new_store):
        store, wanted = new_store(3, kills="nano-25k", at=3)
        workers = LocalWorkers(store, 1, COMMAND)
        said = []
        try:
            wait_for(lambda: said.extend(workers.tend()) or all(store.finished(t.key) for t in wanted))
        finally:
            workers.stop()
        # The last worker may end, with nothing left, between looks.
        killed = [line for line in said if "killed" in line]
        assert len(started(store.directory)) == len(killed) == TRIES * 3
        for trial in wanted:
            seen = store.result(trial.key)
            assert seen.status == "failed"
            assert (
                seen.reason == "worker killed by signal 9 (out of memory?); given up after 2 attempts without progress"
            )

    def test_an_exception_is_tried_twice_then_a_failed_observation_with_its_traceback_kept(self, new_store):
        store, (trial,) = new_store(1, raises="nano-25k")
        assert work(store.directory, toy_train) == 0
        seen = store.result(trial.key)
        assert (seen.status, seen.reason) == ("failed", "RuntimeError: the model is broken; given up after 2 attempts")
        assert [attempt.cause for attempt in store.attempts(trial.key)] == [EXCEPTION] * TRIES
        assert {attempt.ended for attempt in store.attempts(trial.key)} == {"RuntimeError: the model is broken"}
        assert "toy_train" in (store.folder(trial.key) / "log.txt").read_text()

    def test_what_ran_out_of_memory_goes_on_with_half_the_micro_batch(self, new_store):
        store, (trial,) = new_store(1, scarce="nano-25k")
        assert work(store.directory, toy_train) == 0
        assert store.result(trial.key) == observe(trial)
        assert [attempt.cause for attempt in store.attempts(trial.key)] == [MEMORY, ""]

    def test_a_trial_that_is_given_up_blocks_no_other(self, new_store):
        store, wanted = new_store(4)
        broken = wanted[0]

        def train(trial, folder, stop):
            return toy_train(trial, folder) if trial != broken else 1 / 0

        assert work(store.directory, train) == 0
        assert store.result(broken.key).reason == "ZeroDivisionError: division by zero; given up after 2 attempts"
        assert [store.result(trial.key) for trial in wanted[1:]] == [observe(trial) for trial in wanted[1:]]

    def test_a_trainer_that_asks_saves_before_it_leaves(self, new_store):
        """Between two signals nothing is lost, and the attempt names its cause."""
        store, (trial,) = new_store(1, seconds=3.0, checkpoints=True)
        worker = start(store)
        wait_for((store.folder(trial.key) / CHECKPOINT).exists)
        worker.send_signal(signal.SIGUSR2)
        assert worker.wait(10) == TERMINATED
        assert [attempt.cause for attempt in store.attempts(trial.key)] == [PREEMPTED]
        worker = start(store)
        wait_for(lambda: len(store.attempts(trial.key)) == 2)
        assert store.attempts(trial.key)[1].state
        assert worker.wait(30) == 0
        assert store.result(trial.key) == observe(trial)

    def test_an_observation_of_another_trial_is_not_taken(self, new_store):
        store, (trial,) = new_store(1)
        work(store.directory, lambda given, folder, stop: observe(replace(given, lr=9.0)))
        assert "gave the observation of" in store.result(trial.key).reason

    def test_a_worker_leaves_when_its_parent_is_gone(self, new_store):
        store, (trial,) = new_store(1, seconds=60.0)
        code = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(60)"
        parent = subprocess.Popen([sys.executable, "-c", code, *COMMAND, "--sweep", str(store.directory)])
        wait_for(lambda: started(store.directory))
        parent.kill()
        parent.wait()
        wait_for(lambda: store.attempts(trial.key)[-1].ended == STOPPED)

    def test_the_first_result_stays(self, new_store):
        store, (trial,) = new_store(1)
        assert store.finish(observe(trial))
        assert not store.finish(failure(trial, "too late"))
        assert store.result(trial.key) == observe(trial)

    def test_exports_hold_everything_and_keep_other_conditions_apart(self, new_store):
        store, wanted = new_store(3)
        other = replace(wanted[0], training=Training(batch_size=128))
        seen = [observe(trial) for trial in (*wanted, other)]
        records.export(store.directory, seen, wanted[0].training)
        assert list(read_observations(store.directory / "observations.jsonl")) == sorted(seen[:3], key=lambda s: s.key)
        assert list(read_observations(store.directory / "other-conditions.jsonl")) == seen[3:]
        assert {one.key for one in store.exported()} == {one.key for one in seen}
        path = store.directory / "observations.jsonl"
        path.write_text(path.read_text() + '{"torn')
        with pytest.raises(ValueError, match=r"observations.jsonl:4: not JSON"):
            list(read_observations(path))

    def test_a_retry_reaches_workers_that_saw_the_failure_before_the_queue_changes(self, new_store):
        store, (trial,) = new_store(1)
        other = open_store(store.directory)
        give_up(store, trial)
        assert store.claim() is None and other.claim() is None and other.finished(trial.key)
        store.retry_failed()
        assert other.unfinished() == [trial.key] and other.claim().attempt == TRIES + 1

    def test_a_worker_that_gives_up_late_does_not_undo_a_retry(self, new_store, monkeypatch):
        """Both workers see that all attempts failed; one leaves that result and it is retried before the other does."""
        store, (trial,) = new_store(1)
        slow = open_store(store.directory)
        give_up(store, trial)
        leave = slow.finish

        def late(observation):
            assert store.claim() is None and store.retry_failed()
            return leave(observation)

        monkeypatch.setattr(slow, "finish", late)
        assert slow.claim() is None
        assert store.result(trial.key) is None and store.claim().attempt == TRIES + 1
