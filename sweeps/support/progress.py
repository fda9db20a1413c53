"""How far something is and the time it still takes: a live bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TextIO

WIDTH = 24  # characters of a bar
EVERY = 10.0  # s between lines when nobody watches a terminal
BAR_EVERY = 8.0  # s until a bar of what is counted: it says more than a waiting line, and comes first
SILENCE = 5.0  # s without a line after which that which is under way is named
REDRAW = 0.2  # s


@dataclass
class _Wait:
    """Something that is under way."""

    what: str
    in_logs: bool
    begun: float = field(default_factory=time.monotonic)


@dataclass
class _Said:
    """What this process last said of its progress."""

    at: float = field(default_factory=time.monotonic)
    """When that was; at first, when the process or its present command began."""
    counting: int = 0
    """Bars that are shown: what they count need not be named as well."""
    waits: list[_Wait] = field(default_factory=list)
    """What is under way, the innermost last."""
    in_place: bool = False
    """Whether the terminal's last line is that of a wait."""


_said = _Said()


def command_begins() -> None:
    """Silence counts from now: what this process did before its present command kept nobody waiting."""
    _said.at = time.monotonic()


def duration(seconds: float) -> str:
    """`seconds` as people say it: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def bar(share: float, width: int = WIDTH) -> str:
    """A bar of `width` characters, filled to `share`, from 0 to 1."""
    full = round(min(1.0, max(0.0, share)) * width)
    return "━" * full + "╌" * (width - full)


@dataclass
class Progress:
    """Counts towards `total` on stderr, so that stdout stays fit for programs.

    Use as a context manager; `advance` after every piece of work. `unit` names what is counted.
    """

    title: str
    total: float
    unit: str = ""
    every: float = BAR_EVERY
    done: float = 0.0
    _start: float = field(default_factory=time.monotonic)
    _first: float | None = None

    def __enter__(self) -> Progress:
        self._live = sys.stderr.isatty()
        _said.counting += 1
        return self

    def __exit__(self, *_: object) -> None:
        _said.counting -= 1
        if self._live and self.done:
            self._show(end="\n")

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Report `amount` more of the work done; `note` is the current figure worth seeing."""
        if self._first is None:
            self._first = self.done  # a resumed run starts part way: its speed is that of the rest
        self.done += amount
        if time.monotonic() - _said.at >= (REDRAW if self._live else self.every):
            self._show(note)

    def _show(self, note: str = "", end: str | None = None) -> None:
        _said.at = time.monotonic()
        elapsed = _said.at - self._start
        gained = self.done - (self._first or 0)
        parts = [f"{self.done:,.0f} of {self.total:,.0f} {self.unit}".rstrip()]
        parts += [f"{100 * self.done / self.total:.0f} %"] if self.total else []
        parts += [duration(elapsed)]
        parts += [f"{duration(elapsed * max(0.0, self.total - self.done) / gained)} left"] if gained > 0 else []
        line = f"{self.title}: {', '.join([*parts, *filter(None, [note])])}"
        if self._live:
            print(f"\r\x1b[K{bar(self.done / (self.total or 1))} {line}", end=end or "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def waiting(what: str, quiet: bool = False, in_logs: bool = False) -> Iterator[None]:
    """Inside, say that `what` is under way and for how long: for work of which no part can be counted.

    On a terminal at once, and gone when it is done; elsewhere a line once nothing was said for SILENCE seconds, and
    again after every EVERY of silence. Of waits inside waits the innermost is named; a bar that is counted inside takes
    its place. quiet: nothing is said. in_logs: nothing is said on a terminal.
    """
    if quiet:
        yield
        return
    wait = _Wait(what, in_logs)
    _said.waits.append(wait)
    over = Event() if len(_said.waits) == 1 else None
    thread = Thread(target=_say_how_long, args=(over, sys.stderr), daemon=True) if over else None  # may be silenced
    if thread:
        thread.start()
    try:
        yield
    finally:
        _said.waits.remove(wait)
        if over and thread:
            over.set()
            thread.join()
        _clear(sys.stderr)


def _say_how_long(over: Event, stream: TextIO) -> None:
    live, silence = stream.isatty(), SILENCE
    while not over.wait(REDRAW if live else max(0.01, _said.at + silence - time.monotonic())):
        if (live and _said.counting) or (not live and time.monotonic() < _said.at + silence):
            continue  # a bar tells more
        wait = _said.waits[-1] if _said.waits else None
        if wait is None or (live and wait.in_logs):
            continue
        _said.at, silence = time.monotonic(), EVERY
        took = _said.at - wait.begun
        text = f"{wait.what} ..." + (f" {duration(took)}" if took >= 1 else "")
        print(f"\r\x1b[K{text}" if live else text, end="" if live else "\n", file=stream, flush=True)
        _said.in_place = live


def _clear(stream: TextIO) -> None:
    """Take away the line of a wait that is over, so that the next text begins on a free one."""
    if _said.in_place and not _said.counting:
        print("\r\x1b[K", end="", file=stream, flush=True)
        _said.in_place = False
