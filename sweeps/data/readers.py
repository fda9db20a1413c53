"""Sources of text pairs by name: files, Hugging Face data sets, `python-env`. Bad records are counted and named.

A source is read as a stream: no more than a batch of its records is in memory, whatever its size (`python-env` aside,
which is as large as the Python source of one machine).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sweeps.data import python_env
from sweeps.data.cache import keep_json, kept_json, recalled
from sweeps.data.columns import Mapped, mapping_of
from sweeps.data.files import Meter, Row, ending, states
from sweeps.data.formats import READERS, ROWS_AT_ONCE, known_endings, rows_of, shards
from sweeps.data.pair import DataHash, Pair, Problems, pairs_of
from sweeps.machine.measured import cache_folder
from sweeps.support.atomic import replacing
from sweeps.support.checks import from_table, require, strings, tables
from sweeps.support.json_io import open_file, parse_json
from sweeps.support.paths import located
from sweeps.support.progress import Progress
from sweeps.trial import MIXED, parts_of

RULES = 3  # counts up when the same records give other pairs, so that no count kept earlier is believed
OFFLINE = "HF_HUB_OFFLINE"

PlacedRows = Iterator[tuple[str, Row | str]]  # (place, row); a row that cannot be read is the reason, as text


@dataclass(frozen=True)
class Source:
    """Pairs that can be read again and again, the same in the same order while none of `files` changes."""

    name: str
    """As a sweep file calls it."""
    files: tuple[Path, ...]
    """What is read."""
    read: Callable[[Problems, Meter], Iterator[Pair]]
    """The good pairs in order; counts the other records."""
    watched: tuple[Path, ...] = ()
    """Folders in which files may appear or go that make it another source."""

    def pairs(self, problems: Problems | None = None, meter: Meter | None = None) -> Iterator[Pair]:
        """Yields the good pairs in order; `problems` counts the others, and too many of them are a ValueError at the
        end."""
        problems = problems or Problems()
        yield from self.read(problems, meter or Meter())
        problems.check(self.name)


def open_source(name: str, offline: bool = False) -> Source:
    """Returns the source that a sweep file calls `name`; offline: nothing is fetched for it.

    Raises ValueError when there is no such thing.
    """
    if name in python_env.TASKS:
        return _python_env(name)
    if MIXED in name:
        return _together(name, offline)
    plain, mapped = (name, ()) if located(name).exists() else mapping_of(name)
    if plain.startswith("hf:"):
        return _hub(name, plain, mapped, offline)
    files, watched = _files(plain)
    return Source(name, files, lambda problems, meter: _pairs(_file_rows(files, meter), mapped, problems), watched)


def _files(name: str) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The files of a source, and the folder that they are all of. Raises ValueError where it is neither."""
    path = located(name)
    if not path.exists() and "#" in name:
        folder, _, split = name.rpartition("#")
        if located(folder).is_dir():
            return shards(located(folder), split), (located(folder),)
    if path.is_dir():
        return shards(path), (path,)
    if ending(path) not in READERS:
        known = ", ".join([*python_env.TASKS, "hf:owner/name"])
        raise ValueError(f"`data` is {name!r}; known: {known}, folders, files with the extensions {known_endings()}")
    if not path.is_file():
        raise ValueError(f"`data` is {name!r}; there is no such file")
    return (path,), ()


def _file_rows(files: tuple[Path, ...], meter: Meter) -> PlacedRows:
    """The rows of one file, or of the parts of a table one after another, each with its place."""
    for place, file in enumerate(files):
        if len(files) == 1:
            yield from ((f"{file}:{number}", row) for number, row in rows_of(file, meter))
            return
        meter.total, meter.unit, meter.done = len(files), "files", partial(int, place)
        part = Meter(meter.every)
        for number, row in rows_of(file, part):
            yield f"{file}:{number}", row
        meter.rows += part.rows


def _together(name: str, offline: bool) -> Source:
    """Returns one source of several, one after the other; a group of one is no group of another."""
    parts = [open_source(part, offline) for part, _ in parts_of(name)]

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
    if source.files and (found := recalled(kept, _survey)):
        return found
    problems, meter, digest, count = Problems(), Meter(), DataHash(), 0
    with Progress("reading", 0) as progress:
        for count, pair in enumerate(source.pairs(problems, meter), 1):
            digest.add(pair)
            if count % ROWS_AT_ONCE == 0 and meter.total:
                progress.total, progress.unit = meter.total, meter.unit
                progress.advance(meter.done() - progress.done)
    known = Survey(digest.name, count, asdict(problems))
    if source.files:
        keep_json(kept, asdict(known))
    return known


def _survey(path: Path) -> Survey:
    survey: Survey = from_table(Survey, kept_json(path), "it")
    return survey


def _state(source: Source) -> str:
    return hashlib.sha256(json.dumps([RULES, source.name, states(source.files)]).encode()).hexdigest()[:16]


def _hub(name: str, plain: str, mapped: Mapped, offline: bool) -> Source:
    table = _hub_table(name, plain, offline)
    files = tuple(Path(file["filename"]) for file in table.cache_files)
    return Source(name, files, lambda problems, meter: _pairs(_hub_rows(name, table, meter), mapped, problems))


def _hub_table(name: str, plain: str, offline: bool) -> Any:
    """The table of `hf:owner/name#subset:split`; subset and split may be left out."""
    repository, _, part = plain.removeprefix("hf:").partition("#")
    if not repository.strip("/. "):
        raise ValueError(f"`data` is {name!r}; give hf:owner/name or hf:owner/name#SUBSET:SPLIT")
    subset, _, split = part.partition(":")
    before = os.environ.get(OFFLINE)
    if offline:
        os.environ[OFFLINE] = "1"  # read when the library is imported
    try:
        import datasets

        return datasets.load_dataset(repository, subset or None, split=split or "train", trust_remote_code=False)
    except ImportError:
        raise ValueError(f"`data` is {name!r}; it needs datasets; install recipe-planner[hub]") from None
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        hint = "name a part of it with hf:owner/name#SUBSET:SPLIT" + (
            "; nothing is fetched for a plan" if offline else ""
        )
        raise ValueError(f"`data` is {name!r}: {why[:300]} ({hint})") from None
    finally:
        if offline:
            os.environ.pop(OFFLINE)
            os.environ.update({OFFLINE: before} if before else {})


def _hub_rows(name: str, table: Any, meter: Meter) -> PlacedRows:
    number = 0
    meter.total, meter.unit, meter.done = len(table), "rows", lambda: number
    for batch in table.iter(ROWS_AT_ONCE):
        for values in zip(*batch.values(), strict=True):
            number += 1
            if meter.wants():
                yield f"{name}:{number}", dict(zip(batch, values, strict=True))


def _pairs(rows: PlacedRows, mapped: Mapped, problems: Problems) -> Iterator[Pair]:
    for place, row in rows:
        problems.records += 1
        pairs = row if isinstance(row, str) else pairs_of(row, mapped)
        if isinstance(pairs, str):
            problems.add(place, pairs)
        else:
            yield from pairs


def _python_env(task: str) -> Source:
    files = python_env.source_files()
    digest = hashlib.sha256()
    for file in files:
        stat = file.path.stat() if file.path.exists() else None
        digest.update(f"{file.key} {stat.st_size if stat else 0} {stat.st_mtime_ns if stat else 0}\n".encode())
    kept = cache_folder() / f"{task}-{digest.hexdigest()[:16]}.json.gz"
    if not kept.exists():
        _mine(kept, files, task)

    def read(problems: Problems, meter: Meter) -> Iterator[Pair]:
        if (content := recalled(kept, _mined)) is None:
            _mine(kept, files, task)
            content = _mined(kept)
        yield from _mined_pairs(content, len(files), problems, meter)

    return Source(task, (kept,), read, python_env.folders())


def _mine(kept: Path, files: list[python_env.SourceFile], task: str) -> None:
    mined, unread = python_env.mine_pairs(files, task)
    with replacing(kept) as temporary, gzip.open(temporary, "wt", encoding="utf-8", compresslevel=3) as out:
        json.dump({"pairs": mined, "unread": unread}, out)


def _mined(kept: Path) -> dict[str, Any]:
    """What was mined. Raises ValueError or OSError where the file is not what was written; gzip has checksums."""
    open_file(kept).close()  # refuses what is no file
    with gzip.open(kept, "rb") as file:
        content: dict[str, Any] = parse_json(file.read())
    strings("unread", content["unread"])
    for pair in tables(content["pairs"], 0, "pairs must be a list of objects"):
        known = isinstance(pair["query"], str) and isinstance(pair["positive"], str)
        require("pairs", pair, known and isinstance(pair["held_out"], bool), "of two texts and a side each")
    return content


def _mined_pairs(content: dict[str, Any], files: int, problems: Problems, meter: Meter) -> Iterator[Pair]:
    problems.records = meter.rows = files
    for key in content["unread"]:
        problems.add(key, "cannot be read or parsed")
    for pair in content["pairs"]:
        yield Pair(pair["query"], pair["positive"], (), pair["query"], pair["held_out"])
