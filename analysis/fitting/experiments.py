"""Whether the rows of a method are one experiment.

Every column that nobody named is a suspect: where rows miss the law by what stands in it, beyond what a trend in N and
D explains, the column and its values are named. A column that follows from N, D or C alone is none: what it tells is
the law's own lack of fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.fitting.added_terms import added, slopes
from analysis.fitting.estimate import Estimate
from analysis.fitting.lack_of_fit import quadratic
from analysis.tables.rows import Array, Rows
from planner.law_book import Caveat

LEVEL = 0.01  # of clean tables of which some column is named, however many they have
VALUES = 12  # of a column; more tell rows apart, not experiments
ROWS = 3  # of a value
NAMED = 6  # values in a caveat
LEAST = 1e-3  # percent; less is none
EACH = 3  # sizes or budgets of a value: experiments with as many of their own are no function of them
SCATTERED = 0.15  # of the loss: seeds, data orders and learning rates seldom make half of that


@dataclass(frozen=True)
class Suspect:
    """A column by which rows differ."""

    title: str
    """Its title in the table."""
    p: float
    """How often chance alone makes rows differ by some such column as much; all columns counted."""
    shifts: Mapping[str, float]
    """By value: how much its log losses lie above those of all rows."""


def experiments(label: str, solved: Estimate, mine: NDArray[np.bool_], others: pd.DataFrame) -> list[Caveat]:
    """Caveats on rows of a method that are not one experiment. mine [rows]: its rows; others: their other columns."""
    if named := _suspect(solved, mine, others):
        far = sorted(named.shifts, key=lambda value: -abs(named.shifts[value]))
        told = [f"{value!r} {_side(named.shifts[value])}" for value in far[:NAMED]]
        more = f", and {len(far) - NAMED} more" if len(far) > NAMED else ""
        text = f"{label}: runs differ by the column {named.title!r} (p = {named.p:.1g}): {', '.join(told)}{more}; "
        text += "if it separates experiments, name it as `method`; if it is a setting that was tried, `best` "
        return [Caveat("experiments", f"{text}keeps the lowest loss of each N and D", label)]
    if solved.scatter.sd > SCATTERED:
        text = f"{label}: single runs lie {100 * solved.scatter.sd:.2g} % from the law, where runs of one experiment "
        text += "mostly lie within 5 %: they may come from several experiments, or have several units"
        return [Caveat("scattered", text, label)]
    return []


def _side(shift: float) -> str:
    size = 100 * abs(float(np.expm1(shift)))
    return f"{size:.2g} % {'above' if shift > 0 else 'below'}" if size > LEAST else "at the median"


def _suspect(solved: Estimate, mine: NDArray[np.bool_], others: pd.DataFrame) -> Suspect | None:
    """The column by which rows differ most surely, where that is no chance."""
    rows = solved.problem.rows.take(mine)
    # Not astype: a column of texts keeps what is missing as a float there.
    texts = {str(title): np.array([str(x) for x in others.iloc[:, i]]) for i, title in enumerate(others)}
    columns = {title: values for title, values in texts.items() if _tells(values) and not _follows(values, rows)}
    if not columns:
        return None
    own = np.concatenate([slopes(solved, mine), quadratic(rows)], axis=1)
    far, residuals = solved.scatter.far[mine], solved.residuals[mine]
    tested = [_compared(title, values, residuals, far, own, rows) for title, values in columns.items()]
    found = min((suspect for suspect in tested if suspect), key=lambda suspect: suspect.p, default=None)
    if found is None or found.p * len(columns) >= LEVEL:
        return None
    return Suspect(found.title, found.p * len(columns), found.shifts)


def _frequent(values: NDArray[np.str_]) -> list[str]:
    """The values that enough rows have."""
    names, counts = np.unique(values, return_counts=True)
    return [str(name) for name, count in zip(names, counts, strict=True) if count >= ROWS]


def _tells(values: NDArray[np.str_]) -> bool:
    return len(np.unique(values)) <= VALUES and len(_frequent(values)) >= 2


def _follows(values: NDArray[np.str_], rows: Rows) -> bool:
    """Whether the value follows from N, D, C or D / N: it never changes at one of these, or in bands of it."""
    return any(_is_function(values, quantity) for quantity in (rows.N, rows.D, rows.flops, rows.D / rows.N))


def _is_function(values: NDArray[np.str_], quantity: Array) -> bool:
    at, place = np.unique(np.round(np.log(quantity), 3), return_inverse=True)
    names, value = np.unique(values, return_inverse=True)
    low, high = np.full(len(names), len(at)), np.full(len(names), -1)
    np.minimum.at(low, value, place)
    np.maximum.at(high, value, place)
    order = np.argsort(low)
    if (low[order][1:] > high[order][:-1]).all():
        return True
    pairs = len(np.unique(place * len(names) + value))
    return len(at) < EACH * len(names) and pairs == len(at)


def _compared(
    title: str, values: NDArray[np.str_], residuals: Array, far: NDArray[np.bool_], own: Array, rows: Rows
) -> Suspect | None:
    """How surely rows differ by a column: in height, or in height and slopes. far [rows]: too far off to be noise."""
    kept = [value for value in _frequent(values) if _useful(values == value, far).sum() >= ROWS]
    which = np.any([_useful(values == value, far) for value in kept], axis=0) if len(kept) > 1 else far & False
    if not which.any():
        return None
    heights = np.stack([values[which] == value for value in kept], axis=1).astype(float)
    terms, run = heights[:, 1:], rows.run[which]
    found = added(residuals[which], own[which], terms, run)
    if found is None:
        return None
    bent = np.concatenate([terms, *(terms * axis[which, None] for axis in (rows.n, rows.d))], axis=1)
    sloped = added(residuals[which], own[which], bent, run)
    p = 2 * min(found.p, sloped.p if sloped else 1.0)
    shifts = np.append(0.0, found.coefficients)
    shifts = shifts - float(np.median(heights @ shifts))
    return Suspect(title, p, dict(zip(kept, map(float, shifts), strict=True)))


def _useful(rows: NDArray[np.bool_], far: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rows of a value without those that are far off, unless most of them are."""
    return rows if far[rows].mean() > 0.5 else rows & ~far
