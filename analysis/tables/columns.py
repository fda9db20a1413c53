"""Which column of somebody else's table holds what, and in which unit."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.tables.rows import Array
from planner.law_book import Caveat
from planner.law_file import LIMITS, SPAN
from planner.sizes import COSTED


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table of somebody else's runs, a factor behind them (`size*1e9`); None: not there."""

    loss: str
    """Final loss, in any unit, positive."""
    n: str | None = None
    """Parameters; without it the law is one in tokens or FLOPs alone."""
    d: str | None = None
    """Training tokens."""
    c: str | None = None
    """Training FLOPs. Beside `d` they are what a run cost; without `d`, D = C / 6N; alone, the law is one in them."""
    method: str | None = None
    """Whatever gets a law of its own for each value."""
    run: str | None = None
    """The same value for all rows of one training run, which are then resampled together."""
    share: str | None = None
    """Trained share of the parameters, 0 to 1, for the family trainable."""
    unique: str | None = None
    """Unique training tokens, for the family repeated."""
    weights: str | None = None
    """How many times a row counts, such as the runs that its loss is the mean of; by default once."""

    @property
    def variables(self) -> tuple[str, ...]:
        """What the laws are in: N and D, or the one of N, D and C that the table has; () where it has none."""
        if self.n and (self.d or self.c):
            return ("N", "D")
        return tuple(letter for letter, title in (("N", self.n), ("D", self.d), ("C", self.c)) if title)[:1]

    def unnamed(self, frame: pd.DataFrame) -> list[str]:
        """Titles of the columns of a frame that none of these names."""
        named = {
            given if given in frame else given.rpartition("*")[0].strip() for given in vars(self).values() if given
        }
        return [str(title) for title in frame if title not in named]


UNITS = {
    "k": 1e3,
    "thousand": 1e3,
    "m": 1e6,
    "million": 1e6,
    "b": 1e9,
    "billion": 1e9,
    "g": 1e9,
    "t": 1e12,
    "trillion": 1e12,
}
TITLE_UNIT = re.compile(r"[(\[](?:in )?(k|thousand|m|million|b|billion|g|t|trillion)s?[)\]]", re.IGNORECASE)
NUMBER = re.compile(r"\s*([0-9][0-9,]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*([kKmMbBgGtT]?)\s*")
# What a column that nobody named holds: one size, everything trained, nothing repeated.
NOT_THERE = {"n": 1.0, "d": 1.0, "c": np.nan, "share": 1.0, "unique": np.inf, "weights": 1.0}
# What a law file can hold; of the other columns SPAN. Sizes below 1 are in another unit, which units.py asks for.
RANGES = {"n": (SPAN[0], COSTED[1]), "weights": LIMITS["rows"]}


def _find(frame: pd.DataFrame, column: str, title: str, name: str) -> tuple[str, float, str]:
    """The title of a column in the frame, the factor its numbers are to be multiplied by, and what to say of that.

    column: a field of Columns; title: what it names.

    The factor is written behind the name, `size*1e9`, or in the column's own title, `params (M)`.
    """
    if title in frame.columns:
        unit = TITLE_UNIT.search(title) if column in ("n", "d", "c", "unique") else None
        factor = UNITS[unit[1].lower()] if unit else 1.0
        return title, factor, f"{title!r} is read in units of {factor:g}, as its title says" if unit else ""
    plain, star, times = title.rpartition("*")
    if star and plain.strip() in frame.columns and NUMBER.fullmatch(times):
        return plain.strip(), _number(times), ""
    known = ", ".join(map(str, frame.columns))
    raise ValueError(f"{name}: has no column {title!r} (`{column}`); it has: {known}")


def states_unit(frame: pd.DataFrame, title: str | None) -> bool:
    """Whether a column's name, or a factor behind it, says in which unit it counts."""
    return title is not None and (title not in frame.columns or TITLE_UNIT.search(title) is not None)


def _number(text: object) -> float:
    """70M, 1.4B, 1,000,000 or 3e9 as a number; NaN where it is none."""
    number = NUMBER.fullmatch(str(text))
    return float(number[1].replace(",", "")) * UNITS.get(number[2].lower(), 1.0) if number else np.nan


def says_unit(cells: pd.Series) -> pd.Series:
    """Which cells have their unit in themselves, as 70M does."""
    return cells.map(lambda cell: bool((number := NUMBER.fullmatch(str(cell))) and number[2])).astype(bool)


def numbers_of(frame: pd.DataFrame, columns: Columns, name: str) -> tuple[pd.DataFrame, list[Caveat]]:
    """The frame's numbers under our names; what is missing is NaN, what cannot be is refused."""
    for column in ("method", "run"):
        if getattr(columns, column) is not None:
            _find(frame, column, getattr(columns, column), name)
    read = ("n", "d", "c", "loss", "share", "unique", "weights")
    (params, tokens, flops, loss, share, unique, weight), remarks = zip(
        *(_column(frame, columns, column, name) for column in read), strict=True
    )
    if columns.c and not columns.d:
        tokens = flops / (6 * params) if columns.n else flops
        _refuse_beyond(tokens, (0, SPAN[1]), f"C / 6N, with {columns.c} as C,", name)
    if not columns.c:
        flops = 6 * params * tokens
        _refuse_beyond(flops, (0, SPAN[1]), " x ".join(["6", *filter(None, (columns.n, columns.d))]), name)
    labels = [f"row {place + 1}" for place in range(len(frame))]
    run = _names(frame[columns.run]) if columns.run else pd.Series([""] * len(frame))
    numbers = {
        "name": labels,
        "method": _names(frame[columns.method]).to_numpy() if columns.method else "all",
        "run": run.to_numpy() if columns.run else labels,
        "run_given": run.to_numpy(),
        "params": params,
        "tokens": tokens,
        "flops": flops,
        "loss": loss,
        "share": np.minimum(share, 1.0),
        "unique": unique,
        "weight": weight,
    }
    return pd.DataFrame(numbers), [Caveat("units", remark) for remark in dict.fromkeys(remarks) if remark]


def _names(column: pd.Series) -> pd.Series:
    """Its cells as texts; empty ones are missing."""
    return column.astype(object).map(str, na_action="ignore")


def _column(frame: pd.DataFrame, columns: Columns, column: str, name: str) -> tuple[Array, str]:
    """The numbers of a field of Columns, in units of one, and what to say of their unit."""
    asked = getattr(columns, column)
    if asked is None:
        return np.full(len(frame), NOT_THERE[column]), ""
    title, factor, remark = _find(frame, column, asked, name)
    given = frame[title]
    values = pd.to_numeric(given, errors="coerce").to_numpy(float, copy=True)
    unread = np.isnan(values) & given.notna().to_numpy()
    values[unread] = [_number(text) for text in given[unread]]
    for place in np.flatnonzero(np.isnan(values) & given.notna().to_numpy()):
        raise ValueError(f"{name}: row {place + 1}: {title} is {given.iloc[place]!r}, not a number")
    for place in np.flatnonzero(says_unit(given)) if factor != 1 else ():
        raise ValueError(
            f"{name}: row {place + 1}: {title} is {given.iloc[place]!r}, with its unit in the cell; times {factor:g} "
            f"it would count twice: give `{column}`='{title}*1', or every cell without a unit"
        )
    with np.errstate(over="ignore"):  # what is infinite then is refused
        values *= factor
    wrong = values < 0 if column == "d" else values <= 0  # a run that saw no tokens is left out with that reason
    for place in np.flatnonzero(wrong):
        wanted = "0 or more" if column == "d" else "positive"
        raise ValueError(f"{name}: row {place + 1}: {title} is {values[place]:g}; it must be {wanted}")
    # An infinite loss is a run that failed, and is left out with that reason.
    finite = np.where(np.isinf(values), np.nan, values) if column == "loss" else values
    _refuse_beyond(finite, RANGES.get(column, SPAN), asked, name)
    return values, remark


def _refuse_beyond(values: Array, limits: tuple[float, float], what: str, name: str) -> None:
    """Raises ValueError for a number outside the limits, but for 0, which a run without tokens has."""
    low, high = limits
    for place in np.flatnonzero((values > high) | ((values > 0) & (values < low))):
        raise ValueError(
            f"{name}: row {place + 1}: {what} is {values[place]:g}; it must be between {low:g} and {high:g}"
        )
