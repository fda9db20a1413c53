"""Rows of text pairs as files of every kind that the readers know."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

Rows = list[dict[str, str]]


def _jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _json(path: Path, rows: Rows) -> None:
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _csv(path: Path, rows: Rows) -> None:
    between = "\t" if path.suffix == ".tsv" else ","
    with open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0], delimiter=between)
        writer.writeheader()
        writer.writerows(rows)


def _parquet(path: Path, rows: Rows) -> None:
    import pandas

    pandas.DataFrame(rows).to_parquet(path)


# One of each entry in READERS: writes rows that all have the same columns.
WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
