"""Rows of files: JSONL, CSV, Parquet, packed or not. A row that cannot be read is the reason, in words.

A file is read as a stream: no more than a batch of its rows is in memory, whatever its size.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

ROWS_AT_ONCE = 4096  # of the columnar formats

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row | str]]  # (number, row); a row that cannot be read is the reason, as text


@dataclass
class Meter:
    """How much of a source has been read: done() of `total`, in `unit`."""

    every: int = 1
    """Of so many rows one is read; the others are counted."""
    rows: int = 0
    """Rows so far, with those that are only counted."""
    total: float = 0.0
    unit: str = ""
    done: Callable[[], float] = lambda: 0.0

    def wants(self) -> bool:
        """Count a row, and tell whether it is to be read."""
        self.rows += 1
        return self.rows % self.every == 1 % self.every


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: an escape in a file may leave half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _open(path: Path, meter: Meter) -> Iterator[BinaryIO | gzip.GzipFile]:
    with open(path, "rb") as raw:
        # What is counted is the file's own bytes, packed or not: their sum is known.
        meter.total, meter.unit, meter.done = path.stat().st_size / 1e6, "MB", lambda: raw.tell() / 1e6
        try:
            if path.suffix != ".gz":
                yield raw
                return
            with gzip.open(raw) as file:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: damaged: {error}") from None


def _json_lines(path: Path, meter: Meter) -> Rows:
    with _open(path, meter) as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or not meter.wants():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError:
                yield number, "not UTF-8"
            except json.JSONDecodeError as error:
                yield number, f"not JSON ({error.msg})"
            else:
                yield number, row if isinstance(row, dict) else f"a {type(row).__name__}, not an object"


def _csv_rows(path: Path, meter: Meter) -> Rows:
    csv.field_size_limit(2**31 - 1)  # documents may be longer than the default of 128 KiB
    with _open(path, meter) as file:
        reader = csv.DictReader(line.decode("utf-8", "surrogateescape") for line in file)
        try:
            for row in reader:
                if not meter.wants():
                    continue
                whole = "".join(value for value in row.values() if isinstance(value, str))
                yield reader.line_num, dict(row) if is_unicode(whole) else "not UTF-8"
        except csv.Error as error:
            raise ValueError(f"{path}: not CSV after line {reader.line_num}: {error}") from None


def _parquet_rows(path: Path, meter: Meter) -> Rows:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise ValueError(f"{path}: reading Parquet needs pyarrow; install recipe-planner[parquet]") from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            meter.total, meter.unit, meter.done = file.metadata.num_rows, "rows", lambda: number
            for batch in file.iter_batches(ROWS_AT_ONCE):
                wanted = [place for place in range(batch.num_rows) if meter.wants()]
                for place, row in zip(wanted, batch.take(wanted).to_pylist(), strict=True):
                    yield number + place + 1, row
                number += batch.num_rows
    except ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file: {error}") from None


READERS: dict[str, Callable[[Path, Meter], Rows]] = {
    ".jsonl": _json_lines,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}


def states(files: Iterable[Path]) -> list[list[Any]]:
    """What changes when a file does, for each: no change of its content leaves all of it as it was."""
    stats = [(str(path.resolve()), path.stat() if path.exists() else None) for path in files]
    return [[path, *((s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) if s else ())] for path, s in stats]


def ending(path: Path) -> str:
    """What tells the format of a file: its last ending that is not .gz."""
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yields the rows of a JSONL, CSV or Parquet file, each with its place. Raises ValueError naming what cannot be
    read."""
    if ending(path) not in READERS:
        raise ValueError(f"{path}: unknown kind of file; known endings: {', '.join(READERS)}, and .gz behind them")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    for number, row in READERS[ending(path)](path, Meter()):
        if isinstance(row, str):
            raise ValueError(f"{path}:{number}: {row}")
        yield f"{path}:{number}", row
