"""A text pair, what row of a file makes one, and the records that make none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sweeps.data.formats import Row, is_unicode

HELD_OUT_SHARE = 20  # one group in twenty
BAD_SHARE = 0.01  # more bad records than this stop the run
NAMED_PROBLEMS = 5


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


def pair_of(row: Row) -> Pair | str:
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
    if not is_unicode("".join([row["query"], row["positive"], *negatives])):
        return "has half of a surrogate pair"
    group = str(row["group"]) if row.get("group") not in (None, "") else row["query"]
    held_out = row.get("held_out")
    if not isinstance(held_out, bool):
        held_out = hashlib.sha256(group.encode("utf-8", "replace")).digest()[0] % HELD_OUT_SHARE == 0
    return Pair(row["query"], row["positive"], negatives, group, held_out)
