"""Random numbers behind draws of laws, kept so that they can be changed a little and the laws be made of them anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from analysis.tables.rows import Array

STEPS = (0.05, 1.0)  # lengths of moves: nearly nothing, and all anew
TURNED = 0.5  # of the kinds of numbers in one move; all at once would hardly ever agree with every fact
SHUFFLED = 0.2  # of the orders in one move
TREMBLE = 1e-3  # of a crossing: rows that are copies must be able to part


@dataclass(frozen=True)
class Column:
    """What was drawn at one place."""

    kind: str
    """"uniform": between 0 and 1; "normal"; "order": numbers from 0."""
    values: NDArray[Any]
    """[rows, ...]"""


@dataclass
class Chance:
    """Gives random numbers for so many rows; where some are kept already, those first and in their order."""

    rng: np.random.Generator
    """Where new ones come from."""
    rows: int
    """Proposals, each with its own numbers."""
    kept: list[Column] = field(default_factory=list)
    """What was given."""
    given: int = 0
    """How many of these were asked for since the start."""

    def uniform(self, low: float, high: float, *before: int) -> Array:
        """[*before, rows] between low and high."""
        shares = self._next("uniform", lambda: np.moveaxis(self.rng.random((*before, self.rows)), -1, 0))
        return low + (high - low) * np.moveaxis(shares, 0, -1)

    def normal(self, *after: int) -> Array:
        """[rows, *after]"""
        return self._next("normal", lambda: self.rng.normal(size=(self.rows, *after)))

    def order(self, count: int) -> NDArray[np.int_]:
        """[count, rows] the numbers from 0 in any order."""
        numbers = np.arange(count)[:, None].repeat(self.rows, axis=1)
        return self._next("order", lambda: self.rng.permuted(numbers, axis=0).T).T

    def take(self, which: NDArray[Any]) -> Chance:
        """Some of the rows."""
        kept = [replace(column, values=column.values[which]) for column in self.kept]
        return Chance(self.rng, len(np.arange(self.rows)[which]), kept, self.given)

    def turned(self) -> tuple[Chance, Array]:
        """The same from the start, each row moved by a step of its own; and ln of how much likelier it is: 0.

        Normal numbers turn towards fresh ones by an angle (Neal 1998; Cotter et al. 2013), uniform ones do as normals.
        """
        low, high = np.log(STEPS)
        steps = np.exp(self.rng.uniform(low, high, self.rows))
        return Chance(self.rng, self.rows, [self._turned(column, steps) for column in self.kept]), np.zeros(self.rows)

    def crossed(self, among: int = 0) -> tuple[Chance, Array]:
        """The same from the start, each row moved along what two others differ in; and ln of how much likelier it is.

        among: only others of the same so many consecutive rows, where these belong together; 0: of all.

        A step of differential evolution (ter Braak 2006) in the numbers that stand alone: it knows which belong
        together once most rows agree on that.
        """
        among, row = among or self.rows, np.arange(self.rows)
        others = row // among * among + (row % among + self.rng.integers(1, among, (2, self.rows))) % among
        alone = [column.kind != "order" and column.values.ndim == 1 for column in self.kept]
        chosen = self.rng.random((len(alone), self.rows)) < self.rng.uniform(0.1, 1.0, self.rows)
        scale = self.rng.uniform(0.2, 1.0, self.rows) * 2.38 / np.sqrt(2 * np.maximum(chosen[alone].sum(axis=0), 1))
        kept, likelier = [], np.zeros(self.rows)
        for column, mine, mask in zip(self.kept, alone, chosen, strict=True):
            if mine:
                z = _normal(column)
                apart = z[others[0]] - z[others[1]] + TREMBLE * self.rng.normal(size=self.rows)
                moved = z + mask * scale * apart
                likelier += 0.5 * (z**2 - moved**2)
                column = _from_normal(column, moved)
            kept.append(column)
        return Chance(self.rng, self.rows, kept), likelier

    def _turned(self, column: Column, steps: Array) -> Column:
        shape = column.values.shape
        along = (slice(None), *[None] * (len(shape) - 1))
        chosen = self.rng.random(self.rows) < (SHUFFLED if column.kind == "order" else TURNED)
        if column.kind == "order":
            fresh = self.rng.permuted(column.values, axis=1)
            return replace(column, values=np.where(chosen[along], fresh, column.values))
        step = np.where(chosen, steps, 0.0)[along]
        moved = np.sqrt(1 - step**2) * _normal(column) + step * self.rng.normal(size=shape)
        return _from_normal(column, moved)

    def where(self, other: Chance, chosen: NDArray[np.bool_]) -> Chance:
        """The rows of `other` where `chosen` [rows], else those of this one."""
        kept = []
        for mine, theirs in zip(self.kept, other.kept, strict=True):
            along = (slice(None), *[None] * (mine.values.ndim - 1))
            kept.append(replace(mine, values=np.where(chosen[along], theirs.values, mine.values)))
        return Chance(self.rng, self.rows, kept)

    def _next(self, kind: str, draw: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        if self.given == len(self.kept):
            self.kept.append(Column(kind, draw()))
        self.given += 1
        return self.kept[self.given - 1].values


def _normal(column: Column) -> Array:
    values: Array = column.values if column.kind == "normal" else ndtri(column.values)
    return values


def _from_normal(column: Column, values: Array) -> Column:
    return replace(column, values=values if column.kind == "normal" else ndtr(values))


def chained(parts: Sequence[Chance], most: int) -> Chance:
    """The first `most` rows of several lots."""
    kept = [
        Column(columns[0].kind, np.concatenate([column.values for column in columns])[:most])
        for columns in zip(*(part.kept for part in parts), strict=True)
    ]
    return Chance(parts[0].rng, min(most, sum(part.rows for part in parts)), kept, parts[0].given)
