"""Any order of the store's calls by several workers, with deaths and leases that run out: what a claim promises holds.

Each worker counts as a machine of its own, so that only the lease tells whether it lives.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.postgres_server import PASSWORD
from support.toy_sweeps import DATA, observe
from sweeps.experiment.grid import cells
from sweeps.experiment.sweep_file import read_sweep
from sweeps.store import attempts
from sweeps.store.attempts import Claim
from sweeps.store.base import Store
from sweeps.store.folder import FolderStore
from sweeps.store.open import open_store
from sweeps.store.retry import LOST, STOPPED, TRIES

WORKERS = st.integers(0, 2)
SWEEP = (
    'models = ["nano-25k"]\nbudgets = [1e12]\nmin_steps = 1\nseeds = [0, 1, 2]\n[[methods]]\nname = "full"\nlr = 2e-3\n'
)


class Calls(RuleBasedStateMachine):
    """Three workers and three trials. living: the claim on each trial that has neither ended nor outlived its lease."""

    # Of each kind of store. Not abstract: hypothesis has a metaclass of its own.
    open: Callable[[], Store]
    outlive: Callable[[Claim], None]
    """Make the last sign of life an hour old."""

    @initialize()
    def begin(self):
        self.directory = Path(tempfile.mkdtemp(prefix="store-"))
        (self.directory / "file.toml").write_text(SWEEP)
        self.store = self.open()
        self.store.begin(self.directory / "file.toml", DATA)
        self.wanted = [cell.trial(2e-3) for cell in cells(read_sweep(self.directory / "file.toml"), DATA)]
        self.store.add(self.wanted)
        self.held: dict[int, Claim | None] = dict.fromkeys(range(3))
        self.living: dict[str, Claim] = {}
        self.newest = {trial.key: 0 for trial in self.wanted}
        self.deaths = dict.fromkeys(self.newest, 0)
        self.results: dict[str, object] = {}
        self.finishes = 0

    def as_worker(self, worker: int):
        return mock.patch.object(attempts, "host_and_boot", return_value=(f"machine-{worker}", "boot"))

    def current(self, claim: Claim) -> bool:
        key = claim.trial.key
        return self.newest[key] == claim.attempt and key not in self.results

    @rule(worker=WORKERS)
    def claim(self, worker):
        with self.as_worker(worker):
            claim = self.store.claim()
        for trial in self.wanted:  # a trial whose workers died too often is given up by who looks at it next
            given_up = self.store.result(trial.key)
            if given_up and trial.key not in self.results:
                assert given_up.status == "failed" and "given up after 2 attempts" in given_up.reason
                self.results[trial.key] = given_up
        if claim is None:
            free = [key for key in self.newest if key not in self.results and key not in self.living]
            assert not free, "a trial that nobody runs was not given"
            return
        key = claim.trial.key
        assert key not in self.living, "two living claims on one trial"
        assert key not in self.results and claim.attempt == self.newest[key] + 1
        self.newest[key], self.living[key], self.held[worker] = claim.attempt, claim, claim

    @rule(worker=WORKERS)
    def renew(self, worker):
        if claim := self.held[worker]:
            assert self.store.renew(claim) == self.current(claim)
            if self.current(claim) and not self.store.attempts(claim.trial.key)[-1].ended:
                self.living[claim.trial.key] = claim  # late, but nobody had noticed

    @rule(worker=WORKERS)
    def check(self, worker):
        if claim := self.held[worker]:
            assert self.store.check(claim) == self.current(claim)

    @rule(worker=WORKERS)
    def crash(self, worker):
        self.held[worker] = None

    @rule(worker=WORKERS)
    def lease_runs_out(self, worker):
        if (claim := self.held[worker]) and self.living.get(claim.trial.key) == claim:
            self.outlive(claim)
            del self.living[claim.trial.key]

    @rule(worker=WORKERS)
    def is_overtaken(self, worker):
        """Its lease runs out, another worker claims, and it comes back."""
        self.lease_runs_out(worker)
        self.claim((worker + 1) % 3)
        self.check(worker)
        self.renew(worker)

    @rule()
    def leases_of_dead_workers_run_out(self):
        for claim in [claim for claim in self.living.values() if claim not in self.held.values()]:
            self.outlive(claim)
            del self.living[claim.trial.key]

    @rule(worker=WORKERS)
    def stop(self, worker):
        if claim := self.held[worker]:
            self.store.end(claim.trial.key, claim.attempt, STOPPED)
            if self.living.get(claim.trial.key) == claim:
                del self.living[claim.trial.key]
            self.held[worker] = None

    @rule(worker=WORKERS)
    def finish(self, worker):
        if claim := self.held[worker]:  # its own, or long another's
            self.finishes += 1  # no two results are the same
            key, seen = claim.trial.key, replace(observe(claim.trial), seconds=float(self.finishes))
            assert self.store.finish(seen) == (self.results.setdefault(key, seen) == seen)
            self.living.pop(key, None)

    @rule(order=st.permutations(range(3)))
    def add(self, order):
        self.store.add([self.wanted[index] for index in order])
        assert self.store.queue() == [self.wanted[index].key for index in order]

    @invariant()
    def what_is_listed_is_what_happened(self):
        assert {seen.key: seen for seen in self.store.results()} == self.results
        assert {trial.key: attempt.number for trial, attempt, _ in self.store.running()} == {
            key: claim.attempt for key, claim in self.living.items()
        }
        assert set(self.store.unfinished()) == set(self.newest) - set(self.results)
        for key, newest in self.newest.items():
            attempts = self.store.attempts(key)
            assert [attempt.number for attempt in attempts] == list(range(1, newest + 1))
            assert all(attempt.ended for attempt in attempts[:-1])
            assert sum(attempt.cause == LOST for attempt in attempts) <= TRIES

    def teardown(self):
        if not hasattr(self, "store"):
            return
        for claim in self.living.values():
            self.outlive(claim)
        deadline = time.monotonic() + 20
        while left := self.store.unfinished():
            assert time.monotonic() < deadline, f"{left} cannot be finished"
            if claim := self.store.claim():
                self.store.finish(observe(claim.trial))
        assert {seen.key for seen in self.store.results()} == set(self.newest)
        shutil.rmtree(self.directory)


class InAFolder(Calls):
    def open(self):
        return FolderStore(self.directory / "sweep", lease=60.0)

    def outlive(self, claim):
        path = self.store.folder(claim.trial.key) / f"attempt-{claim.attempt:04d}"
        os.utime(path, (time.time() - 3600,) * 2)


class InADatabase(Calls):
    url = ""

    def open(self):
        return open_store(self.directory / self.directory.name, lease=60.0, url=self.url)

    def outlive(self, claim):
        self.store.database.ask(
            "UPDATE sweep_attempts SET seen = seen - interval '1 hour' "
            "WHERE sweep = %(sweep)s AND key = %(key)s AND number = %(number)s",
            {"sweep": self.store.name, "key": claim.trial.key, "number": claim.attempt},
        )


@pytest.fixture
def database(postgres, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    InADatabase.url = postgres.url(password=False)


quick = settings(stateful_step_count=20, suppress_health_check=list(HealthCheck))
InAFolder.TestCase.settings = settings(quick, max_examples=60)
InADatabase.TestCase.settings = settings(quick, max_examples=30)
TestInAFolder = InAFolder.TestCase


@pytest.mark.usefixtures("database")
class TestInADatabase(InADatabase.TestCase):
    pass
