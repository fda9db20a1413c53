"""A store in the sweep's folder, for machines that share a file system: every durable write to it.

    queue.json          trials wanted, in the order to run   closed        present when no more will come
    needs.json          what each of them takes, for workers that may not take all
    cancelled/          a file for every trial that is cancelled, named by its key; `everything` for all
    running/            a file for every trial with an attempt that has not ended, named by its key: where to look last
    trials/<key>/       trial.json, attempt-0001 (a claim), attempt-0001.end (how it ended), result.json,
                        failed-0001.json (a result tried again)

A trial is claimed by creating its next attempt file; the file's age is the lease. What running/ says may be out of date
and is never believed: without it every claim looks at all trials that run.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from sweeps.experiment.sources import Data
from sweeps.machine.eligibility import Requirements
from sweeps.search.learning_rates import EVERYTHING
from sweeps.store.attempts import LEASE, Attempt, Claim, Clock, attempt_of, ending_of
from sweeps.store.base import Store
from sweeps.store.files import KEY, changed
from sweeps.store.identity import mark, refuse_foreign
from sweeps.store.logs import FileLog, Log
from sweeps.store.note import Note, write_note
from sweeps.store.records import lenient, read_record
from sweeps.store.retry import STOPPED
from sweeps.support.atomic import new_folder, publish_text, touch, write_text
from sweeps.support.checks import require
from sweeps.support.checksum import sealed
from sweeps.support.json_io import read_json
from sweeps.trial import Observation, Trial

_ATTEMPT = re.compile(r"attempt-(\d{4,})")
_FAILED = re.compile(r"failed-(\d{4,})\.json")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@final
class FolderStore(Store):
    """A store whose trials, claims and results are files in the sweep's folder."""

    shares_folder = True
    looks_at_once = False

    def __init__(self, directory: Path, lease: float = LEASE, checkpoints: str = "") -> None:
        super().__init__(directory, lease, checkpoints)
        self._done: set[str] = set()  # saves asking again: a result stays until it is retried
        self._looked_at: set[str] = set()  # trials whose descriptions were read, or written
        self._clock = Clock(self._probe_clock)
        self._queue: tuple[list[str], int] = ([], 0)  # as last read, and when it had changed

    # -- what is wanted

    def admit(self, sweep_file: Path, data: Data) -> None:
        refuse_foreign(self.directory, sweep_file)

    def begin(self, sweep_file: Path, data: Data) -> None:
        mark(self.directory, sweep_file)
        self.files.begin(sweep_file.read_text(encoding="utf-8"), json.dumps(data.to_json(), indent=1) + "\n")
        self._said_running.mkdir(exist_ok=True)
        if self.copies:
            write_note(self.directory, Note(checkpoints=self.copies))
        self._renew_queue()
        self.reopen()

    def _renew_queue(self) -> None:
        try:
            self.queue()
        except ValueError as error:
            self.files.log(str(error))
            self.set_queue([])

    def insert(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if not self.files.own_trial(trial.key).exists():
                self._create(trial)
            elif trial.key not in self._looked_at:
                self._mend(trial)
            self._looked_at.add(trial.key)

    def _mend(self, trial: Trial) -> None:
        """Write the description of a trial anew where it cannot be read: what it says is known."""
        try:
            self.read_trial(trial.key)
        except (ValueError, FileNotFoundError) as error:
            self.files.log(f"{error}; rewritten")
            write_text(self.folder(trial.key) / "trial.json", sealed(trial.to_json(), indent=1) + "\n")

    def _create(self, trial: Trial) -> None:
        try:
            with new_folder(self.folder(trial.key)) as folder:  # so that none lacks its trial.json
                (folder / "trial.json").write_text(sealed(trial.to_json(), indent=1) + "\n", encoding="utf-8")
        except OSError:
            if not self.folder(trial.key).exists():
                raise

    def set_queue(self, keys: Sequence[str]) -> None:
        write_text(self.directory / "queue.json", json.dumps(keys))

    def queue(self) -> list[str]:
        path = self.directory / "queue.json"
        try:
            listed = read_json(path)
        except FileNotFoundError:
            return []
        require(f"{path}: the queue", listed, isinstance(listed, list), "a list of keys; `sweep run` rewrites it")
        keys = [key for key in listed if isinstance(key, str) and KEY.fullmatch(key)]
        if (now := (keys, changed(path))) != self._queue:  # what failed may be wanted again
            self._queue = now
            self._done.clear()
        gone = self.cancelled()
        return [] if EVERYTHING in gone else [key for key in keys if key not in gone]

    def cancel(self, keys: Iterable[str]) -> None:
        self.files.refuse_links()
        for key in keys:
            note = self._cancellation(key)
            note.parent.mkdir(exist_ok=True)
            touch(note)

    def requeue(self, keys: Iterable[str]) -> None:
        self.files.refuse_links()
        for key in keys:
            self._cancellation(key).unlink(missing_ok=True)

    def cancelled(self) -> frozenset[str]:
        try:
            return frozenset(os.listdir(self.directory / "cancelled"))
        except FileNotFoundError:
            return frozenset()

    def _cancellation(self, key: str) -> Path:
        return self.directory / "cancelled" / (key if key == EVERYTHING else self.folder(key).name)

    def require(self, requirements: Requirements) -> None:
        write_text(self.directory / "needs.json", json.dumps(requirements.to_json()))

    def requirements(self) -> Requirements:
        path = self.directory / "needs.json"
        return Requirements.from_json(read_json(path), str(path)) if path.exists() else Requirements()

    def close(self) -> None:
        touch(self.directory / "closed")

    def reopen(self) -> None:
        (self.directory / "closed").unlink(missing_ok=True)

    @property
    def closed(self) -> bool:
        return (self.directory / "closed").exists()

    def finished(self, key: str) -> bool:
        if key not in self._done and (self.folder(key) / "result.json").exists():
            self._done.add(key)
        return key in self._done

    def unfinished(self) -> list[str]:
        return [key for key in self.queue() if not self.finished(key)]

    # -- who runs what

    def refresh(self) -> None:
        """Nothing: files are looked at one by one."""

    def attempt(self, key: str, number: int, holder: Mapping[str, Any]) -> bool:
        self.files.own_trial(key)
        try:
            publish_text(self._attempt(key, number), sealed(holder), durable=False)
        except OSError as error:
            if error.errno in _NO_SPACE or isinstance(error, PermissionError):
                raise type(error)(error.errno, error.strerror, str(self.folder(key))) from None
            return False  # any other: network file systems have more names than "exists" for losing a race
        if self.finished(key):
            self.end(key, number, STOPPED, "there is a result already")
            return False
        with suppress(OSError):  # another user's folder; whoever looks sees the attempt all the same
            touch(self._said_running / key)
        return True

    @property
    def _said_running(self) -> Path:
        return self.directory / "running"

    def _runs_no_more(self, key: str) -> None:
        with suppress(OSError):
            (self._said_running / key).unlink(missing_ok=True)

    def attempts(self, key: str) -> list[Attempt]:
        names = set(self._listed(key))
        return [_read_attempt(self._attempt(key, number), number, names) for number in _numbers(names, _ATTEMPT)]

    def _attempt(self, key: str, number: int) -> Path:
        return self.folder(key) / f"attempt-{number:04d}"

    def _listed(self, key: str) -> list[str]:
        """Names of a trial's files."""
        try:
            return os.listdir(self.folder(key))
        except FileNotFoundError:  # of a committed folder the observations alone are there
            return []

    def silence(self, key: str, number: int) -> float:
        try:
            return self._clock.now() - self._attempt(key, number).stat().st_mtime
        except OSError:
            return 0.0

    def _probe_clock(self) -> float:
        """When a file made now was made, by the file server's clock."""
        probe = self.files.trials / f".clock-{os.urandom(8).hex()}.tmp"
        try:
            probe.touch()
            return probe.stat().st_mtime
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)

    def busy(self) -> Set[str]:
        with suppress(OSError):
            return frozenset(os.listdir(self._said_running))
        return frozenset()

    def renew(self, claim: Claim) -> bool:
        try:
            os.utime(self._attempt(claim.trial.key, claim.attempt))  # never creates the file anew
        except FileNotFoundError:
            return False
        return self.check(claim)

    def check(self, claim: Claim) -> bool:
        key = claim.trial.key
        return _numbers(self._listed(key), _ATTEMPT)[-1:] == [claim.attempt] and not self.finished(key)

    def record_end(self, key: str, number: int, cause: str, reason: str) -> None:
        content = sealed({"cause": cause, "said": reason})
        with suppress(FileExistsError):
            publish_text(self._attempt(key, number).with_suffix(".end"), content, durable=False)
        self._runs_no_more(key)

    def record_result(self, key: str, text: str) -> bool:
        path = self.folder(key) / "result.json"
        try:
            publish_text(path, text)
        except OSError:
            if not path.exists():
                raise
            return path.read_text(encoding="utf-8") == text  # a link may succeed and say otherwise
        self._runs_no_more(key)
        return True

    def set_aside(self, key: str, last: int) -> None:
        self.files.own_trial(key)
        with suppress(FileNotFoundError):  # somebody else was faster
            (self.folder(key) / "result.json").rename(self.folder(key) / f"failed-{last:04d}.json")
            os.utime(self.directory / "queue.json")  # tells those who saw the result, though the same keys are wanted
        self._done.discard(key)

    def retried(self, key: str) -> int:
        return max(_numbers(self._listed(key), _FAILED), default=0)

    # -- what was said

    def share_log(self, key: str, text: str) -> None:
        """Nothing: all read the file."""

    def open_log(self, key: str = "") -> Log:
        return FileLog(self.files.log_file(key))

    def publish(self, paths: Iterable[Path]) -> None:
        """Nothing: they lie in the folder already."""

    # -- what is known

    def read_trial(self, key: str) -> Trial:
        path = self.folder(key) / "trial.json"
        trial: Trial = read_record(Trial, path)
        if trial.key != key:
            raise ValueError(f"{path}: holds a trial whose key is {trial.key}")
        return trial

    def result(self, key: str) -> Observation | None:
        self.files.trial(key)  # refuses what is no key
        path = f"{self.files.trials}/{key}/result.json"  # as text: Path takes a tenth of the time of reading thousands
        try:
            # The folder's name is the key: whoever gathers observations from files works it out.
            observation: Observation = read_record(Observation, path, key, curves=self.curves)
        except FileNotFoundError:
            return None
        self._done.add(key)
        return observation

    def results(self, known: Container[str] = ()) -> Iterator[Observation]:
        for key in self.keys():
            if key not in known and (observation := self.result(key)):
                yield observation

    def keys(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.files.trials) if KEY.fullmatch(name)]
        except FileNotFoundError:
            return []

    def running(self) -> Iterator[tuple[Trial, Attempt, dict[str, Any]]]:
        for key in self.unfinished():
            attempts = self.attempts(key)
            if attempts and not attempts[-1].ended and not self.death(key, attempts[-1]):
                yield self.read_trial(key), attempts[-1], self.files.progress(key)


def _read_attempt(path: Path, number: int, names: Container[str]) -> Attempt:
    end = path.with_suffix(".end")
    return attempt_of(number, lenient(path), *(ending_of(lenient(end), end.name) if end.name in names else ("", "")))


def _numbers(names: Iterable[str], like: re.Pattern[str]) -> list[int]:
    """The numbers in names that look like this, ascending."""
    return sorted(int(match[1]) for name in names if (match := like.fullmatch(name)))
