"""Trials of one trunk: who waits for whom, and which states are kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.sweep_process import started
from support.toy_stores import FULL, LADDER
from support.toy_sweeps import COMMAND, DATA, observe
from support.waiting import wait_for
from sweeps.experiment.grid import cells
from sweeps.experiment.sweep_file import read_sweep
from sweeps.store.files import CHECKPOINT
from sweeps.store.folder import FolderStore
from sweeps.store.retry import LOST, STOPPED
from sweeps.store.trunks import trunk_of
from sweeps.trial import Trial, failure
from sweeps.workers.local import LocalWorkers


def leave_state(store: FolderStore, trial: Trial) -> Path:
    """What the trainer does where a trial's cooldown begins."""
    state = trunk_of(store.folder(trial.key), trial).own
    state.parent.mkdir(exist_ok=True)
    state.write_text("a state")
    return state


def test_a_trial_waits_while_another_is_on_the_way_to_a_state_for_it(new_store):
    store, (small, middle, large) = new_store(1, text=LADDER)
    assert (
        (small.cooldown_start, small.trunk)
        < (middle.cooldown_start, middle.trunk)
        < (large.cooldown_start, large.trunk)
    )
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
    (store.folder(middle.key) / CHECKPOINT).write_text("further than where the small one cools down")
    assert store.claim().trial == middle


def test_states_are_kept_for_those_who_can_start_from_them_and_no_longer(new_store):
    store, (small, middle, large) = new_store(1, text=LADDER)
    trunk = trunk_of(store.folder(large.key), large)
    assert trunk.newest() is None and not trunk.wanted()
    assert all(trunk_of(store.folder(trial.key), trial).wanted() for trial in (small, middle))
    first, second = leave_state(store, small), leave_state(store, middle)
    assert trunk.newest() == second and trunk_of(store.folder(small.key), small).newest() == first
    assert store.trunks.steps() == {large.trunk: [small.cooldown_start, middle.cooldown_start]}
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
            wait_for(lambda count=count: len(started(store.directory)) >= count)
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
            if trial.trunk
            and not (self.store.trunks.directory / trial.trunk / f"{trial.cooldown_start}.safetensors").exists()
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


Interleavings.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestInterleavings = Interleavings.TestCase
TrunkInterleavings.TestCase.settings = Interleavings.TestCase.settings
TestTrunkInterleavings = TrunkInterleavings.TestCase
