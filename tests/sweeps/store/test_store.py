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
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.toy_sweeps import COMMAND, DATA, observe, toy_train
from sweeps.experiment.grid import cells, read_sweep
from sweeps.machine.cores import available_cores, gpus, trials_at_once
from sweeps.store import records
from sweeps.store.files import CHECKPOINT
from sweeps.store.folder import FolderStore
from sweeps.store.open import open_store
from sweeps.store.records import read_observations
from sweeps.store.retry import EXCEPTION, LOST, MEMORY, PREEMPTED, STOPPED, TIME, TRIES
from sweeps.store.trunks import trunk_of
from sweeps.trial import Training, Trial, failure
from sweeps.workers.lease import LOST_CLAIM
from sweeps.workers.local import LocalWorkers
from sweeps.workers.loop import work
from sweeps.workers.options import WorkerOptions
from sweeps.workers.stop_requests import TERMINATED

FULL = (
    'models = ["nano-25k"]\nbudgets = [1e12]\nmin_steps = 1\nseeds = {seeds}\n[[methods]]\nname = "full"\nlr = 2e-3\n'
)
LADDER = FULL.replace("[1e12]", "[1e11, 2e11, 4e11]") + "[training]\nwarmup_steps = 20\n"  # a trunk for every seed


@pytest.fixture
def new_store(tmp_path):
    """Makes the store of a sweep of so many seeds, all its trials wanted, those of a trunk in order of their steps."""

    def make(seeds: int, closed: bool = True, text: str = FULL, **toy) -> tuple[FolderStore, list[Trial]]:
        path = tmp_path / "sweep-file.toml"
        path.write_text(text.format(seeds=list(range(seeds))))
        store = FolderStore(tmp_path / "sweep")
        store.begin(path, DATA)
        (store.directory / "toy.json").write_text(json.dumps(toy))
        wanted = [cell.trial(2e-3) for cell in cells(read_sweep(path), DATA)]
        wanted.sort(key=lambda trial: trial.seed)  # stable: budgets ascend within a seed
        store.trunks.share(wanted)
        store.add(wanted)
        if closed:
            store.close()
        return store, wanted

    return make


def leave_state(store: FolderStore, trial: Trial) -> Path:
    """What the trainer does where a trial's cooldown begins."""
    state = trunk_of(store.folder(trial.key), trial).own
    state.parent.mkdir(exist_ok=True)
    state.write_text("a state")
    return state


def start(store: FolderStore) -> subprocess.Popen:
    return subprocess.Popen([*COMMAND, "--sweep", str(store.directory)])


def wait_for(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


def started(store: FolderStore) -> list[str]:
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
    for _ in range(TRIES + 1):
        count = len(started(store))
        worker = start(store)
        wait_for(lambda count=count: len(started(store)) > count)
        worker.terminate()
        assert worker.wait(10) == TERMINATED
    assert [attempt.ended for attempt in store.attempts(trial.key)] == [STOPPED] * (TRIES + 1)
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
    assert len(started(store)) == len(said) == TRIES * 3
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
    assert len(store.attempts(trial.key)) > TRIES


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


def test_an_exception_is_tried_twice_then_a_failed_observation_with_its_traceback_kept(new_store):
    store, (trial,) = new_store(1, raises="nano-25k")
    assert work(store.directory, toy_train) == 0
    seen = store.result(trial.key)
    assert (seen.status, seen.reason) == ("failed", "RuntimeError: the model is broken; given up after 2 attempts")
    assert [attempt.cause for attempt in store.attempts(trial.key)] == [EXCEPTION] * TRIES
    assert {attempt.ended for attempt in store.attempts(trial.key)} == {"RuntimeError: the model is broken"}
    assert "toy_train" in (store.folder(trial.key) / "log.txt").read_text()


def test_what_ran_out_of_memory_goes_on_with_half_the_micro_batch(new_store):
    store, (trial,) = new_store(1, scarce="nano-25k")
    assert work(store.directory, toy_train) == 0
    assert store.result(trial.key) == observe(trial)
    assert [attempt.cause for attempt in store.attempts(trial.key)] == [MEMORY, ""]


def test_a_trial_that_is_given_up_blocks_no_other(new_store):
    store, wanted = new_store(4)
    broken = wanted[0]

    def train(trial, folder, orders):
        return toy_train(trial, folder) if trial != broken else 1 / 0

    assert work(store.directory, train) == 0
    assert store.result(broken.key).reason == "ZeroDivisionError: division by zero; given up after 2 attempts"
    assert [store.result(trial.key) for trial in wanted[1:]] == [observe(trial) for trial in wanted[1:]]


def test_a_trainer_that_asks_saves_before_it_leaves(new_store):
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


def test_an_observation_of_another_trial_is_not_taken(new_store):
    store, (trial,) = new_store(1)
    work(store.directory, lambda given, folder, orders: observe(replace(given, lr=9.0)))
    assert "gave the observation of" in store.result(trial.key).reason


def test_a_frozen_worker_loses_its_claim_and_its_process(tmp_path, new_store):
    store, (trial,) = new_store(1, seconds=60.0)
    code = "import sys; from pathlib import Path; from sweeps.workers.loop import work\n"
    code += "from support.toy_sweeps import toy_train\n"
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

    def slow(given, folder, orders):
        for _ in range(15):
            time.sleep(0.1)
            seen.append(FolderStore(store.directory, lease=0.5).claim())
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
    seen = [json.loads(store.files.worker_log(index + 1).read_text()) for index in range(count)]
    assert all(len(own) == int(threads) == len(cores) // count for threads, own in seen)
    assert len({core for _, own in seen for core in own}) == sum(len(own) for _, own in seen)


def test_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-ab,")
    assert gpus() == ["2", "GPU-ab"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus() == []


def test_several_workers_may_share_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert (trials_at_once(), trials_at_once(slots=3)) == (2, 6)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert trials_at_once(slots=3) == len(available_cores())


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
    records.export(store.directory, seen, wanted[0].training)
    assert list(read_observations(store.directory / "observations.jsonl")) == sorted(seen[:3], key=lambda s: s.key)
    assert list(read_observations(store.directory / "other-conditions.jsonl")) == seen[3:]
    assert {one.key for one in store.exported()} == {one.key for one in seen}
    path = store.directory / "observations.jsonl"
    path.write_text(path.read_text() + '{"torn')
    with pytest.raises(ValueError, match=r"observations.jsonl:4: not JSON"):
        list(read_observations(path))


def test_a_trial_waits_while_another_is_on_the_way_to_a_state_for_it(new_store):
    store, (small, middle, large) = new_store(1, text=LADDER)
    assert (small.branch, small.trunk) < (middle.branch, middle.trunk) < (large.branch, large.trunk)
    assert store.claim().trial == small
    assert store.claim() is None
    leave_state(store, small)  # it cools down now
    assert store.claim().trial == middle
    assert store.claim() is None
    store.finish(observe(small))
    assert store.claim() is None
    store.finish(failure(middle, "training loss is nan", "diverged"))  # and left nothing
    assert store.claim().trial == large


def test_other_trunks_are_gone_before_a_trial_waits(new_store):
    store, wanted = new_store(2, text=LADDER)
    assert [store.claim().trial for _ in range(2)] == [wanted[0], wanted[3]]
    assert store.claim() is None


def test_nothing_waits_for_a_dead_trial_nor_to_go_on_from_its_own_checkpoint(new_store):
    store, (small, middle, _) = new_store(1, text=LADDER)
    claim = store.claim()
    store.end(small.key, claim.attempt, LOST, "killed")
    assert store.claim().trial == small
    assert store.claim() is None
    (store.folder(middle.key) / CHECKPOINT).write_text("further than the branch of the small one")
    assert store.claim().trial == middle


def test_states_are_kept_for_those_who_can_start_from_them_and_no_longer(new_store):
    store, (small, middle, large) = new_store(1, text=LADDER)
    trunk = trunk_of(store.folder(large.key), large)
    assert trunk.newest() is None and not trunk.wanted()
    assert all(trunk_of(store.folder(trial.key), trial).wanted() for trial in (small, middle))
    first, second = leave_state(store, small), leave_state(store, middle)
    assert trunk.newest() == second and trunk_of(store.folder(small.key), small).newest() == first
    assert store.trunks.steps() == {large.trunk: [small.branch, middle.branch]}
    assert store.trunks.size() == 2 * len("a state")
    store.trunks.share([middle, large])
    assert not first.exists() and second.exists()
    stranger = store.trunks.directory / "0123456789abcdef" / "7.safetensors"
    stranger.parent.mkdir()
    stranger.write_text("of trials that the sweep file no longer names")
    store.trunks.share([large])
    assert not stranger.exists() and second.exists()
    store.trunks.share([])
    assert not store.trunks.directory.exists() and store.trunks.steps() == {} and store.trunks.size() == 0
    assert trunk_of(store.folder(large.key), large) is None


def test_a_training_outside_a_sweep_has_no_trunk(new_store, tmp_path):
    store, (trial, *_) = new_store(1, text=LADDER)
    (tmp_path / "sweep" / "models").mkdir()
    assert trunk_of(tmp_path / "model", trial) is None
    unshared = replace(trial, training=replace(trial.training, warmup_steps=0))
    assert trunk_of(store.folder(trial.key), unshared) is None
    assert trunk_of(store.folder(trial.key), trial)


def test_killed_workers_on_shared_trunks_leave_every_result(new_store):
    store, wanted = new_store(3, text=LADDER, seconds=0.5, checkpoints=True)
    workers = LocalWorkers(store, 2, COMMAND)
    try:
        for count in (3, 6):
            wait_for(lambda count=count: len(started(store)) >= count)
            workers.processes[count % 2].kill()
            wait_for(workers.tend)
        wait_for(lambda: workers.tend() or all(store.finished(trial.key) for trial in wanted))
    finally:
        workers.stop()
    seen = {result.key: result for result in store.results()}
    assert {key: replace(one, reused_flops=0.0) for key, one in seen.items()} == {t.key: observe(t) for t in wanted}
    ladders = [[seen[trial.key].reused_flops for trial in wanted if trial.seed == seed] for seed in range(3)]
    assert all(small == 0 for small, _, _ in ladders)
    assert sum(reused > 0 for _, *others in ladders for reused in others) >= 4  # all but those killed on their way


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


def give_up(store: FolderStore, trial: Trial) -> None:
    """End as many attempts as a trial has; the next claim gives it up."""
    for _ in range(TRIES):
        store.end(trial.key, store.claim().attempt, EXCEPTION, "broken")


def test_a_retry_reaches_workers_that_saw_the_failure_before_the_queue_changes(new_store):
    store, (trial,) = new_store(1)
    other = open_store(store.directory)
    give_up(store, trial)
    assert store.claim() is None and other.claim() is None and other.finished(trial.key)
    store.retry_failed()
    assert other.unfinished() == [trial.key] and other.claim().attempt == TRIES + 1


def test_a_worker_that_gives_up_late_does_not_undo_a_retry(new_store, monkeypatch):
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


class Interleavings(RuleBasedStateMachine):
    """Three workers, in any order of calls and deaths, over three trials of one store."""

    text = FULL.format(seeds="[0, 1, 2]")

    @initialize()
    def begin(self):
        import tempfile

        self.directory = Path(tempfile.mkdtemp(prefix="store-"))
        (self.directory / "file.toml").write_text(self.text)
        self.store = FolderStore(self.directory / "sweep")
        self.store.begin(self.directory / "file.toml", DATA)
        self.wanted = [cell.trial(2e-3) for cell in cells(read_sweep(self.directory / "file.toml"), DATA)]
        self.store.trunks.share(self.wanted)
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

    @rule(worker=st.integers(0, 2), cause=st.sampled_from([STOPPED, LOST]))
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

    @rule(worker=st.integers(0, 2))
    def leave(self, worker):
        if (claim := self.claims[worker]) and trunk_of(self.store.folder(claim.trial.key), claim.trial):
            leave_state(self.store, claim.trial)

    @rule()
    def add(self):
        self.store.trunks.share(trial for trial in self.wanted if not self.store.finished(trial.key))
        self.store.add(self.wanted)

    @invariant()
    def of_one_trunk_one_trial_is_on_its_way(self):
        under_way = [
            trial
            for trial, _, _ in self.store.running()
            if trial.trunk and not (self.store.trunks.directory / trial.trunk / f"{trial.branch}.safetensors").exists()
        ]
        assert len(under_way) <= 1

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
        for trial, attempt, _ in list(self.store.running()):
            self.store.end(trial.key, attempt.number, STOPPED)
        while left := [trial for trial in self.wanted if not self.store.finished(trial.key)]:
            claim = self.store.claim()  # whatever happened, somebody can go on
            assert claim or len(left) > sum(not self.store.finished(trial.key) for trial in left)
            if claim:
                self.store.finish(observe(claim.trial))
        shutil.rmtree(self.directory)


class TrunkInterleavings(Interleavings):
    """The same over three trials of one trunk."""

    text = LADDER.format(seeds="[0]")


Interleavings.TestCase.settings = settings(deadline=None, max_examples=25, stateful_step_count=25)
TestInterleavings = Interleavings.TestCase
TrunkInterleavings.TestCase.settings = Interleavings.TestCase.settings
TestTrunkInterleavings = TrunkInterleavings.TestCase


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
    assert "nothing to do in class gpu for 0.1 s: worker leaves" in capfd.readouterr().err


def test_results_can_be_read_without_their_curves(new_store):
    store, wanted = new_store(1)
    seen = replace(observe(wanted[0]), curve=((1, 10, 2.0), (2, 20, 1.5)), reason='a "curve": [[1]] in words')
    store.finish(seen)
    store.curves = False
    assert store.result(seen.key) == replace(seen, curve=())
    store.curves = True
    assert store.result(seen.key) == seen
