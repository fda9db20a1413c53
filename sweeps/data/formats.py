"""Rows of files: JSONL, CSV, Parquet, packed or not. A row that cannot be read is the reason, in words.

A file is read as a stream: no more than a batch of its rows is in memory, whatever its size.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
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

    total: float = 0.0
    unit: str = ""
    done: Callable[[], float] = lambda: 0.0


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
            if not line.strip():
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
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file: {error}") from None


READERS: dict[str, Callable[[Path, Meter], Rows]] = {
    ".jsonl": _json_lines,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}


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
