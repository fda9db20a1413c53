"""A text pair, what row of a file makes one, and the records that make none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.data.columns import Mapped, columns_of
from sweeps.data.files import Row, is_unicode

HELD_OUT_SHARE = 20  # one group in twenty
BAD_SHARE = 0.01  # more bad records than this stop the run
NAMED_PROBLEMS = 5
LEAST_POOL = 4  # held-out pairs, unless a smaller pool is asked for; with fewer a loss is mostly noise
MARKS: dict[Any, bool] = {"true": True, "false": False, "1": True, "0": False, 1: True, 0: False}  # of held_out


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
        """Raises ValueError when there are no records, or more than BAD_SHARE of them, or all, are bad."""
        if not self.records:
            raise ValueError(f"{source}: holds no records")
        if self.records == self.bad or self.bad > BAD_SHARE * self.records:
            raise ValueError(
                f"{source}: {self.bad} of {self.records} records are bad, more than {BAD_SHARE:.0%}; "
                f"the first: {by_reason(self.named)}"
            )


def by_reason(named: Sequence[str]) -> str:
    """Places and reasons as one text, a reason once: `a.jsonl:3, 9: not JSON; a.jsonl:12: no 'query'`."""
    places: dict[tuple[str, str], list[str]] = {}
    for problem in named:
        place, _, reason = problem.partition(": ")
        file, _, number = place.rpartition(":")
        file, number = (f"{file}:", number) if number.isdigit() else ("", place)
        places.setdefault((file, reason), []).append(number)
    return "; ".join(f"{file}{', '.join(numbers)}: {reason}" for (file, reason), numbers in places.items())


def told(problems: Mapping[str, Any]) -> str:
    """The fields of Problems as a sentence; "" where every record could be used."""
    if not problems.get("bad"):
        return ""
    first = by_reason(problems["named"])
    return f"{problems['bad']:,} of {problems['records']:,} records could not be used: {first}"


def too_few_held_out(source: str, distinct: int, pool_size: int, another: str = "") -> str:
    """Why no held-out loss can be measured. another: why one more pool is needed."""
    return (
        f"data {source!r} has {distinct} distinct held-out pairs; a pool of the held-out loss takes at least "
        f"{min(LEAST_POOL, pool_size)}{another}: give more data, or rows with held_out = true"
    )


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


def pairs_of(row: Row, mapped: Mapped = ()) -> list[Pair] | str:
    """The pairs in a row, one for each positive, or what is wrong with it. mapped: see columns.py."""
    columns = columns_of(tuple(row), mapped)
    if isinstance(columns, str):
        return columns
    query, positives = row[columns.query], _texts(row[columns.positive])
    if not isinstance(query, str) or not query.strip():
        return f"{columns.query!r} is empty or not text"
    if not positives or not all(map(_is_text, positives)):
        return f"{columns.positive!r} is empty or not text"
    negatives: list[Any] = []
    for name in columns.negatives:
        given = row[name]
        if given is None or given == "":  # one pair may have fewer than another
            continue
        if (texts := _texts(given)) is None:
            return "negatives must be a list of texts"
        if not all(map(_is_text, texts)):
            return "a negative is empty or not text"
        negatives += texts
    texts = [query, *positives, *negatives]
    if any(_LIST.match(text) for text in texts[1:]):
        return "contains a list written as one text; give each text a column, such as negative_1 and negative_2"
    if not is_unicode("".join(texts)):
        return "contains an unpaired surrogate"
    group = str(row[columns.group]) if columns.group and row[columns.group] not in (None, "") else query
    held_out = _held_out(row[columns.held_out] if columns.held_out else None, group)
    if held_out is None:
        return f"{columns.held_out!r} is {row[columns.held_out or '']!r}; it must be true, false, 1 or 0"
    return [Pair(query, positive, tuple(negatives), group, held_out) for positive in positives]


_LIST = re.compile(r"""\s*\[\s*(['"]).*\1\s*,?\s*\]\s*$""", re.DOTALL)  # as JSON and Python write one


def _texts(value: Any) -> list[Any] | None:
    """One text or several, of passages with a title both; None for what is neither."""
    if isinstance(value, list | tuple):
        return [_passage(each) for each in value]
    return [_passage(value)] if isinstance(value, str | dict) else None


def _passage(value: Any) -> Any:
    """The text of a passage with its title before it, as BEIR and tevatron have them; anything else as it is."""
    if not isinstance(value, dict):
        return value
    text, title = value.get("text"), value.get("title")
    return f"{title} {text}" if title and _is_text(text) else text


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _held_out(mark: Any, group: str) -> bool | None:
    """Whether a pair is held out: as it is marked, else drawn by its group; None for a mark that is none."""
    if mark is None or mark == "" or mark != mark:  # NaN, as tables write what is missing
        return hashlib.sha256(group.encode("utf-8", "replace")).digest()[0] % HELD_OUT_SHARE == 0
    mark = mark.strip().lower() if isinstance(mark, str) else mark
    return MARKS.get(mark) if isinstance(mark, str | int | float) else None
