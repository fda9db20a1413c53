"""The file of a ladder: which small language models are pretrained, and on what. Read without torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sweeps.support.checks import distinct, from_table, known_keys, number, require, tables, whole
from sweeps.support.toml_io import read_checked


@dataclass(frozen=True)
class Rung:
    """One size of the ladder."""

    name: str
    """Its folder."""
    layers: int
    """Number of blocks."""
    width: int
    """Dimensions of a state; the MLP has four times as many."""
    heads: int
    """Attention heads, which share the width out."""
    lr: float
    """Peak learning rate of AdamW."""


@dataclass(frozen=True)
class Ladder:
    """What `embed pretrain` reads from a TOML file."""

    name: str
    """Title of the model card."""
    tokens: int
    """Training tokens of every size."""
    sizes: tuple[Rung, ...]
    """The models, each pretrained by itself on the same tokens."""
    text: str | tuple[str, ...] = "python-env"
    """`python-env`, or UTF-8 text files, of which every twentieth is held out."""
    vocab: int = 4096
    """Entries of the byte-level BPE."""
    context: int = 256
    """Tokens of a sequence."""
    batch: int = 16
    """Sequences of a step."""
    warmup: float = 0.02
    """Share of the steps in which the learning rate rises."""
    cooldown: float = 0.3
    """Share of the steps in which it falls."""
    weight_decay: float = 0.1
    """AdamW's, for matrices alone."""
    seed: int = 0
    """Of the first weights and of the order of the documents."""

    @property
    def steps(self) -> int:
        return self.tokens // (self.batch * self.context)


def read_ladder(path: Path) -> Ladder:
    """Returns the ladder of a TOML file, checked. Raises ValueError naming the file, key, value and choices."""
    return read_checked(path, _ladder)


def _ladder(table: dict[str, Any]) -> Ladder:
    known_keys("the file", table, [item.name for item in fields(Ladder)])
    sizes = tables(table.get("sizes", []), 1, "sizes is empty; give at least one [[sizes]] table")
    rungs = tuple(_rung(f"sizes[{i}]", size) for i, size in enumerate(sizes))
    ladder: Ladder = from_table(Ladder, {**table, "sizes": rungs}, "the file")
    for key in ("tokens", "vocab", "context", "batch"):
        whole(key, getattr(ladder, key))
    for key in ("warmup", "cooldown"):
        require(key, getattr(ladder, key), 0 <= getattr(ladder, key) <= 1, "between 0 and 1")
    distinct("sizes", [rung.name for rung in rungs], [rung.name for rung in rungs])
    return ladder


def _rung(where: str, table: dict[str, Any]) -> Rung:
    rung: Rung = from_table(Rung, table, where)
    for key in ("layers", "width", "heads"):
        whole(f"{where}.{key}", getattr(rung, key))
    number(f"{where}.lr", rung.lr)
    folder = Path(rung.name).name == rung.name and not rung.name.startswith(".")
    require(f"{where}.name", rung.name, folder, "one plain word, since it names a folder")
    require(f"{where}.width", rung.width, rung.width % rung.heads == 0, f"a multiple of {rung.heads} heads")
    return rung
