"""Reading text pairs: JSONL, CSV, Parquet, Hugging Face data sets, `python-env`. Bad records are counted and named."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import python_env

HELD_OUT_SHARE = 20  # one group in twenty
BAD_SHARE = 0.01  # more bad records than this stop the run
NAMED_PROBLEMS = 5

Row = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """A query, its document, optional hard negatives. Pairs of one group are never each other's negatives."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    group: str = ""
    held_out: bool = False


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


def read_pairs(source: str) -> tuple[list[Pair], Problems]:
    """All good pairs of `source`, and the bad records. Raises ValueError when there are too many of those."""
    if source == "python-env":
        return _python_env_pairs()
    problems = Problems()
    pairs = []
    for place, row in _rows(source):
        problems.records += 1
        pair = row if isinstance(row, str) else _pair(row)
        if isinstance(pair, str):
            problems.add(place, pair)
        else:
            pairs.append(pair)
    problems.check(source)
    return pairs, problems


def data_hash(pairs: Iterable[Pair]) -> str:
    """Identity of the data: a hash over every pair in order."""
    digest = hashlib.sha256()
    for pair in pairs:
        content = [pair.query, pair.positive, pair.negatives, pair.group, pair.held_out]
        digest.update(json.dumps(content).encode() + b"\n")
    return digest.hexdigest()[:16]


def _rows(source: str) -> Iterator[tuple[str, Row | str]]:
    """(place, row) of every record; a row that cannot be read is the reason, as text."""
    if source.startswith("hf:"):
        yield from _hub_rows(source.removeprefix("hf:"))
        return
    path = Path(source)
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix not in READERS:
        raise ValueError(f"data is {source!r}; known: python-env, hf:owner/name, files ending in {', '.join(READERS)}")
    if not path.is_file():
        raise ValueError(f"data is {source!r}; there is no such file")
    for number, row in READERS[suffix](path):
        yield f"{path}:{number}", row


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


def _json_lines(path: Path) -> Iterator[tuple[int, Row | str]]:
    with _open(path) as file:
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


def _csv_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    with _open(path) as file:
        reader = csv.DictReader(line.decode("utf-8", "surrogateescape") for line in file)
        for row in reader:
            whole = "".join(value for value in row.values() if isinstance(value, str))
            broken = any("\udc80" <= char <= "\udcff" for char in whole)
            yield reader.line_num, "not UTF-8" if broken else dict(row)


def _parquet_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise ValueError(f"{path}: reading Parquet needs pyarrow; install recipe-planner[parquet]") from None
    number = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file: {error}") from None


def _hub_rows(name: str) -> Iterator[tuple[str, Row | str]]:
    try:
        import datasets
    except ImportError:
        raise ValueError(f"data is 'hf:{name}'; that needs datasets; install recipe-planner[hub]") from None
    for number, row in enumerate(datasets.load_dataset(name, split="train", trust_remote_code=False), 1):
        yield f"hf:{name}:{number}", row


READERS: dict[str, Callable[[Path], Iterator[tuple[int, Row | str]]]] = {
    ".jsonl": _json_lines,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}


def _pair(row: Row) -> Pair | str:
    """The pair in a row, or what is wrong with it."""
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
    digest = hashlib.sha256(group.encode("utf-8", "replace")).digest()
    return Pair(row["query"], row["positive"], negatives, group, digest[0] % HELD_OUT_SHARE == 0)


def cache_folder() -> Path:
    """Where mined pairs and token files are kept: $RECIPE_PLANNER_CACHE, else ~/.cache/recipe-planner."""
    named = os.environ.get("RECIPE_PLANNER_CACHE")
    folder = Path(named) if named else Path.home() / ".cache" / "recipe-planner"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _python_env_pairs() -> tuple[list[Pair], Problems]:
    files = python_env.source_files()
    digest = hashlib.sha256()
    for file in files:
        stat = file.path.stat() if file.path.exists() else None
        digest.update(f"{file.key} {stat.st_size if stat else 0} {stat.st_mtime_ns if stat else 0}\n".encode())
    kept = cache_folder() / f"python-env-{digest.hexdigest()[:16]}.json.gz"
    if not kept.exists():
        mined, unread = python_env.mine_pairs(files)
        temporary = kept.with_name(f".{kept.name}.{os.getpid()}")
        with gzip.open(temporary, "wt", encoding="utf-8", compresslevel=3) as out:
            json.dump({"pairs": mined, "unread": unread}, out)
        os.replace(temporary, kept)
    with gzip.open(kept, "rt", encoding="utf-8") as file:
        content = json.load(file)
    problems = Problems(len(files), len(content["unread"]))
    problems.named = [f"{key}: cannot be read or parsed" for key in content["unread"][:NAMED_PROBLEMS]]
    problems.check("python-env")
    pairs = [Pair(p["query"], p["positive"], (), p["query"], p["held_out"]) for p in content["pairs"]]
    return pairs, problems
