"""Looking at a sweep and steering it while it runs: status, logs, cancel, retry, export, dashboard."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeps.experiment.sweep_file import read_sweep
from sweeps.machine.cores import trials_at_once
from sweeps.running.display import Screen, Snapshot, name, result, snapshot, status_lines, under_way
from sweeps.running.estimate import Pace
from sweeps.search.goal_rounds import read_rounds, with_rounds
from sweeps.search.learning_rates import CANCELLED, EVERYTHING
from sweeps.search.sweep_state import plan_next
from sweeps.store.base import Store
from sweeps.store.export import write_csv, write_parquet
from sweeps.store.logs import Log
from sweeps.store.open import add_store, join, open_store, placed
from sweeps.support.arguments import whole
from sweeps.support.console import sentence
from sweeps.support.paths import refuse_to_replace, relative_to
from sweeps.support.progress import Progress
from sweeps.support.text import plain
from sweeps.trial import Observation, Trial, by_key

LOOK = 2.0  # s between looks at a sweep that is watched
FOLLOW = 0.5  # s between looks at a log that is followed


class Standing:
    """How a sweep stands, looked at again and again: a result is read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.store.curves = False
        self.known = by_key(self.store.exported())
        self.pace = Pace(self.store)
        self._said = ""

    def look(self) -> Snapshot:
        done = {key for key, observation in self.known.items() if observation.status == "done"}
        self.known |= by_key(self.store.results(done))
        workers = len(list(self.store.running())) or trials_at_once()
        if not (data := self.store.files.read_data()):
            return self._unplanned(workers)
        file = self.store.directory / "sweep.toml"
        try:
            with relative_to(file):
                sweep = with_rounds(read_sweep(file), read_rounds(self.store.directory))
        except (ValueError, OSError) as error:
            if self.store.shares_folder:
                raise
            self._say(
                f"models or data of the file are not on this machine, so the time left is unknown: {sentence(error)}"
            )
            return self._unplanned(workers)
        self.pace.take(self.known.values())
        again = {key for key in self.store.unfinished() if key in self.known}
        known = [observation for key, observation in self.known.items() if key not in again]
        state = plan_next(sweep, data, known, self.store.cancelled())
        return snapshot(self.store, sweep, data, state, self.pace.speed(workers), workers)

    def _unplanned(self, workers: int) -> Snapshot:
        """What is known where the plan is not: of a committed folder, or of a sweep whose models are elsewhere."""
        spent = sum(observation.spent_flops for observation in self.known.values())
        finished, running = tuple(self.known.values()), tuple(under_way(self.store))
        waiting = len([key for key in self.store.unfinished() if key not in self.known]) - len(running)
        return Snapshot(self.store.directory, finished, running, max(0, waiting), (), (), spent, spent, 0.0, workers)

    def _say(self, why: str) -> None:
        """Say once what is not shown."""
        if why != self._said:
            self._said = why
            print(f"sweep: {why}", file=sys.stderr, flush=True)


def existing(place: str | Path, url: str = "") -> Store:
    """The store of a sweep that is there: in a folder, or at a URL of which this machine then has a folder.

    Raises ValueError where there is none.
    """
    directory, url = placed(place, url)
    if url:
        join(directory, url)
    if not (directory / "sweep.toml").exists():
        raise ValueError(f"{directory}: no sweep here (it has no sweep.toml)")
    return open_store(directory)


def _folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", metavar="DIR", help="folder of the sweep, or its URL (s3://BUCKET/PREFIX/NAME)")
    add_store(command)


def add_status(command: argparse.ArgumentParser) -> None:
    _folder(command)
    how = command.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print it as JSON")
    how.add_argument("--watch", action="store_true", help="refresh until the sweep is finished")


def status(arguments: argparse.Namespace) -> int:
    standing = Standing(existing(arguments.directory, arguments.store))
    if arguments.watch:
        return _watch(standing)
    gc.disable()  # what is read lives to the end; looking for garbage among it took a fifth of the time
    now = standing.look()
    print(json.dumps(now.to_json()) if arguments.json else "\n".join(map(plain, status_lines(now))))
    return 0


def _watch(standing: Standing) -> int:
    with suppress(KeyboardInterrupt):
        with Screen(standing.store.directory.resolve().name) as screen:
            while (now := standing.look()).running or now.waiting:
                screen.show(now)
                time.sleep(LOOK)
        print("\n".join(map(plain, status_lines(now))))
    return 0


def add_logs(command: argparse.ArgumentParser) -> None:
    _folder(command)
    command.add_argument("trial", nargs="?", metavar="TRIAL", help="key of a trial, or the first characters of it")
    command.add_argument("--lines", type=whole(), default=20, metavar="N", help="number of last lines (default: 20)")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--follow", action="store_true", help="follow the log until the trial or sweep is finished")
    how.add_argument("--json", action="store_true", help="print it as JSON")


def logs(arguments: argparse.Namespace) -> int:
    store = existing(arguments.directory, arguments.store)
    if arguments.trial is None:
        return _sweep_log(store, arguments)
    key = store.find(arguments.trial)
    log = store.open_log(key)
    if arguments.json:
        observation = store.result(key)
        content = {"key": key, "trial": store.read_trial(key).to_json(), "lines": _tail(log, arguments.lines)}
        attempts = [
            {"number": tried.number, "host": tried.host, "pid": tried.pid, "ended": tried.ended}
            for tried in store.attempts(key)
        ]
        print(json.dumps({**content, "attempts": attempts, "status": observation.status if observation else None}))
        return 0
    trial = store.read_trial(key)
    print(plain(f"{key}  {name(trial)}"))
    shown = _told(store, key, 0)
    for line in _tail(log, arguments.lines):
        print(f"  {line}")
    if arguments.follow:
        with suppress(KeyboardInterrupt):
            _follow(store, trial, log, shown)
    if observation := store.result(key):
        print(plain(result(observation)))
    elif store.is_cancelled(key):
        print(CANCELLED)
    elif figures := _figures(store, key):
        print(f"step {figures['step']} of {trial.steps}, training loss {figures['loss']:.4f}")
    return 0


def _follow(store: Store, trial: Trial, log: Log, shown: int) -> None:
    """Until the trial has a result: what is added to its log and to its attempts, and how far it is in one place."""
    before = _figures(store, trial.key).get("step", 0)
    with Progress(trial.key, trial.steps, "steps", done=before) as progress:
        for line in _added(log, lambda: store.result(trial.key) is not None):
            if line:
                print(f"  {line}", flush=True)
                continue
            shown = _told(store, trial.key, shown)
            if (figures := _figures(store, trial.key)) and figures["step"] > progress.done:
                progress.advance(figures["step"] - progress.done, f"loss {figures['loss']:.4f}")


def _figures(store: Store, key: str) -> dict[str, Any]:
    """What a running trial last told: step and loss. Empty when it does not run, or has told nothing yet."""
    figures = next((told for trial, _, told in store.running() if trial.key == key), {})
    return figures if {"step", "loss"} <= set(figures) else {}


def _sweep_log(store: Store, arguments: argparse.Namespace) -> int:
    log = store.open_log()
    lines = _tail(log, arguments.lines)
    if arguments.json:
        print(json.dumps({"lines": lines}))
        return 0
    print("\n".join(lines))
    if arguments.follow:
        with suppress(KeyboardInterrupt):
            for line in _added(log, lambda: store.closed and all(map(store.finished, store.queue()))):
                if line:
                    print(line, flush=True)
    return 0


def _told(store: Store, key: str, shown: int) -> int:
    """Say what is new of the attempts at a trial; how many sentences have been said."""
    told = []
    for attempt in store.attempts(key):
        told.append(f"attempt {attempt.number} on {attempt.host}, process {attempt.pid}")
        told += [f"attempt {attempt.number} ended: {attempt.ended}"] if attempt.ended else []
    for said in told[shown:]:
        print(plain(said), flush=True)
    return len(told)


def _tail(log: Log, count: int) -> list[str]:
    lines = log.new().splitlines()
    return [plain(line) for line in lines[-count:]] if count > 0 else []


def _added(log: Log, over: Callable[[], bool]) -> Iterator[str]:
    """Lines added to a log that was read before, and "" whenever nothing was added, until `over()` is true."""
    while True:
        last = over()  # before the look, so that nothing said until then is missed
        yield from map(plain, log.new().splitlines())
        yield ""
        if last:
            return
        time.sleep(FOLLOW)


def add_cancel(command: argparse.ArgumentParser) -> None:
    _folder(command)
    command.add_argument(
        "trials", nargs="*", metavar="TRIAL", help="keys, or first characters of keys (default: all unfinished trials)"
    )
    command.add_argument("--json", action="store_true", help="print what was cancelled as JSON")


def cancel(arguments: argparse.Namespace) -> int:
    store = existing(arguments.directory, arguments.store)
    keys = list(dict.fromkeys(store.find(prefix) for prefix in arguments.trials))
    for key in keys:
        if observation := store.result(key):
            raise ValueError(f"trial {key} has a result already ({observation.status}); nothing was cancelled")
    store.cancel(keys or [EVERYTHING])
    sentences = [f"cancelled: {key} {name(store.read_trial(key))}" for key in keys] or [
        "cancelled: all trials without a result"
    ]
    _log(store, sentences)
    if arguments.json:
        print(json.dumps({"cancelled": keys or EVERYTHING}))
        return 0
    print("\n".join(sentences))
    print(f"running trials stop within seconds; to re-queue them: sweep retry {arguments.directory} --cancelled")
    return 0


def add_retry(command: argparse.ArgumentParser) -> None:
    _folder(command)
    command.add_argument(
        "trials", nargs="*", metavar="TRIAL", help="keys, or first characters of keys, of trials without a loss"
    )
    command.add_argument(
        "--failed",
        action="store_true",
        help="re-queue failed trials: a running sweep retries them before it ends, a finished one when it is run again",
    )
    command.add_argument("--cancelled", action="store_true", help="re-queue all cancelled trials")
    command.add_argument("--json", action="store_true", help="print what was re-queued as JSON")


def retry(arguments: argparse.Namespace) -> int:
    store = existing(arguments.directory, arguments.store)
    if not (arguments.trials or arguments.failed or arguments.cancelled):
        raise ValueError("no trial is named; give --failed, --cancelled or keys of trials")
    cancelled = store.cancelled()
    named = list(dict.fromkeys(store.find(prefix) for prefix in arguments.trials))
    failed = [observation for observation in store.results() if arguments.failed and observation.status == "failed"]
    for key in named:
        observation = store.result(key)
        if observation is None and key not in cancelled and EVERYTHING not in cancelled:
            raise ValueError(f"trial {key} is neither failed nor cancelled; nothing was changed")
        if observation and observation.status == "done":
            raise ValueError(f"trial {key} is done, with a loss of {observation.loss}; nothing was changed")
        failed += [observation] if observation and observation not in failed else []
    again = sorted(cancelled) if arguments.cancelled else [key for key in named if key in cancelled]
    if EVERYTHING in cancelled and named and not arguments.cancelled:
        raise ValueError("all trials are cancelled; re-queue all of them with --cancelled, then cancel some")
    store.requeue(again)
    store.retry(failed)
    sentences = [f"re-queued: {result(observation)}" for observation in failed] + [f"re-queued: {key}" for key in again]
    _log(store, sentences)
    if arguments.json:
        ended = store.closed  # asked last: a sweep that is open now looks once more before it ends
        print(
            json.dumps({"retried": [observation.key for observation in failed], "wanted_again": again, "ended": ended})
        )
        return 0
    print("\n".join(map(plain, sentences)) or "nothing to re-queue")
    if sentences:
        print(f"next: sweep run {store.directory / 'sweep.toml'}, unless it is running")
    return 0


def _log(store: Store, sentences: list[str]) -> None:
    for said in sentences:
        store.log(said)


def add_export(command: argparse.ArgumentParser) -> None:
    _folder(command)
    kind = command.add_mutually_exclusive_group(required=True)
    kind.add_argument("--csv", type=Path, metavar="FILE", help="CSV file to write")
    kind.add_argument("--parquet", type=Path, metavar="FILE", help="Parquet file to write (needs the extra parquet)")
    command.add_argument("--force", action="store_true", help="replace an existing file")
    command.add_argument("--json", action="store_true", help="print what was written as JSON")


def export(arguments: argparse.Namespace) -> int:
    store = existing(arguments.directory, arguments.store)
    path = arguments.csv or arguments.parquet
    refuse_to_replace(path, arguments.force)
    known = by_key(store.exported()) | by_key(store.results())
    columns = (write_csv if arguments.csv else write_parquet)(path, list[Observation](known.values()))
    if arguments.json:
        print(json.dumps({"file": str(path), "rows": len(known), "columns": columns}))
    else:
        print(f"{path}  {len(known)} observations, {len(columns)} columns")
    return 0


def add_dashboard(command: argparse.ArgumentParser) -> None:
    _folder(command)
    command.add_argument(
        "--port", type=whole(0, 65535), default=8080, help="port on this machine (default: 8080; 0: any free port)"
    )
    command.add_argument("--no-browser", action="store_true", help="print the address, open no browser")


def dashboard(arguments: argparse.Namespace) -> int:
    from sweeps.commands.dashboard import serve

    store = existing(arguments.directory, arguments.store)
    with suppress(KeyboardInterrupt):
        serve(store, arguments.port, browse=not arguments.no_browser, say=lambda line: print(line, file=sys.stderr))
    return 0
