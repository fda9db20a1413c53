"""Evaluation sets in files: sentence pairs with a score, and retrieval in BEIR's layout. All of it checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.data.formats import READERS, read_rows
from sweeps.data.pair import Pair
from sweeps.data.readers import open_source
from sweeps.support.paths import located

SENTENCES = ("sentence1", "sentence2", "score")


@dataclass(frozen=True)
class Similarity:
    """Sentence pairs and how alike people found them, on any scale. skipped: rows left out, in words."""

    name: str
    first: list[str]
    second: list[str]
    scores: list[float]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Retrieval:
    """Queries, documents, and for each query the names of the documents that answer it."""

    name: str
    queries: dict[str, str]
    corpus: dict[str, str]
    relevant: dict[str, set[str]]
    skipped: tuple[str, ...] = ()


@dataclass
class _Skips:
    """Rows left out, counted by reason, with the first place of each."""

    counts: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def add(self, place: str, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.places.setdefault(reason, place)

    @property
    def messages(self) -> tuple[str, ...]:
        return tuple(f"{n} skipped: {reason} (first at {self.places[reason]})" for reason, n in self.counts.items())


def read_similarity(where: str) -> Similarity:
    """Returns the task in FILE or FILE#SPLIT with columns sentence1, sentence2, score, and split where that is named.

    Raises ValueError naming file, row and column; a row without a score is skipped and counted.
    """
    path, split = _split(where)
    skips, rows = _Skips(), []
    for place, row in read_rows(path):
        if split and str(_value(row, "split", place)) != split:
            continue
        first, second, score = (_value(row, column, place) for column in SENTENCES)
        for column, text in zip(SENTENCES, (first, second), strict=False):
            if not isinstance(text, str):
                raise ValueError(f"{place}: {column} is {text!r}, not text")
        if (number := _number(score, place)) is None:
            skips.add(place, "no score")
        else:
            rows.append((first, second, number))
    if len(rows) < 3:
        raise ValueError(f"{where}: {len(rows)} sentence pairs with a score; a rank correlation needs 3")
    if len({score for _, _, score in rows}) == 1:
        raise ValueError(f"{where}: every score is {rows[0][2]:g}; there is no ranking to compare with")
    first, second, scores = (list(column) for column in zip(*rows, strict=True))
    return Similarity(_name(path, split), first, second, scores, skips.messages)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(value: Any, place: str) -> float | None:
    """Returns a score; None where there is none (empty, or NaN as tables write it)."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{place}: score is {value!r}, not a number") from None
    if math.isinf(number):
        raise ValueError(f"{place}: score is {value!r}; it must be finite")
    return None if math.isnan(number) else number


def read_retrieval(where: str) -> Retrieval:
    """Returns the task in FOLDER or FOLDER#SPLIT (test): corpus and queries (`_id`, `text`, `title`), judgements in
    qrels/SPLIT.tsv.

    Judgements of unknown queries or documents are skipped and counted, and so are queries without any. Raises
    ValueError naming what is missing, empty or named twice.
    """
    folder, split = _split(where)
    split = split or "test"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; a retrieval task has corpus.jsonl, queries.jsonl and qrels/")
    corpus, queries = _texts(folder, "corpus"), _texts(folder, "queries")
    skips = _Skips()
    relevant: dict[str, set[str]] = {}
    for place, query, document, grade in _judgements(folder / "qrels" / f"{split}.tsv"):
        if query not in queries or document not in corpus:
            skips.add(place, "a judgement of an unknown " + ("query" if query not in queries else "document"))
        elif grade > 0:
            relevant.setdefault(query, set()).add(document)
    if not relevant:
        raise ValueError(f"{where}: no query has a relevant document in its corpus")
    if len(corpus) < 2:
        raise ValueError(f"{where}: the corpus has {len(corpus)} document; every query would find it")
    judged = {name: text for name, text in queries.items() if name in relevant}
    return Retrieval(_name(folder, split), judged, corpus, relevant, skips.messages)


def _texts(folder: Path, kind: str) -> dict[str, str]:
    """Returns the texts by name: a document's title stands before its text."""
    names = [f"{kind}{suffix}{packed}" for suffix in READERS for packed in ("", ".gz")]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise ValueError(f"{folder}: has no {kind}.jsonl (nor {', '.join(names[1:])})")
    texts: dict[str, str] = {}
    for place, row in read_rows(path):
        name, text = _value(row, "_id", place), _value(row, "text", place)
        for column, value in (("_id", name), ("text", text if text is not None else "")):
            if not isinstance(value, str | int):
                raise ValueError(f"{place}: {column} is {value!r}, not text")
        name, text = str(name), f"{row.get('title') or ''} {'' if text is None else text}".strip()
        if name in texts:
            raise ValueError(f"{place}: _id {name!r} occurs twice")
        texts[name] = text
    if not texts:
        raise ValueError(f"{path}: is empty")
    return texts


def _judgements(path: Path) -> Iterator[tuple[str, str, str, float]]:
    """Yields place, query, document and grade of each line; a first line without a grade is a header."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.tsv"))) or "none"
        raise ValueError(f"{path}: no such file; splits there: {known}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}") from None
    for number, line in enumerate(lines, 1):
        parts = line.split("\t")
        if not line.strip() or (number == 1 and len(parts) == 3 and not _is_number(parts[2])):
            continue
        grade = _number(parts[2], f"{path}:{number}") if len(parts) == 3 else None
        if grade is None:
            raise ValueError(f"{path}:{number}: {line!r} is not query, document and grade with tabs between")
        yield f"{path}:{number}", parts[0], parts[1], grade


def code_search(limit: int = 2000) -> Retrieval:
    """Returns held-out `python-env` pairs: docstrings look for their functions. Of equal texts the first pair is
    taken."""
    chosen: list[Pair] = []
    known: set[str] = set()
    for pair in open_source("python-env").pairs():
        if pair.held_out and not {pair.query, pair.positive} & known:
            known |= {pair.query, pair.positive}
            chosen.append(pair)
    chosen = sorted(chosen, key=lambda pair: pair.positive)[:: max(1, len(chosen) // limit)][:limit]
    names = [str(index) for index in range(len(chosen))]
    queries = {name: pair.query for name, pair in zip(names, chosen, strict=True)}
    corpus = {name: pair.positive for name, pair in zip(names, chosen, strict=True)}
    return Retrieval("code-search", queries, corpus, {name: {name} for name in names})


def _split(where: str) -> tuple[Path, str]:
    path, _, split = where.partition("#")
    if split and not split.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"{where}: {split!r} is not the name of a split")
    return located(path), split


def _name(path: Path, split: str) -> str:
    stem = path.name.split(".")[0] if path.is_file() else path.resolve().name
    return f"{stem}-{split}" if split else stem


def _value(row: Any, column: str, place: str) -> Any:
    if column not in row:
        raise ValueError(f"{place}: has no {column!r}; it has: {', '.join(map(str, row))}")
    return row[column]
