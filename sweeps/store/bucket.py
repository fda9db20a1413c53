"""A store in a bucket, for machines that share nothing else. Claims rest on conditional puts; see objects.py.

    sweep.json            identity of the sweep, and a hash of what it began as    file.json   its file and data
    queue.json            trials wanted, in the order to run                       closed      no more will come
    needs.json            what each of them takes                                  cancelled/  one for each, by key
    trials/<key>.json     every trial
    state/<key>/          attempt-0001 (a claim), attempt-0001.alive (its last sign of life, with its figures),
                          attempt-0001.end (how it ended), result-0000, retried-0000-0002 (that result was retried
                          after attempt 2: the next is result-0001)
    checkpoints/, logs/   copies of checkpoints; pieces of the sweep's log and of trials' logs

All but file.json, queue.json, needs.json and signs of life are created once and never change. The folder on each
machine holds what only that machine needs; its name is the sweep's name under the URL.
"""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, final

from sweeps.experiment.sources import Data
from sweeps.machine.eligibility import Requirements
from sweeps.search.learning_rates import EVERYTHING
from sweeps.store.attempts import LEASE, Attempt, Claim, Clock, attempt_of, ending_of
from sweeps.store.base import DOUBTED, Store
from sweeps.store.checkpoints import Checkpoints
from sweeps.store.files import KEY, figures
from sweeps.store.identity import beginning, identity_of, mark, refuse_foreign
from sweeps.store.logs import Log, PieceLog
from sweeps.store.note import Note, refuse_other_copies, write_note
from sweeps.store.objects import Entry, checked_url, open_objects
from sweeps.store.records import lenient_text, parse_record
from sweeps.store.retry import STOPPED
from sweeps.support.checks import require
from sweeps.support.checksum import sealed
from sweeps.support.json_io import json_of
from sweeps.trial import Observation, Trial

_ATTEMPT = re.compile(r"attempt-(\d{4,})")
_RETRIED = re.compile(r"retried-(\d{4,})-(\d{4,})")
FRESH = 2.0  # s for which a listing of all trials does; what is claimed is looked at again

Names = Mapping[str, Entry]  # what is known of one trial, by the last part of its objects' names


@final
class BucketStore(Store):
    """A store whose trials, claims and results are objects; `directory` holds what only this machine needs."""

    shares_folder = False
    looks_at_once = True
    pause = 5.0  # every look is paid for

    def __init__(self, directory: Path, url: str, lease: float = LEASE, checkpoints: str = "") -> None:
        super().__init__(directory, lease, checkpoints)
        self.url = self.claims_at = url
        self.objects = open_objects(f"{url}/{self.name}")
        if not checkpoints:
            self._checkpoints = Checkpoints(f"{url}/{self.name}/checkpoints")
        self._ours = False  # whether the name is known to be that of this folder's sweep
        self._seen: dict[str, dict[str, Entry]] = {}  # by key, as last listed
        self._seen_at, self._fresh_for = -FRESH, FRESH
        self._stale: set[str] = set()  # keys of which something was written here since
        self._unchanging: dict[str, bytes] = {}  # objects that never change, by name
        self._cancelled: tuple[float, frozenset[str]] = (-self.pause, frozenset())
        self._clock = Clock(self._stamp)

    def _put(self, name: str, content: str) -> None:
        self._refuse_other_sweep()
        self.objects.write(name, content.encode())

    def _put_once(self, name: str, content: str) -> bool:
        self._refuse_other_sweep()
        return self.objects.create(name, content.encode())

    def _get(self, name: str) -> bytes | None:
        """The content of an object; None without one."""
        try:
            return self.objects.read(name)
        except FileNotFoundError:
            return None

    def _kept(self, name: str) -> bytes:
        """The content of an object that never changes."""
        if name not in self._unchanging:
            self._unchanging[name] = self.objects.read(name)
        return self._unchanging[name]

    def _marker(self) -> tuple[str, str]:
        """Identity of the sweep that has this name here, and a hash of what it began as; "" without one."""
        text = self._get("sweep.json")
        told = lenient_text(text or b"")
        if text is not None and not told.get("sweep"):
            raise ValueError(f"{self.objects.url}/sweep.json: is damaged, so the sweep cannot be identified")
        return str(told.get("sweep", "")), str(told.get("begun", ""))

    def _refuse_other_sweep(self) -> None:
        if self._ours:
            return
        theirs, ours = self._marker()[0], identity_of(self.directory)
        if theirs and ours and theirs != ours:
            raise ValueError(
                f"{self.objects.url}: holds another sweep than {self.directory}, with the same folder name; "
                "rename this folder"
            )
        self._ours = bool(theirs) and theirs == ours

    # -- what is wanted

    def admit(self, sweep_file: Path, data: Data) -> None:
        refuse_foreign(self.directory, sweep_file)
        self._refuse_other_sweep()
        theirs, begun = self._marker()
        if not theirs or identity_of(self.directory):
            return
        text = sweep_file.read_text(encoding="utf-8")  # begun on another machine, or somebody else's altogether
        if begun != beginning(text, data) and self._file() != (text, data.to_json()):
            raise ValueError(
                f"{self.objects.url}: holds another sweep with this folder's name; give another folder. To continue "
                f"that one: `sweep status {self.directory} --store {self.url}`"
            )

    def _file(self) -> tuple[str, Any]:
        """The sweep file as last run, and its data; "" and None before."""
        told = lenient_text(self._get("file.json") or b"")
        return str(told.get("file", "")), told.get("data")

    def begin(self, sweep_file: Path, data: Data) -> None:
        text = sweep_file.read_text(encoding="utf-8")
        identity = identity_of(self.directory) or uuid.uuid4().hex
        self._put_once("sweep.json", sealed({"sweep": identity, "begun": beginning(text, data)}))
        self.admit(sweep_file, data)
        mark(self.directory, sweep_file, self._marker()[0])
        self.files.begin(text, json.dumps(data.to_json(), indent=1) + "\n")
        told = {"file": text, "data": data.to_json(), "checkpoints": self._place()}
        self._put("file.json", sealed(told))
        write_note(self.directory, Note(self.url, self.copies))
        self.reopen()

    def _place(self) -> str:
        """Where copies of checkpoints are kept, if not here. Raises ValueError where that was said to be elsewhere."""
        told = lenient_text(self._get("file.json") or b"")
        if told and (place := str(told.get("checkpoints", ""))) != self.copies:
            refuse_other_copies(self.directory, place or self.objects.url, self.copies)
            self._keep_copies_in(place)
        return self.copies

    def _keep_copies_in(self, place: str) -> None:
        self.copies, self._checkpoints = checked_url(place), None

    def fetch(self) -> None:
        """Make this machine's folder of a sweep that another machine began. Raises ValueError when none did."""
        self._refuse_other_sweep()
        text, data = self._file()
        if data is None:
            raise ValueError(f"{self.objects.url}: there is no sweep")
        self._place()
        mark(self.directory, identity=self._marker()[0])
        self.files.begin(text, json.dumps(data, indent=1) + "\n")
        write_note(self.directory, Note(self.url, self.copies))

    def insert(self, trials: Sequence[Trial]) -> None:
        known = set(self.keys())
        new = [trial for trial in trials if trial.key not in known]
        self.objects.each(lambda trial: self._put_once(f"trials/{trial.key}.json", sealed(trial.to_json())), new)

    def set_queue(self, keys: Sequence[str]) -> None:
        self._put("queue.json", json.dumps(keys))

    def queue(self) -> list[str]:
        text, where = self._get("queue.json"), f"{self.objects.url}/queue.json"
        listed = json_of(text, Path(where)) if text is not None else []
        require(f"{where}: the queue", listed, isinstance(listed, list), "a list of keys; `sweep run` rewrites it")
        gone = self.cancelled()
        keys = [key for key in listed if isinstance(key, str) and KEY.fullmatch(key)]
        return [] if EVERYTHING in gone else [key for key in keys if key not in gone]

    def cancel(self, keys: Iterable[str]) -> None:
        self.objects.each(lambda key: self._put(f"cancelled/{self._cancelled_name(key)}", ""), keys)
        self._cancelled = (-self.pause, frozenset())

    def requeue(self, keys: Iterable[str]) -> None:
        self.objects.delete([f"cancelled/{self._cancelled_name(key)}" for key in keys])
        self._cancelled = (-self.pause, frozenset())

    def _cancelled_name(self, key: str) -> str:
        return key if key == EVERYTHING else self.folder(key).name

    def cancelled(self) -> frozenset[str]:
        asked, gone = self._cancelled
        if time.monotonic() - asked > self.pause:
            gone = frozenset(_last(entry.name) for entry in self.objects.listed("cancelled"))
            self._cancelled = (time.monotonic(), gone)
        return gone

    def require(self, requirements: Requirements) -> None:
        self._put("needs.json", json.dumps(requirements.to_json()))

    def requirements(self) -> Requirements:
        text, where = self._get("needs.json"), f"{self.objects.url}/needs.json"
        return Requirements.from_json(json_of(text, Path(where)), where) if text else Requirements()

    def close(self) -> None:
        self._put("closed", "")

    def reopen(self) -> None:
        self.objects.delete(["closed"])

    @property
    def closed(self) -> bool:
        return self._get("closed") is not None

    def finished(self, key: str) -> bool:
        return _result(self._names(key)) in self._names(key)

    def unfinished(self) -> list[str]:
        self.refresh()
        return [key for key in self.queue() if not self.finished(key)]

    # -- who runs what

    def refresh(self) -> None:
        seen: dict[str, dict[str, Entry]] = {}
        stale, begun = set(self._stale), time.monotonic()
        for entry in self.objects.listed("state"):
            _, key, name = entry.name.split("/")
            seen.setdefault(key, {})[name] = entry
        self._seen, self._seen_at = seen, time.monotonic()
        self._fresh_for = max(FRESH, 5 * (self._seen_at - begun))
        self._stale -= stale

    def _names(self, key: str, anew: bool = False) -> Names:
        """What is known of a trial, as of a moment ago at most. anew: as of now."""
        if not anew and key not in self._stale and time.monotonic() - self._seen_at < self._fresh_for:
            return self._seen.get(key, {})
        return {_last(entry.name): entry for entry in self.objects.listed(f"state/{self.folder(key).name}")}

    def attempt(self, key: str, number: int, holder: Mapping[str, Any]) -> bool:
        token = uuid.uuid4().hex  # tells our own from another's when the request had to be repeated
        self._stale.add(key)
        if not self._put_once(_attempt(key, number), sealed({**holder, "token": token})):
            return False
        names = self._names(key, anew=True)
        if _result(names) in names:
            self.end(key, number, STOPPED, "there is a result already")
            return False
        self.folder(key).mkdir(parents=True, exist_ok=True)  # of its checkpoint
        return True

    def silence(self, key: str, number: int) -> float:
        names, name = self._names(key), f"attempt-{number:04d}"
        sign = names.get(f"{name}.alive") or names.get(name)
        return self._clock.now() - sign.modified if sign else 0.0

    def _stamp(self) -> float:
        """When an object written now was written, by the bucket's clock."""
        name = f"clock/{uuid.uuid4().hex}"
        try:
            return self.objects.stamp(name)
        finally:
            self.objects.delete([name])

    def busy(self) -> Set[str]:
        """Known by the times in the listing. Of a few, by lot, the note is read too: their processes may have been
        here and be gone."""
        numbers = {key: numbers[-1] for key, names in self._seen.items() if (numbers := _attempts(names))}
        open_ = {key: last for key, last in numbers.items() if f"attempt-{last:04d}.end" not in self._seen[key]}
        unread = [name for key, last in open_.items() if (name := _attempt(key, last)) not in self._unchanging]
        self.objects.each(self._kept, random.sample(unread, min(DOUBTED, len(unread))))
        return {key for key, last in open_.items() if not self._seems_dead(key, last)}

    def _seems_dead(self, key: str, number: int) -> bool:
        if _attempt(key, number) in self._unchanging:
            return bool(self.death(key, self.attempts(key)[-1]))
        return self.silence(key, number) > self.lease

    def attempts(self, key: str) -> list[Attempt]:
        names = self._names(key)
        return [self._read_attempt(key, number, names) for number in _attempts(names)]

    def _read_attempt(self, key: str, number: int, names: Names) -> Attempt:
        name = _attempt(key, number)
        note = lenient_text(self._kept(name))
        if f"attempt-{number:04d}.end" not in names:
            return attempt_of(number, note)
        return attempt_of(number, note, *ending_of(lenient_text(self._kept(f"{name}.end")), f"{name}.end"))

    def renew(self, claim: Claim) -> bool:
        told = json.dumps(self.files.progress(claim.trial.key))
        self._put(f"{_attempt(claim.trial.key, claim.attempt)}.alive", told)
        return self.check(claim)

    def check(self, claim: Claim) -> bool:
        names = self._names(claim.trial.key, anew=True)
        return _attempts(names)[-1:] == [claim.attempt] and _result(names) not in names

    def record_end(self, key: str, number: int, cause: str, reason: str) -> None:
        self._stale.add(key)
        self._put_once(f"{_attempt(key, number)}.end", sealed({"cause": cause, "said": reason}))

    def record_result(self, key: str, text: str) -> bool:
        self._stale.add(key)
        return self._put_once(f"state/{self.folder(key).name}/{_result(self._names(key, anew=True))}", text)

    def set_aside(self, key: str, last: int) -> None:
        names = self._names(key, anew=True)
        if (result := _result(names)) in names:
            self._stale.add(key)
            self._put_once(f"state/{key}/retried-{result.removeprefix('result-')}-{last:04d}", "")

    def retried(self, key: str) -> int:
        return max((int(match[2]) for name in self._names(key) if (match := _RETRIED.fullmatch(name))), default=0)

    # -- what was said

    def share_log(self, key: str, text: str) -> None:
        self._put_once(f"logs/{key or 'sweep'}/{time.time_ns():020d}-{uuid.uuid4().hex[:8]}", text)

    def open_log(self, key: str = "") -> Log:
        return PieceLog(lambda known: self._log_pieces(key, set(known)))

    def _log_pieces(self, key: str, known: set[str]) -> list[tuple[str, str]]:
        listed = sorted(entry.name for entry in self.objects.listed(f"logs/{key or 'sweep'}"))
        new = [name for name in listed if name not in known][-1000:]
        texts = self.objects.each(self.objects.read, new)
        return [(name, text.decode("utf-8", errors="replace")) for name, text in zip(new, texts, strict=True)]

    def publish(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if path.exists():
                with open(path, "rb") as file:
                    self.objects.upload(path.name, file)

    # -- what is known

    def read_trial(self, key: str) -> Trial:
        name = f"trials/{self.folder(key).name}.json"
        where = f"{self.objects.url}/{name}"
        try:
            trial: Trial = parse_record(Trial, self._kept(name), where)
        except FileNotFoundError:
            raise ValueError(f"{where}: does not exist") from None
        if trial.key != key:
            raise ValueError(f"{where}: holds a trial whose key is {trial.key}")
        return trial

    def result(self, key: str) -> Observation | None:
        names = self._names(key)
        return self._observation((key, _result(names))) if _result(names) in names else None

    def _observation(self, of: tuple[str, str]) -> Observation | None:
        """The observation in the result of a trial that has this name."""
        name = f"state/{'/'.join(of)}"
        if (text := self._get(name)) is None:  # it is being tried again by now
            return None
        observation: Observation = parse_record(Observation, text, f"{self.objects.url}/{name}", curves=self.curves)
        return observation

    def results(self, known: Container[str] = ()) -> Iterator[Observation]:
        self.refresh()
        results = ((key, _result(names)) for key, names in self._seen.items())
        new = [(key, name) for key, name in results if key not in known and name in self._seen[key]]
        for start in range(0, len(new), 500):
            yield from filter(None, self.objects.each(self._observation, new[start : start + 500]))

    def keys(self) -> list[str]:
        names = (_last(entry.name).removesuffix(".json") for entry in self.objects.listed("trials"))
        return [name for name in names if KEY.fullmatch(name)]

    def running(self) -> Iterator[tuple[Trial, Attempt, dict[str, Any]]]:
        begun = [key for key in self.unfinished() if self._names(key)]
        yield from filter(None, self.objects.each(self._running, begun))

    def _running(self, key: str) -> tuple[Trial, Attempt, dict[str, Any]] | None:
        last = next(iter(self.attempts(key)[-1:]), None)
        if not last or last.ended or self.death(key, last):
            return None
        here = self.files.progress(key) if last.here else {}  # newer than what the last renewal told
        return self.read_trial(key), last, here or self._told(key, last.number)

    def _told(self, key: str, number: int) -> dict[str, Any]:
        return figures(lenient_text(self._get(f"{_attempt(key, number)}.alive") or b""))


def _attempt(key: str, number: int) -> str:
    return f"state/{key}/attempt-{number:04d}"


def _attempts(names: Names) -> list[int]:
    """Numbers of the attempts, ascending."""
    return sorted(int(match[1]) for name in names if (match := _ATTEMPT.fullmatch(name)))


def _result(names: Names) -> str:
    """The name of the result that counts: the next after those that were tried again."""
    matches = [match for name in names if (match := _RETRIED.fullmatch(name))]
    return f"result-{max((int(match[1]) + 1 for match in matches), default=0):04d}"


def _last(name: str) -> str:
    return name.rpartition("/")[2]
