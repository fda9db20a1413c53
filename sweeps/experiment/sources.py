"""What a sweep trains on: the sources that a file names, and the text pairs once they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sweeps.data.columns import with_columns
from sweeps.data.pair_statistics import TEXT_SETTINGS
from sweeps.flops import Work
from sweeps.support.checks import brief, check_fields, is_number, known_keys, number, require, tables
from sweeps.trial import MIXED, Training, mixed


def with_sources(training: Any, sources: Any) -> dict[str, Any]:
    """The table [training] of a file; the `[[data]]` tables, None where there are none, say its `data`."""
    require("training", training, isinstance(training, dict), "a table")
    if "columns" in training:
        training = dict(training)
        columns, data = training.pop("columns"), training.get("data")
        if not isinstance(data, str) or MIXED in data:
            raise ValueError(
                "training.columns belongs to training.data, one source; in [[data]] each table has its own"
            )
        training["data"] = with_columns(data, columns, "training.columns")
    if sources is None:
        return training
    if "data" in training:
        raise ValueError("training.data and [[data]] both name the training data; give one")
    return {**training, "data": mixed(read_sources(sources))}


def read_sources(sources: Any) -> list[tuple[str, float]]:
    """Sources and weights of `[[data]]` tables: source; weight, where it is not 1; columns, where none are usual."""
    several = "[[data]] lists sources for joint training; give two or more, or use training.data"
    named = []
    for i, table in enumerate(tables(sources, 2, several)):
        known_keys(f"data[{i}]", table, ["source", "weight", "columns"])
        source: Any = table.get("source")
        require(f"data[{i}].source", source, isinstance(source, str) and bool(source.strip()), "a file or a name")
        if MIXED in source or "*" in source:
            raise ValueError(f"data[{i}].source is {source!r}; a source name must not contain {MIXED!r} or '*'")
        if "columns" in table:
            source = with_columns(source, table["columns"], f"data[{i}].columns")
        named.append((source, number(f"data[{i}].weight", table.get("weight", 1))))
    return named


# Fields that a report of earlier versions lacks.
OPTIONAL = {"problems", "sources", "pool_size", "pools", "notes", "texts"}


def text_settings(training: Training) -> str:
    """What of a condition decides how long the texts of a pair are, as one name."""
    return json.dumps([getattr(training, name) for name in TEXT_SETTINGS])


_LIMITS = {
    **dict.fromkeys(("train_pairs", "held_out_pairs", "pool_size", "pools"), (0, 1e15)),
    "tokens": (0, 1e9),
    "squares": (0, 1e18),
}


@dataclass(frozen=True)
class Data:
    """The text pairs of a sweep once they are read, as `embed prepare` reports them."""

    data_hash: str
    """Hash of all pairs."""
    train_pairs: int
    """Unique pairs to train on."""
    held_out_pairs: int
    """Pairs that are held out."""
    tokens: float
    """Mean real tokens of a training pair."""
    squares: float
    """Mean over the training pairs of the sum of the squared text lengths in tokens."""
    problems: Mapping[str, Any] = field(default_factory=dict)
    """What was wrong with records that were left out."""
    sources: tuple[tuple[float, float], ...] = ()
    """`tokens` and `squares` of each source alone, where there are several."""
    pool_size: int = 0
    """Held-out pairs in a pool, as many as the sweep file asks for or the data fill; 0: as it asks."""
    pools: int = 0
    """Number of such pools; 0: as the sweep file asks."""
    notes: tuple[str, ...] = ()
    """What whoever trains on them should know, in sentences."""
    texts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By `text_settings`, where conditions differ in them: `tokens`, `squares` and `sources`."""

    def fitted(self, training: Training) -> Training:
        """The condition with the hash of these data and with pools that their held-out pairs fill."""
        size, pools = self.pool_size or training.pool_size, self.pools or training.pools
        return replace(training, data_hash=self.data_hash, pool_size=size, pools=pools)

    def under(self, training: Training) -> Data:
        """These data with the texts as long as they are under this condition."""
        texts = self.texts.get(text_settings(training)) if self.texts else None
        return replace(self, **texts) if texts else self

    def pair(self, batch_size: int, weights: Sequence[float] = ()) -> Work:
        """The mean pair. weights: of the sources, where they are not those of the sweep file."""
        if not weights or len(self.sources) != len(weights):
            return Work(1, self.tokens, self.squares, batch_size)
        tokens, squares = (
            sum(weight * each for weight, each in zip(weights, column, strict=True)) / sum(weights)
            for column in zip(*self.sources, strict=True)
        )
        return Work(1, tokens, squares, batch_size)

    def pair_of(self, training: Training) -> Work:
        """The mean pair that is trained on under this condition."""
        return self.under(training).pair(training.batch_size, [weight for _, weight in training.sources])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any, where: str) -> Data:
        """The data written by `to_json`. Raises ValueError naming `where` and what is missing or absurd."""
        if not isinstance(content, dict):
            raise ValueError(f"{where}: holds {type(content).__name__}, not an object")
        missing = {item.name for item in fields(cls)} - OPTIONAL - set(content)
        if missing:
            raise ValueError(f"{where}: has no {', '.join(sorted(missing))}")
        try:
            check_fields(cls, content, "", _LIMITS, known=False)
            for name, texts in content.get("texts", {}).items():
                require(f"texts.{name}", texts, isinstance(texts, dict), "an object")
                known_keys(f"texts.{name}", texts, ["tokens", "squares", "sources"])
                check_fields(cls, {**content, **texts}, f"texts.{name}", _LIMITS, known=False)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        data = cls(**{item.name: content[item.name] for item in fields(cls) if item.name in content})
        for name in ("train_pairs", "tokens", "squares"):
            if not is_number(getattr(data, name)) or getattr(data, name) <= 0:
                raise ValueError(f"{where}: {name} is {getattr(data, name)!r}; it must be a positive number")
        try:
            sources = tuple((float(tokens), float(squares)) for tokens, squares in data.sources)
            return replace(data, sources=sources, notes=tuple(data.notes))
        except (TypeError, ValueError):
            raise ValueError(
                f"{where}: sources is {brief(data.sources)}; it must be a list of two numbers each"
            ) from None
