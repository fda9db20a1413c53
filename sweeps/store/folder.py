"""A sweep's folder: every path in it and every durable write to it.

    sweep.toml          the sweep file as last run            data.json     what `embed prepare` said of its data
    queue.json          trials wanted, in the order to run   closed        present when no more will come
    needs.json          what each of them takes, for workers that may not take all
    cancelled/          a file for every trial that nobody wants any more, named by its key; `everything` for all
    trials/<key>/       trial.json, attempt-0001 (a claim), attempt-0001.end (how it ended), progress.json,
                        checkpoint.safetensors, log.txt, result.json, failed-0001.json (a result tried again)
    trunks/<trunk>/     <step>.safetensors: what trials that share a trunk left where their cooldown began
    trunks/wanted.json  the branch steps of the trials that may yet use such a state
    parts/<key>.safetensors   the model of one source, for trials that merge it with those of the others
    observations.jsonl  gathered export, rebuilt from trials/ rates.json    the learning-rate searches
    left-out.json       places of the grid that are not tried, with their reason
    logs/               sweep.log and one log a worker

Any number of processes on any number of machines may use one folder on a shared file system. A trial is claimed by
creating its next attempt file; that number is the fencing token and the file's age the lease. The first result stays.
A trial may run twice when a machine is cut off, but it never has two results.

A trial waits while another of its trunk is on the way to a state for it: going there beside it would be no faster and
cost the way twice. It waits for a living one only, so that nothing is waited for in vain.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sweeps.experiment.grid import Cell, Data
from sweeps.machine.eligibility import ANY_TRIAL, Eligibility, Requirements
from sweeps.search.learning_rates import EVERYTHING, Search
from sweeps.store.retry import CAUSES, EXCEPTION, LOST, STOPPED, Verdict, verdict
from sweeps.support.atomic import new_folder, publish_text, write_text
from sweeps.trial import Observation, Training, Trial, failure

PROGRESS = "progress.json"
CHECKPOINT = "checkpoint.safetensors"
WANTED = "wanted.json"
LEASE = 300.0  # s without a sign of life; NFS shows changed times up to 90 s late (nfs-ganesha issue 294)
OTHER_CONDITIONS = "other-conditions.jsonl"  # observations that no law may share with those of the sweep
_KEY = re.compile(r"[0-9a-f]{16}")
_ATTEMPT = re.compile(r"attempt-(\d{4,})")
_FAILED = re.compile(r"failed-(\d{4,})\.json")
_STATE = re.compile(r"(\d+)\.safetensors")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_HOLDER = ("host", "boot", "pid", "started", "state", "job", "restarts")


@dataclass(frozen=True)
class Claim:
    """The right to run a trial for as long as no newer attempt exists. attempt: from 1.

    smaller: times that the micro-batch is to be halved, for memory ran out before.
    """

    trial: Trial
    attempt: int
    smaller: int = 0


@dataclass(frozen=True)
class Attempt:
    """One try at a trial. host, boot, pid: who runs it. started: s since 1970 by that host's clock, to show only.

    state: the checkpoint's time when it began, ns, 0 without one. job, restarts: of the cluster's job that it runs in.
    ended: how, "" while it may still run. cause: that in one word, see retry.CAUSES.
    """

    number: int
    host: str = ""
    boot: str = ""
    pid: int = 0
    started: float = 0.0
    state: int = 0
    job: str = ""
    restarts: int = 0
    ended: str = ""
    cause: str = ""

    @property
    def here(self) -> bool:
        """Whether its process would be seen from this one."""
        return (self.host, self.boot) == machine()

    @property
    def gone(self) -> bool:
        """Whether its process certainly runs no more. False when that cannot be seen from here."""
        return self.here and not _alive(self.pid)


@dataclass(frozen=True)
class Trunk:
    """Where trials that differ only in their steps leave their state for one another. branch: of one of them."""

    folder: Path
    branch: int

    def state(self, step: int) -> Path:
        return self.folder / f"{step}.safetensors"

    @property
    def own(self) -> Path:
        """The state that this trial leaves."""
        return self.state(self.branch)

    def newest(self) -> Path | None:
        """The furthest state on this trial's own way; None when there is none."""
        steps = [step for step in self.steps() if step <= self.branch]
        return self.state(max(steps)) if steps else None

    def steps(self) -> list[int]:
        """Steps at which there is a state."""
        try:
            matches = [_STATE.fullmatch(name) for name in os.listdir(self.folder)]
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for match in matches if match)

    def wanted(self) -> bool:
        """Whether some other trial could go on from this trial's state."""
        branches = lenient(self.folder.parent / WANTED).get(self.folder.name, [])
        return sum(branch >= self.branch for branch in branches) > 1  # this trial is one of them


def parts_folder(folder: Path) -> Path:
    """Where a trial that runs in `folder` keeps the models that it merges: with those of its sweep, if it has one."""
    sweep = folder.parent.parent
    return (sweep if (sweep / "sweep.toml").exists() and folder.parent.name == "trials" else folder) / "parts"


def trunk_of(folder: Path, trial: Trial) -> Trunk | None:
    """The trunk of a trial that runs in `folder`; None where its sweep has no other trial to share it with."""
    trunks = folder.parent.parent / "trunks"
    shared = bool(trial.trunk) and trial.trunk in lenient(trunks / WANTED)
    return Trunk(trunks / trial.trunk, trial.branch) if shared else None


class Store:
    """The folder of a sweep. `lease`: seconds after which an attempt without a sign of life counts as dead.

    curves: whether results are read with their training curves, most of what they hold. Only for what is never written
    again. Workers use six calls: add, claim, renew, check, finish, list (here `results` and `running`).
    """

    def __init__(self, directory: Path, lease: float = LEASE) -> None:
        self.directory = directory
        self.lease = lease
        self.curves = True
        self._finished: set[str] = set()  # saves asking again: a result stays until it is retried
        self._queue: tuple[list[str], int] = ([], 0)  # as last read, and when it had changed
        self._shared: dict[str, Trunk | None] = {}  # by key, likewise: a trial never changes

    @cached_property
    def trials(self) -> Path:
        return self.directory / "trials"

    @cached_property
    def trunks(self) -> Path:
        return self.directory / "trunks"

    def folder(self, key: str) -> Path:
        """Where a trial keeps all it has. Raises ValueError on anything but a key: names never become paths."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"{self.trials}: {key!r} is not the key of a trial")
        return self.trials / key

    def worker_log(self, index: int) -> Path:
        return self.directory / "logs" / f"worker-{index}.log"

    # -- what is wanted

    def begin(self, sweep_file: Path, data: Data) -> None:
        """Make the folder, keep a copy of the sweep file and of the data's description, and open the queue."""
        for path in (self.trials, self.directory / "logs"):
            path.mkdir(parents=True, exist_ok=True)
        write_text(self.directory / "sweep.toml", sweep_file.read_text(encoding="utf-8"))
        write_text(self.directory / "data.json", json.dumps(data.to_json(), indent=1) + "\n")
        self.reopen()

    def read_data(self) -> Data | None:
        """What the sweep's data were when it was last run; None when that was not here."""
        path = self.directory / "data.json"
        try:
            return Data.from_json(_read_json(path), str(path))
        except FileNotFoundError:
            return None

    def add(self, trials: Sequence[Trial]) -> None:
        """Want these trials, in this order, and no others. Trials that are there already stay as they are."""
        for trial in trials:
            if not self.folder(trial.key).exists():
                self._create(trial)
        write_text(self.directory / "queue.json", json.dumps([trial.key for trial in trials]))

    def _create(self, trial: Trial) -> None:
        try:
            with new_folder(self.folder(trial.key)) as folder:  # so that none lacks its trial.json
                (folder / "trial.json").write_text(json.dumps(trial.to_json(), indent=1) + "\n", encoding="utf-8")
        except OSError:
            if not self.folder(trial.key).exists():
                raise

    def keep(self, observation: Observation) -> None:
        """Take over the observation of an identical trial that ran elsewhere."""
        if not self.folder(observation.key).exists():
            self._create(observation.trial)
        self.finish(observation)

    def queue(self) -> list[str]:
        """Keys of the trials wanted, as last added; empty before."""
        path = self.directory / "queue.json"
        try:
            keys = _read_json(path)
        except FileNotFoundError:
            return []
        if (now := (keys, _changed(path))) != self._queue:  # what failed may be wanted again
            self._queue = now
            self._finished.clear()
        gone = self.cancelled()
        wanted = [] if EVERYTHING in gone else [key for key in keys if isinstance(key, str) and key not in gone]
        return [key for key in wanted if _KEY.fullmatch(key)]

    def cancel(self, keys: Iterable[str]) -> None:
        """Want these trials no more, EVERYTHING for all: workers stop and do not begin them, until `want_again`."""
        for key in keys:
            note = self._note(key)
            note.parent.mkdir(exist_ok=True)
            note.touch()

    def want_again(self, keys: Iterable[str]) -> None:
        """Take `cancel` back."""
        for key in keys:
            self._note(key).unlink(missing_ok=True)

    def cancelled(self) -> frozenset[str]:
        """Keys of the trials cancelled, EVERYTHING among them when all are."""
        try:
            return frozenset(os.listdir(self.directory / "cancelled"))
        except FileNotFoundError:
            return frozenset()

    def is_cancelled(self, key: str) -> bool:
        return self._note(key).exists() or self._note(EVERYTHING).exists()

    def _note(self, key: str) -> Path:
        return self.directory / "cancelled" / (key if key == EVERYTHING else self.folder(key).name)

    def require(self, requirements: Requirements) -> None:
        """Say what the trials take, for workers that may not take all."""
        write_text(self.directory / "needs.json", json.dumps(requirements.to_json()))

    def requirements(self) -> Requirements:
        return Requirements.from_json(lenient(self.directory / "needs.json"))

    def close(self) -> None:
        """Say that nothing more will be added: workers leave when all is finished."""
        (self.directory / "closed").touch()

    def reopen(self) -> None:
        """Take `close` back."""
        (self.directory / "closed").unlink(missing_ok=True)

    @property
    def closed(self) -> bool:
        return (self.directory / "closed").exists()

    def finished(self, key: str) -> bool:
        if key not in self._finished and (self.folder(key) / "result.json").exists():
            self._finished.add(key)
        return key in self._finished

    def unfinished(self) -> list[str]:
        """Keys of the trials wanted that have no result yet."""
        return [key for key in self.queue() if not self.finished(key)]

    # -- who runs what

    def claim(self, eligibility: Eligibility = ANY_TRIAL) -> Claim | None:
        """The first wanted trial that nobody runs and that waits for no other, now ours; None when there is none.

        eligibility: which trials the worker may take, and which of them first.
        """
        under_way: set[Path] = set()  # trunks with a trial on its way to a state; fewer steps come first in the queue
        for key in eligibility.order(self.queue()):
            if self.finished(key):
                continue
            trunk = self._trunk(key)
            if trunk and trunk.folder in under_way and not (self.folder(key) / CHECKPOINT).exists():
                continue
            if claim := self._claim(key, eligibility):
                return claim
            if trunk and not self.finished(key) and not trunk.own.exists() and self._under_way(key):
                under_way.add(trunk.folder)
        return None

    def _under_way(self, key: str) -> bool:
        attempts = self.attempts(key)
        return bool(attempts) and not attempts[-1].ended

    def _claim(self, key: str, eligibility: Eligibility) -> Claim | None:
        attempts = self.attempts(key)
        if attempts and not attempts[-1].ended:
            if not (cause := self._dead(key, attempts[-1])):
                return None
            self.end(key, attempts[-1].number, LOST, cause)
            attempts = self.attempts(key)
        trial = self.read_trial(key)
        state = _changed(self.folder(key) / CHECKPOINT)
        found = self._verdict(key, attempts, state, eligibility)
        if found.reason:
            self._give_up(failure(trial, found.reason), attempts[-1].number)
            return None
        if not eligibility.takes(key, found.bigger):
            return None
        number = attempts[-1].number + 1 if attempts else 1
        host, boot = machine()
        mine = {
            "host": host,
            "boot": boot,
            "pid": os.getpid(),
            "started": time.time(),
            "state": state,
            **eligibility.job,
        }
        return Claim(trial, number, found.smaller) if self._begin(key, number, mine) else None

    def _give_up(self, failed: Observation, last: int) -> None:
        """Leave this result of the attempts up to `last`, unless a retry has answered for them meanwhile."""
        if self.finish(failed) and self._answered(failed.key) >= last:
            self._set_aside(failed.key, last)

    def _begin(self, key: str, number: int, holder: Mapping[str, Any]) -> bool:
        """Make an attempt that nobody else makes, at a trial without a result; False when somebody was faster."""
        try:
            publish_text(self._attempt(key, number), json.dumps(holder), durable=False)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise
            return False  # any other: network file systems have more names than "exists" for losing a race
        if self.finished(key):
            self.end(key, number, STOPPED, "there was a result already")
            return False
        return True

    def _verdict(self, key: str, attempts: Sequence[Attempt], state: int, eligibility: Eligibility) -> Verdict:
        answered = self._answered(key)
        return verdict(
            [seen for seen in attempts if seen.number > answered], state, eligibility.requirements.classes_above(key)
        )

    def _answered(self, key: str) -> int:
        """The newest attempt that was answered for when the trial was to be tried again; 0 before."""
        return max(self._numbers(key, _FAILED), default=0)

    def _dead(self, key: str, last: Attempt) -> str:
        """How the newest attempt died, as far as can be seen; "" while it may live."""
        if last.gone:
            return f"worker {last.pid} on {last.host} is gone"
        if (age := self._age(key, last.number)) > self.lease:
            return f"worker {last.pid} on {last.host} gave no sign of life for {age:.0f} s"
        return ""

    def _age(self, key: str, number: int) -> float:
        """Seconds since the last sign of life, both times by the file server's clock."""
        probe = self.trials / f".clock-{os.urandom(8).hex()}.tmp"
        try:
            probe.touch()
            return probe.stat().st_mtime - self._attempt(key, number).stat().st_mtime
        except OSError:
            return 0.0
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)

    def _attempt(self, key: str, number: int) -> Path:
        return self.folder(key) / f"attempt-{number:04d}"

    def attempts(self, key: str) -> list[Attempt]:
        """All attempts at a trial, oldest first."""
        made = []
        for number in self._numbers(key):
            path = self._attempt(key, number)
            content = lenient(path)
            made.append(Attempt(number, **holder_of(content), **_ending(path.with_suffix(".end"))))
        return made

    def _numbers(self, key: str, names: re.Pattern[str] = _ATTEMPT) -> list[int]:
        matches = (names.fullmatch(name) for name in os.listdir(self.folder(key)))
        return sorted(int(match[1]) for match in matches if match)

    def renew(self, claim: Claim) -> bool:
        """Show that the attempt lives. False when the claim is lost; OSError when that cannot be known now."""
        try:
            os.utime(self._attempt(claim.trial.key, claim.attempt))  # never creates the file anew
        except FileNotFoundError:
            return False
        return self.check(claim)

    def check(self, claim: Claim) -> bool:
        """Whether this is still the newest attempt at an unfinished trial."""
        key = claim.trial.key
        return self._numbers(key)[-1:] == [claim.attempt] and not self.finished(key)

    def end(self, key: str, number: int, cause: str, said: str = "") -> None:
        """Record how an attempt ended without a result; the first cause named stays. cause: of retry.CAUSES."""
        if cause not in CAUSES:
            raise ValueError(f"an attempt ends by {cause!r}; known: {', '.join(CAUSES)}")
        self._end(key, number, cause, said)

    def _end(self, key: str, number: int, cause: str, said: str) -> None:
        content = json.dumps({"cause": cause, "said": said})
        with suppress(FileExistsError):
            publish_text(self._attempt(key, number).with_suffix(".end"), content, durable=False)

    def finish(self, observation: Observation) -> bool:
        """Leave the trial's result unless it has one already; True if this one was the first."""
        first = self._leave(observation.key, json.dumps(observation.to_json()) + "\n")
        self._drop_checkpoint(observation.key)  # it was there to continue the trial
        return first

    def stopped(self, key: str) -> None:
        """An attempt at a trial was stopped by `cancel`: where the trial has a result, that was all it was for."""
        if self.finished(key):
            self._drop_checkpoint(key)
            self.want_again([key])

    def _drop_checkpoint(self, key: str) -> None:
        for path in self.folder(key).glob("*checkpoint.safetensors*"):
            path.unlink(missing_ok=True)

    def _leave(self, key: str, text: str) -> bool:
        path = self.folder(key) / "result.json"
        try:
            publish_text(path, text)
            return True
        except OSError:
            if not path.exists():
                raise
            return path.read_text(encoding="utf-8") == text  # a link may succeed and say otherwise

    def retry_failed(self) -> list[Observation]:
        """Let failed trials be tried again."""
        return self.retry(seen for seen in self.results() if seen.status == "failed")

    def retry(self, again: Iterable[Observation]) -> list[Observation]:
        """Let these be tried again; what they left before stays beside as failed-<its last attempt>.json."""
        failed = list(again)
        for seen in failed:
            last = max((attempt.number for attempt in self.attempts(seen.key)), default=0)
            if last:
                self.end(seen.key, last, EXCEPTION, f"failed: {seen.reason}")
            self._set_aside(seen.key, last)
            self._finished.discard(seen.key)
            self.log_trial(seen.key, f"to be tried again after attempt {last}: {seen.reason}")
        return failed

    def _set_aside(self, key: str, last: int) -> None:
        with suppress(FileNotFoundError):  # somebody else was faster
            (self.folder(key) / "result.json").rename(self.folder(key) / f"failed-{last:04d}.json")
            os.utime(self.directory / "queue.json")  # tells those who saw the result, though the same keys are wanted

    # -- what trials of one trunk share

    def share(self, trials: Iterable[Trial]) -> None:
        """Say which trials may yet start from the state of another of their trunk, and delete what none will take: such
        states, and models of one source that none will merge."""
        wanted: dict[str, list[int]] = {}
        parts = set()
        for trial in trials:
            parts |= {f"{part.key}.safetensors" for part in trial.parts}
            if trial.trunk:
                wanted.setdefault(trial.trunk, []).append(trial.branch)
        if wanted:
            self.trunks.mkdir(parents=True, exist_ok=True)
            write_text(self.trunks / WANTED, json.dumps(wanted))
        else:
            (self.trunks / WANTED).unlink(missing_ok=True)
        for path in (self.directory / "parts").glob("*.safetensors"):
            if path.name not in parts:
                path.unlink(missing_ok=True)
        for folder in self._trunk_folders():
            kept = {Trunk(folder, branch).newest() for branch in wanted.get(folder.name, [])}
            for state in folder.glob("*.safetensors"):
                if state not in kept:
                    state.unlink(missing_ok=True)
        if not wanted and self.trunks.is_dir():
            shutil.rmtree(self.trunks, ignore_errors=True)  # a worker cut off may still be writing there

    def states(self) -> dict[str, list[int]]:
        """Steps at which there is a state, by trunk."""
        return {folder.name: Trunk(folder, 0).steps() for folder in self._trunk_folders()}

    def state_bytes(self) -> int:
        """What the states of trunks occupy."""
        sizes = 0
        for folder in self._trunk_folders():
            for path in folder.iterdir():
                with suppress(FileNotFoundError):
                    sizes += path.stat().st_size
        return sizes

    def _trunk_folders(self) -> list[Path]:
        if not self.trunks.is_dir():
            return []
        return [path for path in self.trunks.iterdir() if _KEY.fullmatch(path.name)]

    def _trunk(self, key: str) -> Trunk | None:
        if key not in self._shared:
            trial = self.read_trial(key)
            self._shared[key] = Trunk(self.trunks / trial.trunk, trial.branch) if trial.trunk else None
        return self._shared[key]

    # -- what is known

    def read_trial(self, key: str) -> Trial:
        path = self.folder(key) / "trial.json"
        trial = parse(Trial, _read_json(path), path)
        if trial.key != key:
            raise ValueError(f"{path}: holds a trial whose key is {trial.key}")
        return trial

    def result(self, key: str) -> Observation | None:
        """The observation of a finished trial; None before."""
        self.folder(key)  # refuses what is no key
        path = f"{self.trials}/{key}/result.json"  # joined as text: Path takes a tenth of the time of reading thousands
        try:
            content = _read_json(path, self.curves)
        except FileNotFoundError:
            return None
        # The folder's name is the key: whoever gathers observations from files works it out.
        seen: Observation = parse(Observation, content, path, key)
        self._finished.add(key)
        return seen

    def results(self, known: Container[str] = ()) -> Iterator[Observation]:
        """Observations of all finished trials in the folder but the `known` keys."""
        for key in self.keys():
            if key not in known and (seen := self.result(key)):
                yield seen

    def keys(self) -> list[str]:
        """Of all trials, whether or not they are still wanted."""
        try:
            return [name for name in os.listdir(self.trials) if _KEY.fullmatch(name)]
        except FileNotFoundError:
            return []

    def find(self, prefix: str) -> str:
        """The key that begins like this. Raises ValueError when none does, or several do."""
        keys = sorted(key for key in self.keys() if key.startswith(prefix))
        if len(keys) != 1 or not prefix:
            some = f"{', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''} begin so" if keys else "none begins so"
            raise ValueError(f"trial is {prefix!r}; it must be a key in {self.trials}, or the start of one: {some}")
        return keys[0]

    def running(self) -> Iterator[tuple[Trial, Attempt, dict[str, Any]]]:
        """Wanted trials being run: the attempt, and the figures its process last left (step, loss)."""
        for key in self.queue():
            if self.finished(key) or not (attempts := self.attempts(key)):
                continue
            last = attempts[-1]
            if not last.ended and not self._dead(key, last):
                yield self.read_trial(key), last, lenient(self.folder(key) / PROGRESS)

    # -- records for people and for other commands

    def exported(self) -> Iterator[Observation]:
        """The observations in the gathered exports, whether or not their trials are in the folder."""
        for name in ("observations.jsonl", OTHER_CONDITIONS):
            yield from read_observations(self.directory / name, self.curves)

    def export(self, observations: Iterable[Observation], *conditions: Training) -> None:
        """Write observations.jsonl, those made under other conditions aside, in one stable order."""
        ordered = sorted(
            observations,
            key=lambda seen: (seen.trial.budget, seen.trial.model, seen.trial.label, seen.trial.lr, seen.key),
        )
        lines: dict[bool, list[str]] = {True: [], False: []}
        for seen in ordered:
            lines[seen.trial.training in conditions].append(json.dumps(seen.to_json()) + "\n")
        write_text(self.directory / "observations.jsonl", "".join(lines[True]))
        if lines[False] or (self.directory / OTHER_CONDITIONS).exists():
            write_text(self.directory / OTHER_CONDITIONS, "".join(lines[False]))

    def export_rates(self, searches: Sequence[Search]) -> None:
        write_text(self.directory / "rates.json", json.dumps([found.to_json() for found in searches], indent=1) + "\n")

    def export_left_out(self, cells: Sequence[Cell]) -> None:
        """Beside the observations, what was not tried and why."""
        write_text(self.directory / "left-out.json", json.dumps([cell.to_json() for cell in cells], indent=1) + "\n")

    def log(self, sentence: str) -> None:
        """Append to the sweep's log."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with open(self.directory / "logs" / "sweep.log", "a", encoding="utf-8") as file:
            file.write(f"{stamp} {sentence}\n")

    def log_trial(self, key: str, text: str) -> None:
        """Append to a trial's own log."""
        with open(self.folder(key) / "log.txt", "a", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else f"{text}\n")


def report(folder: Path, step: int, loss: float) -> None:
    """Leave the current figures of a running trial in its `folder` for displays; call it once a second at most."""
    write_text(folder / PROGRESS, json.dumps({"step": step, "loss": loss}), durable=False)


def read_observations(path: Path, curves: bool = True) -> Iterator[Observation]:
    """The observations in a file, one a line; none when there is no file. Raises ValueError naming the line."""
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _observation(line if curves else _without_curve(line), f"{path}:{number}")
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}") from None


def _observation(line: str, where: str) -> Observation:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON: {error}") from None
    seen: Observation = parse(Observation, content, where)
    return seen


def machine() -> tuple[str, str]:
    """This host's name, and what tells its processes' numbers from those of another boot or container."""
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    return socket.gethostname(), boot


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    with suppress(OSError):  # a zombie answers but works no more
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def _changed(path: Path) -> int:
    """When a file last changed, ns; 0 when there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _without_curve(text: str) -> str:
    """An observation's JSON with an empty curve. Inside a string the quotes of its name would be escaped."""
    start = text.find('"curve": [[')
    return text if start < 0 else f'{text[:start]}"curve": []{text[text.index("]]", start) + 2 :]}'


def _read_json(path: Path | str, curves: bool = True) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.loads(file.read() if curves else _without_curve(file.read()))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None


def holder_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Of what an attempt noted when it began, the fields of Attempt."""
    return {name: content[name] for name in _HOLDER if name in content}


def lenient(path: Path) -> dict[str, Any]:
    """The object in a file that says nothing durable; empty when it is missing or torn."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _ending(path: Path) -> dict[str, Any]:
    """How an attempt ended, from its .end file; empty while it has none."""
    content = lenient(path)
    if not content:
        return {}
    cause = str(content.get("cause", ""))
    known = cause if cause in CAUSES else LOST  # older ends hold only a sentence
    return {"cause": known, "ended": str(content.get("said") or cause)}


def parse(kind: Any, content: Any, where: object, *known: str) -> Any:
    """A Trial or an Observation from parsed JSON. Raises ValueError naming the place."""
    try:
        return kind.from_json(content, *known)
    except KeyError as error:
        raise ValueError(f"{where}: has no {error.args[0]!r}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: {error}") from None
