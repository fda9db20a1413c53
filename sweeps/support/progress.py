"""Progress with an ETA: a live bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field


def duration(seconds: float) -> str:
    """`seconds` as people say it: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@dataclass
class Progress:
    """Counts towards `total` on stderr, so that stdout stays fit for programs.

    Use as a context manager; `advance` after every piece of work. `unit` names what is counted.
    """

    title: str
    total: float
    unit: str = ""
    every: float = 10.0  # seconds between lines when stderr is not a terminal
    done: float = 0.0
    _start: float = field(default_factory=time.monotonic)
    _last: float = field(default_factory=time.monotonic)
    _first: float | None = None

    def __enter__(self) -> Progress:
        self._live = sys.stderr.isatty()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live and self.done:
            self._show(end="\n")

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Report `amount` more of the work done; `note` is the current figure worth seeing."""
        if self._first is None:
            self._first = self.done  # a resumed run starts part way: its speed is that of the rest
        self.done += amount
        now = time.monotonic()
        if now - self._last >= (0.2 if self._live else self.every):
            self._last = now
            self._show(note)

    def _show(self, note: str = "", end: str | None = None) -> None:
        elapsed = time.monotonic() - self._start
        gained = self.done - (self._first or 0)
        eta = duration(elapsed * (self.total - self.done) / gained) if gained > 0 else "?"
        share = f"{100 * self.done / self.total:3.0f}%" if self.total else ""
        counts = f"{share} {self.done:,.0f}/{self.total:,.0f} {self.unit}"
        line = f"{self.title} {counts}  {duration(elapsed)}, ETA {eta}  {note}"
        if self._live:
            print(f"\r\x1b[K{line}", end=end or "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
