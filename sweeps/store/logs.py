"""A log that grows: read once, its end; read again, what was added since."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

from sweeps.support.json_io import MOST_END, open_file


class Log(ABC):
    """A log that one reader follows."""

    @abstractmethod
    def new(self) -> str:
        """What was added since the last call; of a log not read before, its last 2 MB. "" where nothing was."""


@final
class FileLog(Log):
    """A log in one file, whole lines of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at: int | None = None
        self._rest = b""

    def new(self) -> str:
        if not self.path.exists() and not self.path.is_symlink():
            self._at = self._at or 0
            return ""
        with open_file(self.path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MOST_END) if self._at is None else self._at)
            added, first = self._rest + file.read(MOST_END), self._at is None
            self._at = file.tell()
        whole, newline, self._rest = (added, b"", b"") if first else added.rpartition(b"\n")
        return (whole + newline).decode("utf-8", errors="replace")


@final
class PieceLog(Log):
    """A log in pieces, as several machines leave them.

    pieces: names and texts of those that are not among the names it is given, which are all that it gave before.
    """

    def __init__(self, pieces: Callable[[Sequence[str]], list[tuple[str, str]]]) -> None:
        self._pieces = pieces
        self._known: list[str] = []

    def new(self) -> str:
        pieces = self._pieces(self._known)
        self._known += [name for name, _ in pieces]
        return "".join(text for _, text in pieces)
