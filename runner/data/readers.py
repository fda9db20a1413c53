"""Reading text pairs: JSONL, CSV, Parquet, Hugging Face data sets, `python-env`. Bad records are counted and named.

A source is read as a stream: no more than a batch of its records is in memory, whatever its size (`python-env` aside,
which is as large as the Python source of one machine).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from runner.data import python_env
from sweeps.machine.measured import cache_folder
from sweeps.support.atomic import replacing, write_text
from sweeps.support.progress import Progress
from sweeps.trial import MIXED, parts_of

HELD_OUT_SHARE = 20  # one group in twenty
BAD_SHARE = 0.01  # more bad records than this stop the run
NAMED_PROBLEMS = 5
ROWS_AT_ONCE = 4096  # of the columnar formats
RULES = 2  # counts up when the same records give other pairs, so that no count kept earlier is believed

Row = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """Texts that belong together."""

    query: str
    """What is looked for."""
    positive: str
    """The document that answers it."""
    negatives: tuple[str, ...] = ()
    """Hard negatives: documents that do not, however near they seem."""
    group: str = ""
    """Pairs of one group are never each other's negatives, and lie on one side of the split."""
    held_out: bool = False
    """Whether it is kept from training, for the held-out loss."""
    source: int = 0
    """Its place among the sources that are trained on together."""


@dataclass
class Problems:
    """Records that could not be used: how many of how many, and the first few by place and reason."""

    records: int = 0
    bad: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, place: str, reason: str) -> None:
        self.bad += 1
        if len(self.named) < NAMED_PROBLEMS:
            self.named.append(f"{place}: {reason}")

    def check(self, source: str) -> None:
        """Raises ValueError when more than BAD_SHARE of the records, or all of them, are bad."""
        if self.records == self.bad or self.bad > BAD_SHARE * self.records:
            raise ValueError(
                f"{source}: {self.bad} of {self.records} records are bad, more than {BAD_SHARE:.0%}; "
                f"the first: {'; '.join(self.named) or 'none, the file is empty'}"
            )


@dataclass
class Meter:
    """How much of a source has been read: done() of `total`, in `unit`."""

    total: float = 0.0
    unit: str = ""
    done: Callable[[], float] = lambda: 0.0


Rows = Iterator[tuple[int, Row | str]]  # (number, row); a row that cannot be read is the reason, as text


@dataclass(frozen=True)
class Source:
    """Pairs that can be read again and again, the same in the same order while none of `files` changes."""

    name: str
    files: tuple[Path, ...]
    read: Callable[[Problems, Meter], Iterator[Pair]]

    def pairs(self, problems: Problems | None = None, meter: Meter | None = None) -> Iterator[Pair]:
        """Yields the good pairs in order; `problems` counts the others, and too many of them are a ValueError at the
        end."""
        problems = problems or Problems()
        yield from self.read(problems, meter or Meter())
        problems.check(self.name)


def open_source(name: str) -> Source:
    """Returns the source that a sweep file calls `name`. Raises ValueError when there is no such thing."""
    if name in python_env.TASKS:
        return _python_env(name)
    if MIXED in name:
        return _together(name)
    if name.startswith("hf:"):
        return _hub(name)
    path = Path(name)
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix not in READERS:
        known = ", ".join([*python_env.TASKS, "hf:owner/name"])
        raise ValueError(f"data is {name!r}; known: {known}, files ending in {', '.join(READERS)}")
    if not path.is_file():
        raise ValueError(f"data is {name!r}; there is no such file")
    return Source(name, (path,), lambda problems, meter: _pairs(READERS[suffix](path, meter), str(path), problems))


def _together(name: str) -> Source:
    """Returns one source of several, one after the other; a group of one is no group of another."""
    parts = [open_source(part) for part, _ in parts_of(name)]

    def read(problems: Problems, meter: Meter) -> Iterator[Pair]:
        for place, part in enumerate(parts):
            for pair in part.read(problems, meter):
                yield replace(pair, group=f"{place}:{pair.group}", source=place)

    files = tuple(file for part in parts for file in part.files) if all(part.files for part in parts) else ()
    return Source(name, files, read)


def read_pairs(name: str) -> tuple[list[Pair], Problems]:
    """Returns all good pairs of a source, and the bad records. Raises ValueError when there are too many of those."""
    problems = Problems()
    return list(open_source(name).pairs(problems)), problems


def data_hash(pairs: Iterable[Pair]) -> str:
    """Returns the identity of the data: a hash over every pair in order."""
    digest = DataHash()
    for pair in pairs:
        digest.add(pair)
    return digest.name


class DataHash:
    """The hash of a stream of pairs."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, pair: Pair) -> None:
        content: list[Any] = [pair.query, pair.positive, pair.negatives, pair.group, pair.held_out]
        content += [pair.source] if pair.source else []
        self._digest.update(json.dumps(content).encode() + b"\n")

    @property
    def name(self) -> str:
        return self._digest.hexdigest()[:16]


@dataclass(frozen=True)
class Survey:
    """What one reading of a source found. problems: as the fields of Problems."""

    data_hash: str
    pairs: int
    problems: dict[str, Any]


def survey(source: Source) -> Survey:
    """Read a source once, or recall what reading it found while its files stay as they were.

    Raises ValueError when too many records are bad.
    """
    kept = cache_folder() / f"read-{_state(source)}.json"
    if source.files and kept.exists():
        return Survey(**json.loads(kept.read_text(encoding="utf-8")))
    problems, meter, digest, count = Problems(), Meter(), DataHash(), 0
    with Progress("reading", 0) as progress:
        for count, pair in enumerate(source.pairs(problems, meter), 1):
            digest.add(pair)
            if count % ROWS_AT_ONCE == 0 and meter.total:
                progress.total, progress.unit = meter.total, meter.unit
                progress.advance(meter.done() - progress.done)
    known = Survey(digest.name, count, asdict(problems))
    if source.files:
        write_text(kept, json.dumps(asdict(known)))
    return known


def _state(source: Source) -> str:
    """Returns what changes when a file of `source` does: no change of its content leaves all of these as they were."""
    stats = [(str(path.resolve()), path.stat()) for path in source.files]
    states = [(path, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for path, s in stats]
    return hashlib.sha256(json.dumps([RULES, source.name, states]).encode()).hexdigest()[:16]


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
                yield reader.line_num, dict(row) if python_env.is_unicode(whole) else "not UTF-8"
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


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yields the rows of a JSONL, CSV or Parquet file, each with its place. Raises ValueError naming what cannot be
    read."""
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix not in READERS:
        raise ValueError(f"{path}: unknown kind of file; known endings: {', '.join(READERS)}, and .gz behind them")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    for number, row in READERS[suffix](path, Meter()):
        if isinstance(row, str):
            raise ValueError(f"{path}:{number}: {row}")
        yield f"{path}:{number}", row


def _hub(name: str) -> Source:
    try:
        import datasets
    except ImportError:
        raise ValueError(f"data is {name!r}; that needs datasets; install recipe-planner[hub]") from None
    table = datasets.load_dataset(name.removeprefix("hf:"), split="train", trust_remote_code=False)
    files = tuple(Path(file["filename"]) for file in table.cache_files)
    return Source(name, files, lambda problems, meter: _pairs(_hub_rows(table, meter), name, problems))


def _hub_rows(table: Any, meter: Meter) -> Rows:
    number = 0
    meter.total, meter.unit, meter.done = len(table), "rows", lambda: number
    for batch in table.iter(ROWS_AT_ONCE):
        for values in zip(*batch.values(), strict=True):
            number += 1
            yield number, dict(zip(batch, values, strict=True))


def _pairs(rows: Rows, place: str, problems: Problems) -> Iterator[Pair]:
    for number, row in rows:
        problems.records += 1
        pair = row if isinstance(row, str) else _pair(row)
        if isinstance(pair, str):
            problems.add(f"{place}:{number}", pair)
        else:
            yield pair


def _pair(row: Row) -> Pair | str:
    """Returns the pair in a row, or what is wrong with it."""
    for column in ("query", "positive"):
        if column not in row:
            return f"no {column!r}"
        if not isinstance(row[column], str) or not row[column].strip():
            return f"{column!r} is empty or not text"
    negatives = row.get("negatives", row.get("negative")) or ()
    if not isinstance(negatives, str | list | tuple):
        return "negatives are not a list of texts"
    negatives = (negatives,) if isinstance(negatives, str) else tuple(negatives)
    if not all(isinstance(text, str) and text.strip() for text in negatives):
        return "a negative is empty or not text"
    if not python_env.is_unicode("".join([row["query"], row["positive"], *negatives])):
        return "has half of a surrogate pair"
    group = str(row["group"]) if row.get("group") not in (None, "") else row["query"]
    held_out = row.get("held_out")
    if not isinstance(held_out, bool):
        held_out = hashlib.sha256(group.encode("utf-8", "replace")).digest()[0] % HELD_OUT_SHARE == 0
    return Pair(row["query"], row["positive"], negatives, group, held_out)


def _python_env(task: str) -> Source:
    files = python_env.source_files()
    digest = hashlib.sha256()
    for file in files:
        stat = file.path.stat() if file.path.exists() else None
        digest.update(f"{file.key} {stat.st_size if stat else 0} {stat.st_mtime_ns if stat else 0}\n".encode())
    kept = cache_folder() / f"{task}-{digest.hexdigest()[:16]}.json.gz"
    if not kept.exists():
        mined, unread = python_env.mine_pairs(files, task)
        with replacing(kept) as temporary, gzip.open(temporary, "wt", encoding="utf-8", compresslevel=3) as out:
            json.dump({"pairs": mined, "unread": unread}, out)
    return Source(task, (kept,), lambda problems, _: _mined_pairs(kept, len(files), problems))


def _mined_pairs(kept: Path, files: int, problems: Problems) -> Iterator[Pair]:
    with gzip.open(kept, "rt", encoding="utf-8") as file:
        content = json.load(file)
    problems.records = files
    for key in content["unread"]:
        problems.add(key, "cannot be read or parsed")
    for pair in content["pairs"]:
        yield Pair(pair["query"], pair["positive"], (), pair["query"], pair["held_out"])
