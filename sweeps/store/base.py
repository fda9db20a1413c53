"""A store of trials, claims and results: what workers ask of it, and what follows from that for any store.

Any number of processes on any number of machines may use one store. A trial is claimed by making its next attempt;
that attempt's number is the fencing token, and its last sign of life the lease. The first result stays. A trial may run
twice when a machine is cut off, but it never has two results.

A trial waits while another of its trunk is on the way to a state for it: going there beside it would be no faster and
cost the way twice. It waits for a living one only, so that nothing is waited for in vain.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from sweeps.experiment.sources import Data
from sweeps.machine.eligibility import ANY_TRIAL, Eligibility, Requirements
from sweeps.search.learning_rates import EVERYTHING
from sweeps.store.attempts import LEASE, Attempt, Claim, holder
from sweeps.store.checkpoints import Checkpoints
from sweeps.store.files import SweepFiles
from sweeps.store.identity import identity_of
from sweeps.store.logs import Log
from sweeps.store.records import exported, parse_record
from sweeps.store.retry import CAUSES, EXCEPTION, LOST, verdict
from sweeps.store.trunks import Trunk, Trunks
from sweeps.support.checksum import sealed
from sweeps.trial import Observation, Trial, failure

MOST_LOOKS = 8  # at all trials, before a worker that finds others everywhere waits a while
SPREAD = 4  # times further over the queue after each trial that another was faster to take
DOUBTED = 16  # of the trials said to be busy that a claim looks at all the same: one of their workers may have died


class Store(ABC):
    """The trials of a sweep: which are wanted, who runs them, and what they left.

    Workers call `claim`, `renew`, `check`, `end`, `finish` and look at `unfinished` and `closed`. The process that
    runs the sweep calls `begin`, `add`, `keep`, `close` and looks at `running` and `results`. People cancel,
    requeue and retry.
    """

    shares_folder: bool
    """Whether all workers share this folder, with the checkpoints and the states of trunks in it."""

    looks_at_once: bool
    """Whether `refresh` looks at all trials at once, not only at what is remembered, and `busy` is certain by that."""
    pause: float = 0.0
    """Seconds between looks of an idle worker, at least."""

    def __init__(self, directory: Path, lease: float = LEASE, checkpoints: str = "") -> None:
        """checkpoints: URL under which copies of them are kept, for machines that do not share this folder."""
        self.directory = directory  # of the sweep on this machine
        self.name = directory.resolve().name
        self.copies = checkpoints
        self.claims_at = ""  # URL of the objects that are its claims, where they are
        self.lease = lease  # s after which an attempt without a sign of life counts as dead
        self.curves = True  # whether results are read with their training curves, most of what they hold
        self.files = SweepFiles(directory)
        self.trunks = Trunks(directory)
        self._trunk_of: dict[str, Trunk | None] = {}  # by key: a trial never changes
        self._checkpoints: Checkpoints | None = None
        self._misses = 0  # trials that others run, though that was not known when all were looked at
        self._races = 0  # those of them that another worker was faster to take while this one tried

    # -- what is wanted

    @abstractmethod
    def admit(self, sweep_file: Path, data: Data) -> None:
        """Raise ValueError unless the place is free for this sweep, or holds it already."""

    @abstractmethod
    def begin(self, sweep_file: Path, data: Data) -> None:
        """Make the sweep, keep its file and the description of its data, and open the queue."""

    @abstractmethod
    def insert(self, trials: Sequence[Trial]) -> None:
        """Make these trials known. Trials that are there already stay as they are."""

    @abstractmethod
    def set_queue(self, keys: Sequence[str]) -> None:
        """Want these trials, in this order, and no others."""

    @final
    def add(self, trials: Sequence[Trial]) -> None:
        """Make these trials known and want them, in this order, and no others."""
        self.insert(trials)
        self.set_queue([trial.key for trial in trials])

    @final
    def keep(self, observation: Observation) -> None:
        """Take over the observation of an identical trial that ran elsewhere."""
        self.insert([observation.trial])
        self.finish(observation)

    @abstractmethod
    def queue(self) -> list[str]:
        """Keys of the trials wanted and not cancelled, as last added; empty before."""

    @abstractmethod
    def cancel(self, keys: Iterable[str]) -> None:
        """Cancel these trials, EVERYTHING for all: workers stop and do not begin them, until `requeue`."""

    @abstractmethod
    def requeue(self, keys: Iterable[str]) -> None:
        """Take `cancel` back."""

    @abstractmethod
    def cancelled(self) -> frozenset[str]:
        """Keys of the trials cancelled, EVERYTHING among them when all are."""

    @final
    def is_cancelled(self, key: str) -> bool:
        return bool({key, EVERYTHING} & self.cancelled())

    @abstractmethod
    def require(self, requirements: Requirements) -> None:
        """Say what the trials take, for workers that may not take all."""

    @abstractmethod
    def requirements(self) -> Requirements:
        """What was last said by `require`."""

    @abstractmethod
    def close(self) -> None:
        """Say that nothing more will be added: workers leave when all is finished."""

    @abstractmethod
    def reopen(self) -> None:
        """Take `close` back."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether nothing more will be added."""

    @abstractmethod
    def finished(self, key: str) -> bool:
        """Whether a trial has a result."""

    @abstractmethod
    def unfinished(self) -> list[str]:
        """Keys of the trials wanted that have no result yet."""

    # -- who runs what

    @abstractmethod
    def refresh(self) -> None:
        """Ask anew for what is remembered and can be asked for at once."""

    @abstractmethod
    def busy(self) -> Set[str]:
        """Keys of trials that others run: for certain, as last looked at by `refresh`, where it looks at all at once;
        else as far as they said so."""

    @final
    def claim(self, eligibility: Eligibility = ANY_TRIAL) -> Claim | None:
        """The first wanted trial that nobody runs and that waits for no other, now ours; None when there is none.

        eligibility: which trials the worker may take, and which of them first. Raises PermissionError or
        ValueError when all that could be taken may not be written to or are damaged.
        """
        for crowd in range(MOST_LOOKS):
            self.refresh()
            before = self._misses
            claim = self._look(eligibility, self.busy(), crowd)
            if claim or self._misses == before or not self.looks_at_once:
                return claim
        return None

    def _look(self, eligibility: Eligibility, busy: Set[str], crowd: int) -> Claim | None:
        """The first trial that can be claimed; None when there is none, or when another worker was faster where all are
        to be looked at anew then. What is busy is not looked at where that is certain, else last but for a few. crowd:
        how often another was faster: the more, the further workers spread over the queue."""
        denied: PermissionError | ValueError | None = None
        under_way: set[Path] = set()  # trunks with a trial on its way to a state; fewer steps come first in the queue
        order = eligibility.order(self.queue())
        keys = [key for key in order if key not in busy] if self.looks_at_once else order
        start = random.randrange(SPREAD**crowd) % len(keys) if keys else 0
        said = [key for key in keys if key in busy]
        doubted = random.sample(said, min(DOUBTED, len(said)))
        left = _last(keys[start:] + keys[:start], busy - set(doubted))
        passed = 0
        while left:
            key = left.popleft()
            if passed or self.finished(key):
                passed = max(0, passed - 1)
                continue
            try:
                trunk = self._trunk(key)
                if trunk and not self.checkpointed(key):
                    if trunk.folder not in under_way and self._awaited(trunk, busy, order, key):
                        under_way.add(trunk.folder)
                    if trunk.folder in under_way:
                        continue
                misses, races = self._misses, self._races
                if claim := self._claim(key, eligibility):
                    return claim
                if self._misses > misses and self.looks_at_once:
                    return None
                unforeseen = self._misses > misses and key not in busy
                if unforeseen:
                    busy = self.busy()
                    left = _last(left, busy)
                if (unforeseen or self._races > races) and not trunk:
                    crowd += 1
                    free = sum(other not in busy for other in left)
                    passed = random.randrange(max(1, min(SPREAD**crowd, free)))
            except (PermissionError, ValueError) as error:  # another user's, or damaged; others may not be
                denied = error
                continue
            if trunk and not self.finished(key) and not trunk.own.exists() and self._under_way(key):
                under_way.add(trunk.folder)
        if denied:
            raise denied
        return None

    def _trunk(self, key: str) -> Trunk | None:
        """What a trial shares with others; None where others do not see it."""
        if not self.shares_folder:
            return None
        if key not in self._trunk_of:
            self._trunk_of[key] = self.trunks.of(self.read_trial(key))
        return self._trunk_of[key]

    def _awaited(self, trunk: Trunk, busy: Container[str], order: Sequence[str], key: str) -> bool:
        """Whether a living trial of this trunk, busy and before `key` in the order, is on its way to a state.

        The busy ones are looked at last, so that `_look` does not know of them yet.
        """
        for other in [other for other in order[: order.index(key)] if other in busy]:
            with suppress(PermissionError, ValueError):  # another user's, or damaged: `_look` says so where it matters
                its = self._trunk(other)
                without = its and its.folder == trunk.folder and not its.own.exists() and not self.finished(other)
                if without and self._under_way(other):
                    return True
        return False

    def _under_way(self, key: str) -> bool:
        attempts = self.attempts(key)
        return bool(attempts) and not attempts[-1].ended and not self.death(key, attempts[-1])

    def _claim(self, key: str, eligibility: Eligibility) -> Claim | None:
        attempts = self.attempts(key)
        if attempts and not attempts[-1].ended:
            if not (death := self.death(key, attempts[-1])):
                self._misses += 1
                return None
            self.end(key, attempts[-1].number, LOST, death)
            attempts = self.attempts(key)
        trial = self.read_trial(key)
        state = self.checkpointed(key)
        retried = self.retried(key)
        past = [attempt for attempt in attempts if attempt.number > retried]
        following = verdict(past, state, eligibility.requirements.classes_above(key))
        if following.reason:
            self._give_up(failure(trial, following.reason), attempts[-1].number)
            return None
        if not eligibility.takes(key, following.bigger):
            return None
        number = attempts[-1].number + 1 if attempts else 1
        ours = self.attempt(key, number, holder(state, eligibility.job))
        self._misses += not ours
        self._races += not ours
        return Claim(trial, number, following.smaller) if ours else None

    def _give_up(self, failed: Observation, last: int) -> None:
        """Leave this result of the attempts up to `last`, unless a retry has answered for them meanwhile."""
        if self.finish(failed) and self.retried(failed.key) >= last:
            self.set_aside(failed.key, last)

    @abstractmethod
    def attempt(self, key: str, number: int, holder: Mapping[str, Any]) -> bool:
        """Make an attempt that nobody else makes, at a trial without a result; False when somebody was faster."""

    @abstractmethod
    def attempts(self, key: str) -> list[Attempt]:
        """All attempts at a trial, oldest first."""

    @abstractmethod
    def silence(self, key: str, number: int) -> float:
        """Seconds since an attempt's last sign of life, both times by one clock."""

    @final
    def death(self, key: str, last: Attempt) -> str:
        """How a trial's newest attempt died, as far as can be seen; "" while it may live."""
        if last.gone:
            return f"worker {last.pid} on {last.host} is gone"
        if (seconds := self.silence(key, last.number)) > self.lease:
            return f"worker {last.pid} on {last.host} sent no heartbeat for {seconds:.0f} s"
        return ""

    @abstractmethod
    def renew(self, claim: Claim) -> bool:
        """Show that the attempt lives. False when the claim is lost; OSError when that cannot be known now."""

    @abstractmethod
    def check(self, claim: Claim) -> bool:
        """Whether this is still the newest attempt at an unfinished trial."""

    @final
    def end(self, key: str, number: int, cause: str, reason: str = "") -> None:
        """Record how an attempt ended without a result; the first cause named stays.

        cause: of retry.CAUSES. reason: that as a sentence.
        """
        if cause not in CAUSES:
            raise ValueError(f"an attempt ends by {cause!r}; known: {', '.join(CAUSES)}")
        self.record_end(key, number, cause, reason)

    @abstractmethod
    def record_end(self, key: str, number: int, cause: str, reason: str) -> None:
        """Leave how an attempt ended unless that is there already."""

    @final
    def finish(self, observation: Observation) -> bool:
        """Leave the trial's result unless it has one already; True if this one was the first."""
        first = self.record_result(observation.key, _text(observation))
        self._drop_checkpoint(observation.key)  # it was there to continue the trial
        return first

    @abstractmethod
    def record_result(self, key: str, text: str) -> bool:
        """Leave an observation as text unless the trial has one; True if this one is the trial's now."""

    @final
    def stopped(self, key: str) -> None:
        """An attempt at a trial was stopped by `cancel`: where the trial has a result, that was all it was for."""
        if self.finished(key):
            self._drop_checkpoint(key)
            self.requeue([key])

    @final
    def retry_failed(self) -> list[Observation]:
        """Let failed trials be tried again."""
        return self.retry(observation for observation in self.results() if observation.status == "failed")

    @final
    def retry(self, again: Iterable[Observation]) -> list[Observation]:
        """Let these be tried again; what they left is set aside, and the attempts so far count no more."""
        failed = list(again)
        for observation in failed:
            last = max((attempt.number for attempt in self.attempts(observation.key)), default=0)
            if last:
                self.end(observation.key, last, EXCEPTION, f"failed: {observation.reason}")
            self.set_aside(observation.key, last)
            self.log_trial(observation.key, f"to be retried after attempt {last}: {observation.reason}")
        return failed

    @abstractmethod
    def set_aside(self, key: str, last: int) -> None:
        """Take a trial's result away, and keep it as that of the attempts up to `last`."""

    @abstractmethod
    def retried(self, key: str) -> int:
        """The last attempt before the trial was last to be tried again; 0 when it never was."""

    # -- what it takes to continue a trial

    @property
    def checkpoints(self) -> Checkpoints | None:
        """The copies of checkpoints that other machines go on from; None where all share the folder that holds them."""
        if self.copies and not self._checkpoints:
            self._checkpoints = Checkpoints(f"{self.copies}/{self.name}-{identity_of(self.directory)[:12]}")
        return self._checkpoints

    @final
    @property
    def places(self) -> list[tuple[str, bool]]:
        """URLs of objects that it needs, and whether trials are claimed there."""
        return [(url, claims) for url, claims in ((self.claims_at, True), (self.copies, False)) if url]

    @final
    def checkpointed(self, key: str) -> int:
        """When the checkpoint that a trial would go on from here was written, ns; 0 when there is none."""
        here = self.files.checkpointed(key)
        return max(here, self.checkpoints.newest(key)) if self.checkpoints else here

    @final
    def fetch_checkpoint(self, trial: Trial) -> list[str]:
        """Have the newest copy of a trial's checkpoint in its folder; what went wrong, as sentences."""
        return self.checkpoints.fetch(trial.key, self.folder(trial.key), self.trunks.parts) if self.checkpoints else []

    @final
    def copy_checkpoint(self, claim: Claim) -> None:
        """Copy what an attempt has saved to where other machines go on from it."""
        if self.checkpoints:
            trial = claim.trial
            parts = [self.trunks.parts / f"{part.key}.safetensors" for part in trial.parts]
            self.checkpoints.save(trial.key, claim.attempt, [*self.files.checkpoint_files(trial.key), *parts])

    def _drop_checkpoint(self, key: str) -> None:
        self.files.drop_checkpoint(key)
        try:
            if self.checkpoints:
                self.checkpoints.drop(key)
        except OSError as error:  # the result is there: what is left over harms nobody
            self.log(f"the checkpoint of {key} could not be deleted: {error}")

    # -- what was said

    @final
    def log(self, sentence: str) -> None:
        """Append to the sweep's log."""
        self.share_log("", self.files.log(sentence))

    @final
    def log_trial(self, key: str, text: str) -> None:
        """Append to a trial's log. A worker appends to the file, and what is new there is shared from time to time."""
        self.share_log(key, self.files.log_trial(key, text))

    @abstractmethod
    def share_log(self, key: str, text: str) -> None:
        """Let other machines read what was appended here to the log of a trial, or of the sweep for the key ""."""

    @abstractmethod
    def open_log(self, key: str = "") -> Log:
        """The log of a trial, or of the sweep, as all machines wrote it."""

    @abstractmethod
    def publish(self, paths: Iterable[Path]) -> None:
        """Put gathered exports where the results are kept, if that is not this folder."""

    # -- what is known

    @abstractmethod
    def read_trial(self, key: str) -> Trial:
        """The trial of a key. Raises ValueError when it cannot be read or has another key."""

    @abstractmethod
    def result(self, key: str) -> Observation | None:
        """The observation of a finished trial; None before."""

    @abstractmethod
    def results(self, known: Container[str] = ()) -> Iterator[Observation]:
        """Observations of all finished trials but the `known` keys."""

    @abstractmethod
    def keys(self) -> list[str]:
        """Of all trials, whether or not they are still wanted."""

    @abstractmethod
    def running(self) -> Iterator[tuple[Trial, Attempt, dict[str, Any]]]:
        """Wanted trials being run: the attempt, and the figures its process last left (step, loss)."""

    @final
    def find(self, prefix: str) -> str:
        """The key that begins like this. Raises ValueError when none does, or several do."""
        keys = sorted(key for key in self.keys() if key.startswith(prefix))
        if len(keys) == 1 and prefix:
            return keys[0]
        if not keys:
            raise ValueError(f"{self.directory}: no trial key starts with {prefix!r}")
        some = f"{', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"
        raise ValueError(f"{self.directory}: {len(keys)} trial keys start with {prefix!r}: {some}")

    @final
    def folder(self, key: str) -> Path:
        """Where a trial keeps its files on this machine. Raises ValueError on anything but a key."""
        return self.files.trial(key)

    @final
    def exported(self) -> Iterator[Observation]:
        """The observations in the gathered exports, whether or not their trials are in the store."""
        return exported(self.directory, self.curves)


def _last(keys: Iterable[str], late: Container[str]) -> deque[str]:
    """The keys in their order, but these behind all others."""
    return deque(sorted(keys, key=late.__contains__))


def _text(observation: Observation) -> str:
    """The record of an observation; where nobody could read it again, such as one with a NaN in it, of that alone.

    What diverged or was pruned stays that: only its numbers are lost.
    """
    text = sealed(observation.to_json()) + "\n"
    try:
        parse_record(Observation, text, "its observation")
    except ValueError as error:
        status = "failed" if observation.status == "done" else observation.status
        reason = "; ".join(filter(None, (observation.reason, str(error))))
        return sealed(failure(observation.trial, reason, status).to_json()) + "\n"
    return text
