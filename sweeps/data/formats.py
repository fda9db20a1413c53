"""Rows of files of every kind, packed or not, and of folders of such files. A row that cannot be read is the reason.

A file is read as a stream: no more than a batch of its rows is in memory, whatever its size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from sweeps.data.csv_rows import csv_rows
from sweeps.data.files import PACKED, Meter, Row, Rows, ending
from sweeps.data.json_rows import json_rows

ROWS_AT_ONCE = 4096  # of the columnar formats
SPLIT = re.compile(r"(?i)(train|test|validation|valid|val|dev)(?![a-z])")  # at the start of the name of a shard


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
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
    ".parquet": _parquet_rows,
}


def known_endings() -> str:
    """The endings of files that can be read, for an error."""
    return f"{', '.join(READERS)}, and {PACKED} behind them"


def rows_of(path: Path, meter: Meter) -> Rows:
    """The rows of a file by its ending."""
    return READERS[ending(path)](path, meter)


def shards(folder: Path, split: str = "") -> tuple[Path, ...]:
    """The files of a folder that are parts of one table, in the order of their names.

    split: of files that begin with train, test and the like only those. Raises ValueError where there are none, where
    they are of several kinds or of several splits.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and ending(path) in READERS)
    if not files:
        raise ValueError(f"{folder}: no readable file in this folder; known extensions: {known_endings()}")
    found = {path: match[1].lower() if (match := SPLIT.match(path.name)) else "" for path in files}
    splits = list(dict.fromkeys(found.values()))
    if split and split not in splits:
        known = ", ".join(filter(None, splits)) or "none"
        raise ValueError(f"{folder}: has no files of the split {split!r}; splits there: {known}")
    if not split and len(splits) > 1:
        names = ", ".join(name or "others" for name in splits)
        raise ValueError(f"{folder}: holds several splits, {names}; name one: {folder}#{next(filter(None, splits))}")
    chosen = [path for path in files if not split or found[path] == split]
    if len(kinds := {ending(path) for path in chosen}) > 1:
        raise ValueError(f"{folder}: holds files of several kinds, {', '.join(sorted(kinds))}; name one of them")
    return tuple(chosen)


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yields the rows of a file, each with its place. Raises ValueError naming what cannot be read."""
    if ending(path) not in READERS:
        raise ValueError(f"{path}: unknown kind of file; known extensions: {known_endings()}")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    for number, row in rows_of(path, Meter()):
        if isinstance(row, str):
            raise ValueError(f"{path}:{number}: {row}")
        yield f"{path}:{number}", row
