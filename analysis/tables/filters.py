"""Which rows of other people's tables enter a fit, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.tables.columns import Columns
from analysis.tables.expressions import Column, condition
from analysis.tables.table import CELL
from planner.law_book import Caveat


@dataclass(frozen=True)
class Filters:
    """What is asked of the rows that enter."""

    where: tuple[str, ...] = ()
    """Conditions that must all hold: analysis/tables/expressions.py has their grammar."""
    holdout: str = ""
    """A condition: rows of which it is true stay out of the fit, which predicts them."""
    best: bool = False
    """Of rows with the same method and all that the laws know only the one with the lowest loss enters."""
    drop_highest: int = 0
    """So many highest losses of those left stay out."""

    def words(self, variables: Sequence[str]) -> tuple[str, ...]:
        """What was asked, for the record; variables: what the laws are in."""
        asked = [f"where {text}" for text in self.where] + [f"best of each {' and '.join(variables)}"] * self.best
        asked += [f"held out: {self.holdout}"] * bool(self.holdout)
        return tuple(asked + [f"without the {self.drop_highest} highest losses"] * bool(self.drop_highest))


@dataclass
class Sieve:
    """Rows on their way into a fit."""

    rows: pd.DataFrame
    """Those that are left, as columns.numbers_of makes them."""
    excluded: list[tuple[str, str]] = field(default_factory=list)
    """Name and reason of each other one."""
    caveats: list[Caveat] = field(default_factory=list)
    """What to say of them."""
    held_out: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Those that the fit is to predict."""

    def leave_out(self, which: pd.Series, reason: str) -> pd.DataFrame:
        """Leave out the rows at which the mask is true, and return these."""
        out = self.rows[which]
        self.excluded += [(name, reason) for name in out["name"]]
        self.rows = self.rows[~which]
        return out


def sift(rows: pd.DataFrame, frame: pd.DataFrame, columns: Columns, filters: Filters, name: str) -> Sieve:
    """The rows that enter. frame: the table as it came, row for row. Raises ValueError where none is left."""
    sieve = Sieve(rows)
    for text in filters.where:
        true = _true_of(text, "`where`", sieve.rows, frame, columns)
        sieve.leave_out(~true, f"where {text}: false")
    _leave_out_failures(sieve, columns)
    copies = sieve.rows.duplicated([*CELL, "run_given", "loss"])
    if copies.any():
        names = ", ".join(sieve.rows.loc[copies, "name"][:5]) + (" ..." if copies.sum() > 5 else "")
        text = f"{copies.sum()} rows repeat an earlier one to the last digit and are left out: {names}"
        sieve.caveats.append(Caveat("duplicates", text))
        sieve.leave_out(copies, "it repeats an earlier row")
    if filters.best:
        lowest = sieve.rows.sort_values("loss", kind="stable").drop_duplicates(CELL).index
        sieve.leave_out(
            ~sieve.rows.index.isin(lowest), f"another run with its {' and '.join(columns.variables)} has a lower loss"
        )
    if filters.holdout:
        true = _true_of(filters.holdout, "`holdout`", sieve.rows, frame, columns)
        if true.all() or not true.any():
            raise ValueError(f"{name}: `holdout` {filters.holdout} holds of {true.sum()} of {len(true)} rows")
        sieve.held_out = sieve.leave_out(true, f"held out: {filters.holdout}").reset_index(drop=True)
    if filters.drop_highest:
        if not 0 < filters.drop_highest < len(sieve.rows):
            raise ValueError(f"{name}: `drop_highest` is {filters.drop_highest}; there are {len(sieve.rows)} rows")
        high = sieve.rows["loss"].rank(method="first") > len(sieve.rows) - filters.drop_highest
        sieve.leave_out(high, f"one of the {filters.drop_highest} highest losses")
    if sieve.rows.empty:
        reasons = "; ".join(dict.fromkeys(reason for _, reason in sieve.excluded))
        raise ValueError(f"{name}: no row can enter a fit: {reasons}")
    return sieve


def _leave_out_failures(sieve: Sieve, columns: Columns) -> None:
    named = {name: title for name, title in (("method", columns.method), ("run", columns.run)) if title}
    needed = {"params": columns.n, "tokens": columns.d or columns.c, "flops": columns.c or columns.d}
    for column, title in {**needed, "unique": columns.unique, "weight": columns.weights, **named}.items():
        sieve.leave_out(sieve.rows[column].isna(), f"its {title} is missing")
    sieve.leave_out(~np.isfinite(sieve.rows["loss"]), "its loss is missing or not finite")
    sieve.leave_out(sieve.rows["tokens"] == 0, "it has no tokens; the laws are about training")


def _true_of(text: str, where: str, rows: pd.DataFrame, frame: pd.DataFrame, columns: Columns) -> pd.Series:
    """Of which rows a condition is true."""
    return pd.Series(condition(text, where)(_known(rows, frame, columns)), index=rows.index)


def _known(rows: pd.DataFrame, frame: pd.DataFrame, columns: Columns) -> Mapping[str, Column]:
    """What conditions may name: the quantities as they were read, and the table's other columns as they came."""
    letters = {"N": "params", "D": "tokens", "C": "flops", "loss": "loss"}
    if len(columns.variables) == 1:
        letters = {columns.variables[0]: {"N": "params"}.get(columns.variables[0], "tokens"), "loss": "loss"}
    own = {title: frame.loc[rows.index, title].to_numpy() for title in frame.columns if title not in letters}
    return {**{letter: rows[column].to_numpy() for letter, column in letters.items()}, **own}
