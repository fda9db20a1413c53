"""Whatever happens to workers, a trial has one result, whole, and what was begun is continued."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sweeps.grid import cells, read_sweep
from sweeps.launchers import LocalWorkers, available_cores, gpus
from sweeps.store import DEATHS, STOPPED, Store, read_observations
from sweeps.trial import Training, Trial, failure
from sweeps.worker import LOST_CLAIM, TERMINATED, work
from toy_sweeps import COMMAND, DATA, SWEEP, observe, toy_train

FULL = (
    'models = ["nano-25k"]\nbudgets = [1e12]\nmin_steps = 1\nseeds = {seeds}\n[[methods]]\nname = "full"\nlr = 2e-3\n'
)


@pytest.fixture
def new_store(tmp_path):
    """Makes the store of a sweep of so many trials, all of them wanted."""

    def make(trials: int, closed: bool = True, **toy) -> tuple[Store, list[Trial]]:
        path = tmp_path / "sweep-file.toml"
        path.write_text(FULL.format(seeds=list(range(trials))))
        store = Store(tmp_path / "sweep")
        store.begin(path, DATA)
        (store.directory / "toy.json").write_text(json.dumps(toy))
        wanted = [cell.trial(2e-3) for cell in cells(read_sweep(path), DATA)]
        store.add(wanted)
        if closed:
            store.close()
        return store, wanted

    return make


def start(store: Store) -> subprocess.Popen:
    return subprocess.Popen([*COMMAND, "--sweep", str(store.directory)])


def wait_for(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


def started(store: Store) -> list[str]:
    """Keys of the trials begun, one for each time."""
    path = store.directory / "started.txt"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def test_two_workers_racing_on_100_trials_leave_one_result_each(new_store):
    store, wanted = new_store(100)
    workers = [start(store), start(store)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert sorted(started(store)) == sorted(trial.key for trial in wanted)
    results = {seen.key: seen for seen in store.results()}
    assert results == {trial.key: observe(trial) for trial in wanted}
    pids = {store.attempts(trial.key)[0].pid for trial in wanted}
    assert pids == {worker.pid for worker in workers}


def test_many_stores_added_at_once_hold_each_trial_once(new_store, tmp_path):
    store, wanted = new_store(20)
    shutil.rmtree(store.trials)
    code = (
        "import json, sys; from pathlib import Path; from sweeps.store import Store\nfrom sweeps.trial import Trial\n"
    )
    code += "Store(Path(sys.argv[1])).add([Trial.from_json(t) for t in json.load(open(sys.argv[2]))])"
    (tmp_path / "wanted.json").write_text(json.dumps([trial.to_json() for trial in wanted]))
    command = [sys.executable, "-c", code, str(store.directory), str(tmp_path / "wanted.json")]
    adding = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) for _ in range(3)]
    assert [process.wait(30) for process in adding] == [0, 0, 0]
    assert sorted(os.listdir(store.trials)) == sorted(trial.key for trial in wanted)
    assert [store.read_trial(key) for key in store.queue()] == wanted


def test_a_killed_worker_leaves_its_trial_to_be_continued_and_ended_once(new_store):
    store, (trial,) = new_store(1, seconds=2.0, checkpoints=True)
    first = start(store)
    wait_for((store.folder(trial.key) / "checkpoint.safetensors").exists)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not store.finished(trial.key)
    assert start(store).wait(30) == 0
    assert started(store) == [trial.key] * 2
    assert store.result(trial.key) == observe(trial)
    one, two = store.attempts(trial.key)
    assert one.ended == f"worker {first.pid} on {one.host} is gone"
    assert one.state == 0 < two.state  # the second began from the first's checkpoint
    assert not (store.folder(trial.key) / "checkpoint.safetensors").exists()


def test_a_stopped_worker_is_not_the_trials_fault(new_store):
    store, (trial,) = new_store(1, seconds=30.0)
    for _ in range(DEATHS + 1):
        count = len(started(store))
        worker = start(store)
        wait_for(lambda count=count: len(started(store)) > count)
        worker.terminate()
        assert worker.wait(10) == TERMINATED
    assert [attempt.ended for attempt in store.attempts(trial.key)] == [STOPPED] * (DEATHS + 1)
    assert not store.finished(trial.key)
    (store.directory / "toy.json").unlink()
    assert start(store).wait(30) == 0
    assert store.result(trial.key) == observe(trial)


def test_the_launcher_replaces_dead_workers_and_gives_up_a_trial_that_kills_them(new_store):
    store, wanted = new_store(3, kills="nano-25k", at=3)
    workers = LocalWorkers(store, 1, COMMAND)
    said = []
    try:
        wait_for(lambda: said.extend(workers.tend()) or all(store.finished(t.key) for t in wanted))
    finally:
        workers.stop()
    assert len(started(store)) == len(said) == DEATHS * 3
    for trial in wanted:
        seen = store.result(trial.key)
        assert seen.status == "failed"
        assert seen.reason == "worker killed by signal 9 (out of memory?); given up after 2 attempts without progress"


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
    assert len(store.attempts(trial.key)) > DEATHS


@pytest.mark.parametrize(
    ("ending", "said"), [("raise SystemExit('no model')", "1: no model"), ("print('bye')", "0: bye")]
)
def test_workers_that_cannot_start_are_not_started_for_ever(new_store, ending, said):
    store, _ = new_store(1)
    workers = LocalWorkers(store, 2, (sys.executable, "-c", ending))
    try:
        with pytest.raises(ValueError, match=rf"workers do not start: .*exit code {said}; see .*worker-\d.log"):
            wait_for(lambda: workers.tend() and False)
    finally:
        workers.stop()


def test_an_exception_is_a_failed_observation_with_its_traceback_kept(new_store):
    store, (trial,) = new_store(1, raises="nano-25k")
    assert work(store.directory, toy_train) == 0
    seen = store.result(trial.key)
    assert (seen.status, seen.reason) == ("failed", "RuntimeError: the model is broken")
    assert "toy_train" in (store.folder(trial.key) / "log.txt").read_text()


def test_an_observation_of_another_trial_is_not_taken(new_store):
    store, (trial,) = new_store(1)
    work(store.directory, lambda given, folder: observe(replace(given, lr=9.0)))
    assert "gave the observation of" in store.result(trial.key).reason


def test_a_frozen_worker_loses_its_claim_and_its_process(tmp_path, new_store):
    store, (trial,) = new_store(1, seconds=60.0)
    code = "import sys; from pathlib import Path; from sweeps.worker import work; from toy_sweeps import toy_train\n"
    code += "sys.exit(work(Path(sys.argv[1]), toy_train, lease=1.0))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    zombie = subprocess.Popen([sys.executable, "-c", code, str(store.directory)], env=environment)
    wait_for(lambda: started(store))
    zombie.send_signal(signal.SIGSTOP)
    (store.directory / "toy.json").unlink()
    time.sleep(1.2)
    assert work(store.directory, toy_train, lease=1.0) == 0
    seen = store.result(trial.key)
    zombie.send_signal(signal.SIGCONT)
    assert zombie.wait(10) == LOST_CLAIM
    assert store.result(trial.key) == seen
    assert [attempt.number for attempt in store.attempts(trial.key)] == [1, 2]
    assert "no sign of life" in store.attempts(trial.key)[0].ended


def test_a_living_worker_keeps_its_claim_beyond_the_lease(new_store):
    store, (trial,) = new_store(1)
    seen = []

    def slow(given, folder):
        for _ in range(15):
            time.sleep(0.1)
            seen.append(Store(store.directory, lease=0.5).claim())
        return observe(given)

    assert work(store.directory, slow, lease=0.5) == 0
    assert seen == [None] * 15 and len(store.attempts(trial.key)) == 1


def test_a_worker_leaves_when_its_parent_is_gone(new_store):
    store, (trial,) = new_store(1, seconds=60.0)
    code = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code, *COMMAND, "--sweep", str(store.directory)])
    wait_for(lambda: started(store))
    parent.kill()
    parent.wait()
    wait_for(lambda: store.attempts(trial.key)[-1].ended == STOPPED)


def test_each_worker_has_its_own_cores_and_as_many_threads(new_store):
    store, _ = new_store(1)
    code = "import os, json, sys; print(json.dumps([os.environ['OMP_NUM_THREADS'], sorted(os.sched_getaffinity(0))]))"
    cores = available_cores()
    count = min(2, len(cores))
    workers = LocalWorkers(store, count, (sys.executable, "-c", f"import time; time.sleep(0.3); {code}"))
    for process in workers.processes:
        process.wait(10)
    seen = [json.loads(store.worker_log(index + 1).read_text()) for index in range(count)]
    assert all(len(own) == int(threads) == len(cores) // count for threads, own in seen)
    assert len({core for _, own in seen for core in own}) == sum(len(own) for _, own in seen)


def test_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-ab,")
    assert gpus() == ["2", "GPU-ab"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus() == []


def test_names_from_files_never_become_paths(new_store):
    store, (trial,) = new_store(1)
    with pytest.raises(ValueError, match="is not the key of a trial"):
        store.folder("../../etc")
    (store.directory / "queue.json").write_text(json.dumps(["../x", "/etc", trial.key, 3, None]))
    assert store.queue() == [trial.key]
    (store.folder(trial.key) / "trial.json").write_text(json.dumps(replace(trial, lr=1.0).to_json()))
    with pytest.raises(ValueError, match=r"trial.json: holds a trial whose key is"):
        store.claim()


def test_the_first_result_stays(new_store):
    store, (trial,) = new_store(1)
    assert store.finish(observe(trial))
    assert not store.finish(failure(trial, "too late"))
    assert store.result(trial.key) == observe(trial)


def test_exports_hold_everything_and_keep_other_conditions_apart(new_store):
    store, wanted = new_store(3)
    other = replace(wanted[0], training=Training(batch_size=128))
    seen = [observe(trial) for trial in (*wanted, other)]
    store.export(seen, wanted[0].training)
    assert list(read_observations(store.directory / "observations.jsonl")) == sorted(seen[:3], key=lambda s: s.key)
    assert list(read_observations(store.directory / "other-conditions.jsonl")) == seen[3:]
    assert {one.key for one in store.exported()} == {one.key for one in seen}
    path = store.directory / "observations.jsonl"
    path.write_text(path.read_text() + '{"torn')
    with pytest.raises(ValueError, match=r"observations.jsonl:4: not JSON"):
        list(read_observations(path))


class Interleavings(RuleBasedStateMachine):
    """Three workers, in any order of calls and deaths, over three trials of one store."""

    @initialize()
    def begin(self):
        import tempfile
        from pathlib import Path

        self.directory = Path(tempfile.mkdtemp(prefix="store-"))
        (self.directory / "file.toml").write_text(SWEEP)
        self.store = Store(self.directory / "sweep")
        self.store.begin(self.directory / "file.toml", DATA)
        full = FULL.format(seeds="[0, 1, 2]")
        (self.directory / "full.toml").write_text(full)
        self.wanted = [cell.trial(2e-3) for cell in cells(read_sweep(self.directory / "full.toml"), DATA)]
        self.store.add(self.wanted)
        self.claims = dict.fromkeys(range(3))
        self.results = {}

    @rule(worker=st.integers(0, 2))
    def claim(self, worker):
        claim = self.store.claim()
        if claim:
            assert not self.store.finished(claim.trial.key)
            assert self.store.check(claim)
        self.claims[worker] = claim

    @rule(worker=st.integers(0, 2), cause=st.sampled_from([STOPPED, "killed"]))
    def die(self, worker, cause):
        if claim := self.claims[worker]:
            self.store.end(claim.trial.key, claim.attempt, cause)  # as the launcher does; the zombie may yet speak

    @rule(worker=st.integers(0, 2))
    def renew(self, worker):
        if claim := self.claims[worker]:
            newest = self.store.attempts(claim.trial.key)[-1].number == claim.attempt
            assert self.store.renew(claim) == (newest and not self.store.finished(claim.trial.key))

    @rule(worker=st.integers(0, 2))
    def finish(self, worker):
        if claim := self.claims[worker]:
            seen = replace(observe(claim.trial), seconds=float(worker))
            had = self.store.result(claim.trial.key)
            assert self.store.finish(seen) == (had is None or had == seen)
            self.claims[worker] = None

    @rule()
    def add(self):
        self.store.add(self.wanted)

    @invariant()
    def results_never_change_and_attempts_count_up(self):
        for trial in self.wanted:
            seen = self.store.result(trial.key)
            if trial.key in self.results:
                assert seen == self.results[trial.key]
            elif seen:
                self.results[trial.key] = seen
            numbers = [attempt.number for attempt in self.store.attempts(trial.key)]
            assert numbers == list(range(1, len(numbers) + 1))
            ended = [attempt.ended for attempt in self.store.attempts(trial.key)]
            assert all(before for before, _ in pairwise(ended))  # one attempt at a time

    def teardown(self):
        shutil.rmtree(self.directory)


Interleavings.TestCase.settings = settings(deadline=None, max_examples=25, stateful_step_count=25)
TestInterleavings = Interleavings.TestCase
