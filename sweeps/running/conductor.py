"""Conducting a sweep: prepare the data, keep the queue filled as observations come in, show it, gather them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sweeps.experiment.grid import trial_flops
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Sweep
from sweeps.machine.cluster_file import ResourceClass
from sweeps.machine.eligibility import Requirements
from sweeps.running.display import Screen, Snapshot, result, round_line, settled_line, snapshot
from sweeps.running.estimate import Pace, costs
from sweeps.running.proposals import Propose
from sweeps.running.resources import requirements
from sweeps.search.goal_rounds import read_rounds, with_rounds, write_rounds
from sweeps.search.learning_rates import EVERYTHING, hopeless
from sweeps.search.sweep_state import SweepState, plan_next, sharing
from sweeps.store import records
from sweeps.store.base import Store
from sweeps.store.reuse import Library
from sweeps.support.processes import end_descendants, own_code
from sweeps.trial import Observation, Trial, by_key, failure
from sweeps.workers.base import Workers

PREPARE = (sys.executable, "-P", "-m", "runner.cli", "prepare")
POLL = 0.5  # s
EXPORT = 10.0  # s between gathered exports

Launch = Callable[[Store, int], Workers]  # of at most so many trials at once


def prepare(path: Path, command: Sequence[str] = PREPARE) -> Data:
    """Read and tokenise the data of a sweep file in a process of its own, for that needs heavy libraries.

    `command` prints the Data as JSON. Raises ValueError when it fails; its own message is on stderr then.
    """
    with _interruptible():
        try:
            process = subprocess.Popen(
                [*command, "--json", "--", str(path)], env=os.environ | own_code(), stdout=subprocess.PIPE, text=True
            )
            printed = process.communicate()[0]
        except KeyboardInterrupt:
            end_descendants()  # even one that was just being started; in the background it may never hear of Ctrl-C
            raise
    if process.returncode:
        raise ValueError(f"{path}: its data cannot be prepared (exit code {process.returncode}; the reason is above)")
    try:
        content: Any = json.loads(printed)
    except json.JSONDecodeError:
        raise ValueError(f"{path}: {command[-1]} printed {printed[:80]!r}, which is not JSON") from None
    return Data.from_json(content, f"data of {path}")


class Conductor:
    """One `sweep run`: what is known of a sweep and what was done about it.

    library: where identical trials are looked for, None to train everything here. reused: trials taken from there.
    propose: what a sweep with a goal asks for its next round. rounds: those that it has had.
    classes: of resources, smallest first, where workers differ. ValueError is raised for a trial that fits none of
    them, or `here`, the only one where they do not.
    """

    def __init__(
        self,
        sweep: Sweep,
        data: Data,
        store: Store,
        library: Library | None,
        screen: Screen,
        classes: Sequence[ResourceClass] = (),
        here: ResourceClass | None = None,
        propose: Propose | None = None,
    ) -> None:
        self.rounds = read_rounds(store.directory) if sweep.goal else []
        self._propose = propose if sweep.goal else None
        self.sweep, self.data, self.store = with_rounds(sweep, self.rounds), data, store
        self.library, self.screen = library, screen
        self.classes = classes
        self.known = by_key(store.results())
        self.reused = 0
        self._exported_at = 0.0
        self._aside = 0  # observations told to be made under other conditions
        self._data_before: Data | None = None
        with suppress(ValueError, OSError):  # one that cannot be read is written anew
            self._data_before = store.files.read_data()
        self.cancelled = store.cancelled()
        self._queued: list[str] = []  # keys
        self._sought: set[str] = set()  # keys looked up in the library: once is enough
        self.pace = Pace(store)
        self.pace.take(self.known.values())
        self.state = self._plan_next()
        self._settled = {settled_line(search) for search in self.state.searches if not search.open}
        if fitting := classes or ([here] if here else []):
            self._requirements(fitting)

    def run(self, launch: Launch) -> Snapshot:
        """Run the sweep to its end. KeyboardInterrupt stops the workers and leaves a state that can be continued."""
        workers: Workers | None = None
        self._tell_of_data()
        try:
            with _interruptible():
                while self._goes_on():
                    started = time.monotonic()
                    if workers is None:
                        coming = len(self.state.now) + len(self.state.later)
                        workers = launch(self.store, max(coming, self.sweep.goal.together if self.sweep.goal else 0))
                    for sentence in workers.tend():
                        self.say(sentence)
                    self.screen.show(self.snapshot(workers.count))
                    # A large folder takes long to look at: most of the time goes to waiting even so.
                    time.sleep(max(POLL, 5 * (time.monotonic() - started)))
        except KeyboardInterrupt:
            self.say("stopping; the same command continues")
            raise
        finally:
            if workers:
                workers.stop()
            for key in self.store.cancelled() & self.known.keys():
                self.store.stopped(key)
            self._export()
            self._publish()
        return self.snapshot(workers.count if workers else 1)

    def snapshot(self, workers: int) -> Snapshot:
        return snapshot(self.store, self.sweep, self.data, self.state, self.pace.speed(workers), workers)

    def _tell_of_data(self) -> None:
        """Say that the data are not those of the last run: a file, or the installed packages, changed since."""
        before = self._data_before
        if before and before.data_hash != self.data.data_hash:
            was, now = (f"{data.train_pairs:,} training pairs of hash {data.data_hash}" for data in (before, self.data))
            self.say(f"the data changed since the last run: {was} were, {now} are; their trials are new")

    def _tell_of_others(self, aside: int) -> None:
        """Say how many observations no law may share with those of this sweep file any more."""
        if aside > self._aside:
            self.say(
                f"{aside:,} observations were made under other conditions or on other data than the sweep file names "
                f"now; they are kept in {records.OTHER_CONDITIONS}"
            )
        self._aside = aside

    def say(self, sentence: str) -> None:
        self.screen.say(sentence)
        self.store.log(sentence)

    def _goes_on(self) -> bool:
        """Look; whether there is something to run. A `sweep retry` that finds the sweep open is always heeded."""
        self._look()
        while not self.state.now and self._next_round():
            self._look()
        if not self.state.now:
            self.store.close()
            self._look()  # for one that came just before
            if self.state.now:
                self.store.reopen()
        return bool(self.state.now)

    def _next_round(self) -> bool:
        """Ask for the next round of a goal; whether there is one.

        An end is looked at once more in every run, for the sweep file may allow more since.
        """
        if self._propose is None or EVERYTHING in self.cancelled:
            return False
        self.rounds = [each for each in self.rounds if not each.stop]
        now = self._propose(with_rounds(self.sweep, self.rounds), self.data, self.known)
        before = {remark for each in self.rounds for remark in each.remarks}
        self.rounds.append(now)
        write_rounds(self.store.directory, self.rounds)
        self.say(round_line(len(self.rounds), now))
        for remark in now.remarks:
            if remark not in before:
                self.say(remark)
        if now.stop:
            self._propose = None
            self.store.trunks.share([])
            return False
        self.sweep = with_rounds(self.sweep, self.rounds)
        self.state = self._plan_next()
        return True

    def _look(self) -> None:
        """Take in new observations, reuse those made elsewhere, and queue what is to be run now."""
        self._heed()
        self._prune()
        new = list(self.store.results(self.known))
        self.pace.take(new)
        self._take(new)
        while self._reuse():
            pass
        if (now := [trial.key for trial in self.state.now]) != self._queued or not self._exported_at:
            self._queued = now
            self.store.require(self._requirements(self.classes, patient=True) if self.classes else Requirements())
            self.store.trunks.share(sharing(self.state))
            self.store.add(self._ordered())
        if not self._exported_at or time.monotonic() - self._exported_at > EXPORT:
            self._export()

    def _heed(self) -> None:
        """Take in what people said meanwhile: `sweep cancel` and `sweep retry`."""
        again = [
            key
            for key, observation in self.known.items()
            if observation.status != "done" and self._retried(observation)
        ]
        cancelled = self.store.cancelled()
        if again or cancelled != self.cancelled:
            self.known = {key: observation for key, observation in self.known.items() if key not in again}
            self.cancelled = cancelled
            self.state = self._plan_next()

    def _retried(self, observation: Observation) -> bool:
        """Whether its result is gone, or was followed by another already."""
        stored = self.store.result(observation.key)
        return stored is None or (stored.status, stored.reason) != (observation.status, observation.reason)

    def _requirements(self, classes: Sequence[ResourceClass], patient: bool = False) -> Requirements:
        coming = costs(self.state, self.sweep, self.data, self.store.trunks.steps())
        return requirements(coming, self.sweep, classes, self.pace.speed(1, cores=1), patient)

    def _prune(self) -> None:
        """Stop what a search may stop. The result is there first, so that it lasts whatever happens to this process."""
        ranges = ((search, search.cell.entry.rate_range) for search in self.state.searches)
        asked = [search for search, rate_range in ranges if rate_range and rate_range.prune]
        open_ = {search.cell.trial(rate).key: search for search in asked for rate in search.open}
        for trial, _, figures in self.store.running() if open_ else ():
            step, loss = figures.get("step", 0), figures.get("loss")
            if trial.key in open_ and loss is not None and (why := hopeless(open_[trial.key], trial, step, loss)):
                spent = trial_flops(trial, self.sweep, self.data) * step / trial.steps
                if self.store.finish(failure(trial, why, "pruned", flops=spent)):
                    self.store.cancel([trial.key])

    def _take(self, new: Sequence[Observation]) -> None:
        if not new:
            return
        self.known |= by_key(new)
        for observation in new:
            self.say(result(observation, self.sweep.varied))
        self.state = self._plan_next()
        for search in self.state.searches:
            if not search.open and (line := settled_line(search)) not in self._settled:
                self._settled.add(line)
                self.say(f"learning rate of {line}")

    def _reuse(self) -> bool:
        """Take over what other sweeps know of the trials to run now. True if that changed what is to be run."""
        if self.library is None:
            return False
        new = [trial for trial in self.state.now if trial.key not in self._sought]
        self._sought |= {trial.key for trial in new}
        hits = [hit for trial in new if (hit := self.library.find(trial))]
        for problem in self.library.problems:
            self.say(problem)
        self.library.problems.clear()
        for observation, path in hits:
            self.store.keep(observation)
            self.say(f"reused {observation.key} from {path}")
        self.reused += len(hits)
        self._take([observation for observation, _ in hits])
        return bool(hits)

    def _ordered(self) -> list[Trial]:
        """Trials to run now: long chains first, and of one trunk those with few steps, which the others start from."""
        chains: dict[str, float] = {}
        for trial in self.state.now:
            chains[trial.run] = max(chains.get(trial.run, 0.0), self._weight(trial))
        return sorted(self.state.now, key=lambda trial: (-chains[trial.run], trial.run, trial.steps))

    def _weight(self, trial: Trial) -> float:
        """FLOPs of a trial and of the dearest one that waits for its outcome."""
        waiting = [
            trial_flops(cell.trial(1.0), self.sweep, self.data)
            for cell in self.state.later
            if (cell.model.name, cell.entry.method, cell.training) == (trial.model, trial.method, trial.training)
        ]
        return trial_flops(trial, self.sweep, self.data) + max(waiting, default=0.0)

    def _plan_next(self) -> SweepState:
        return plan_next(self.sweep, self.data, self.known.values(), self.cancelled)

    def _publish(self) -> None:
        try:
            self.store.publish(self.store.directory / name for name in records.EXPORTS)
        except OSError as error:  # they are here, and whole
            self.say(f"exports were not copied: {error}")

    def _export(self) -> None:
        now = {trial.key for trial in self.state.now}
        before = [
            observation
            for observation in self.store.exported()
            if not (observation.status != "done" and observation.key in now)
        ]
        gathered = by_key(before) | self.known
        conditions = self.sweep.conditions(self.data)
        aside = records.export(self.store.directory, gathered.values(), *conditions, models=self.sweep.models)
        records.export_rates(self.store.directory, self.state.searches)
        records.export_left_out(self.store.directory, self.state.left_out)
        self._tell_of_others(aside)
        self._exported_at = time.monotonic()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and a lost terminal do what Ctrl-C does."""
    numbers = [signal.SIGTERM, signal.SIGHUP]
    before = [signal.signal(number, _interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
