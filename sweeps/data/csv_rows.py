"""Rows of CSV files as people and programs write them: with commas, semicolons or tabs, quotes that match or do not."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sweeps.data.files import Meter, Rows, ending, is_unicode, opened
from sweeps.support.json_io import MOST_LINE

DELIMITERS = {".csv": ",;\t", ".tsv": "\t,;"}  # ending -> what stands between cells, the likeliest first
LONGEST = 2**24  # characters of a record; a quote that has not been closed by then is not meant to be


def csv_rows(path: Path, meter: Meter) -> Rows:
    """The rows of a CSV or TSV file, each with the number of the line that it begins in; the first names the columns.

    A row whose quotes do not match, or whose cells are not as many as the columns, is a bad one alone: what follows is
    read as if it were not there.
    """
    csv.field_size_limit(2**31 - 1)  # documents may be longer than the default of 128 KiB
    with opened(path, meter) as file:
        lines = _Lines(path, _text(file))
        between = _delimiter(path, lines.peek())
        columns: list[str] = []
        for number, cells in _records(lines, between):
            if not columns:
                columns = _columns(path, cells)
            elif (isinstance(cells, str) or any(cells)) and meter.wants():
                yield number, cells if isinstance(cells, str) else _row(columns, cells)


def delimiter(path: Path) -> str:
    """What stands between the cells of a CSV or TSV file: what its first line holds."""
    with opened(path, Meter()) as file:
        return _delimiter(path, _Lines(path, _text(file)).peek())


def _delimiter(path: Path, first: str) -> str:
    known = DELIMITERS[ending(path)]
    return next((each for each in known if each in first), known[0])


def _text(file: Any) -> io.TextIOWrapper:
    start = file.peek(2**12)
    newline = "\r" if b"\r" in start and b"\n" not in start else "\n"  # a lone \r is a mistake where lines end in \n
    return io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline)


def _columns(path: Path, cells: list[str] | str) -> list[str]:
    if isinstance(cells, str):
        raise ValueError(f"{path}:1: {cells}")
    names = [cell.strip() for cell in cells]
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise ValueError(f"{path}: its first line names the column {twice[0]!r} twice")
    return names


def _row(columns: list[str], cells: list[str]) -> dict[str, Any] | str:
    if len(cells) != len(columns):
        return f"{len(cells)} cells, the first line has {len(columns)}"
    return dict(zip(columns, cells, strict=True)) if is_unicode("".join(cells)) else "not UTF-8"


class _Lines:
    """The lines of a file. Those of the record under way are kept, so that all but its first can be read again."""

    def __init__(self, path: Path, text: io.TextIOWrapper) -> None:
        self.path, self.again = path, deque[str]()
        self.lines = iter(partial(text.readline, MOST_LINE), "")
        self.number = 0
        self.record: list[str] = []
        self.length = 0

    def peek(self) -> str:
        """The next line; "" where there is none."""
        if not self.again:
            self.again.extend([line for _, line in zip(range(1), self.lines, strict=False)])
        return self.again[0] if self.again else ""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.lines)
        self.number += 1
        self.record.append(line)
        self.length += len(line)
        if len(line) == MOST_LINE:
            raise ValueError(f"{self.path}:{self.number}: has {MOST_LINE:,} characters or more in one line")
        if self.length > LONGEST and len(self.record) > 1:
            raise csv.Error("too long")
        return line

    def begin(self) -> int:
        """Begin a record with the next line, whose number it returns."""
        self.record.clear()
        self.length = 0
        return self.number + 1

    def go_back(self) -> None:
        """Have the lines of the record but its first be read again."""
        self.again.extendleft(reversed(self.record[1:]))
        self.number -= len(self.record) - 1


def _records(lines: _Lines, between: str) -> Iterator[tuple[int, list[str] | str]]:
    """Number of the first line, and the cells of every record, or what is wrong with it."""
    reader = csv.reader(lines, delimiter=between, strict=True)
    while True:
        number = lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, _reason(str(error))
            lines.go_back()
            reader = csv.reader(lines, delimiter=between, strict=True)
        else:
            yield number, cells


def _reason(error: str) -> str:
    if "new-line character" in error:
        return "a line break in a cell without quotes"
    if "NUL" in error:
        return "holds a NUL"
    return "unmatched quotes: one is not closed, or one within a cell is not doubled"
