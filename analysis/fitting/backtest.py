"""How well a family, fitted to smaller runs, predicts larger ones that it has not seen.

Windows expand in C and in N. What families are weighed by is in stacking.py, what intervals learn in model_error.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.problem import Problem
from analysis.fitting.shape import Shape
from analysis.fitting.solver import ROUGH, solve
from analysis.tables.rows import Array, Rows

MAX_WINDOWS = 4  # an axis
FEWEST_SIZES = 3


@dataclass(frozen=True)
class FamilyChoice:
    """A law family and whether the methods share its exponents: what the backtest compares."""

    family: str
    """Name of the family in planner.laws.LAWS."""
    shape: Shape
    """The family as the solver sees it."""
    shared: bool = False
    """Whether all methods have the same exponents, each with factors of its own."""

    @property
    def label(self) -> str:
        return self.family + (", shared exponents" if self.shared else "")

    def size(self, groups: int) -> int:
        """Coefficients that so many methods have together."""
        own, common = len(self.shape.linear) * groups, len(self.shape.curved)
        return own + common * (1 if self.shared else groups)


@dataclass(frozen=True)
class Backtest:
    """What each choice predicted of the same unseen larger runs."""

    measured: Array
    """ln loss of every row [rows]."""
    predicted: Mapping[str, Array]
    """By label of the choice: ln loss that fits to each window's smaller runs predict [windows, rows]."""
    fitted: Mapping[str, Array]
    """By label: ln loss that the fit to all rows has [rows]."""
    tested: NDArray[np.bool_]
    """Which rows the window has not seen and predicts [windows, rows]."""
    away: Array
    """Decades by which they lie beyond what it has seen, in C, N and D together [windows, rows]."""
    clusters: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Which of the rows that some window predicts share a size, and which a budget.

    One fit predicts those, so they miss together, and standard errors are clustered by both (Cameron, Gelbach and
    Miller 2011).
    """

    @cached_property
    def errors(self) -> dict[str, Array]:
        """By label: absolute log errors of the rows that some window predicts, averaged over those windows."""
        return {label: self.error_of(predicted) for label, predicted in self.predicted.items()}

    def error_of(self, predicted: Array) -> Array:
        """The same of other predictions of the windows [windows, rows]."""
        often = self.tested.sum(axis=0)
        misses = (np.abs(self.measured - predicted) * self.tested).sum(axis=0)
        return np.asarray(misses[often > 0] / often[often > 0])

    def mean(self, weights: Mapping[str, float]) -> Array:
        """ln loss that the mean of choices predicts, by label -> weight [windows, rows]."""
        return _mean(self.predicted, weights)

    def fitted_mean(self, weights: Mapping[str, float]) -> Array:
        """ln loss that the mean of the fits to all rows has, by label -> weight [rows]."""
        return _mean(self.fitted, weights)

    @property
    def rows(self) -> int:
        """How many runs were predicted."""
        return int(self.tested.any(axis=0).sum())

    def error(self, label: str) -> tuple[float, float]:
        """Mean error and its standard error."""
        return self.summary(self.errors[label])

    def summary(self, values: Array) -> tuple[float, float]:
        """Mean of values of the predicted runs, and its standard error."""
        gaps, (first, second) = values - values.mean(), self.clusters
        both = np.unique(np.stack([first, second]), axis=1, return_inverse=True)[1].ravel()
        by_size, by_budget, by_both = (clustered_variance(gaps, members) for members in (first, second, both))
        return float(values.mean()), float(np.sqrt(max(by_size + by_budget - by_both, by_size, by_budget)))


def _mean(logs: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    """ln of the mean loss, by label: ln losses of any one shape."""
    return np.log(np.asarray(sum(weight * np.exp(logs[label]) for label, weight in weights.items())))


def clustered_variance(gaps: Array, members: NDArray[np.int64]) -> float:
    """Variance of the mean of values that are alike within a cluster; gaps: from their mean."""
    sums = np.bincount(members, gaps)[np.unique(members)]
    if len(sums) == 1:
        return 0.0  # nothing to compare it with
    return float((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(gaps) ** 2


def windows(rows: Rows, needed: int) -> tuple[Array, Array]:
    """Train and test weights [windows, rows]: expanding in C, then in N, each method cut at its own levels.

    The smaller levels are fitted, all larger ones predicted. needed: rows a method must have left to be fitted; of
    several sizes three must be left too, for two identify no exponent.
    """
    train, test = zip(*(_windows(rows, values, needed) for values in (rows.flops, rows.N)), strict=True)
    return np.concatenate(train), np.concatenate(test)


def _windows(rows: Rows, values: Array, needed: int) -> tuple[Array, Array]:
    """The windows that expand along one axis; values [rows]: where the rows lie on it."""
    train, test = [], []
    cuts = [_cuts(values[rows.group == g]) for g in range(rows.group.max() + 1)]
    for w in range(min(MAX_WINDOWS, max(len(c) for c in cuts))):
        below = np.zeros(len(rows), dtype=bool)
        for g, ends in enumerate(cuts):
            mine = rows.group == g
            fitted = mine & (values <= ends[w]) if w < len(ends) else mine & False
            if fitted.sum() >= needed and _sizes(rows, fitted) >= min(FEWEST_SIZES, _sizes(rows, mine)):
                below |= fitted
        tried = np.isin(rows.group, np.unique(rows.group[below]))  # methods that this window can fit
        if below.any():
            train.append(below)
            test.append(tried & ~below)
    shape = (-1, len(rows))
    return np.array(train, float).reshape(shape), np.array(test, float).reshape(shape)


@dataclass(frozen=True)
class Forecasts:
    """Runs as fits to smaller ones predicted them, one entry for each window and run."""

    along: Sequence[str]
    """The axis along which the window expands, "C" or "N"."""
    place: NDArray[np.int64]
    """Number of the run among the rows."""
    predicted: Array
    """Its predicted loss."""
    factor: Array
    """How many times it lies beyond the largest fitted run of its method on that axis, above 1."""


def forecasts(weights: Mapping[FamilyChoice, float], rows: Rows, needed: int, delta: float) -> Forecasts:
    """What the windows of `needed` rows a method predict by the mean of families; no entries where there is none."""
    along: list[str] = []
    columns: list[list[float]] = []
    for axis, values in (("C", rows.flops), ("N", rows.N)):
        train, test = _windows(rows, values, needed)
        predicted = np.zeros_like(train)
        for choice, weight in weights.items() if len(train) else ():
            predicted += weight * np.exp(fitted_to(choice, rows, train, delta))
        for window, place in zip(*np.nonzero(test), strict=True):
            fitted = (train[window] > 0) & (rows.group == rows.group[place])
            along.append(axis)
            columns.append([place, predicted[window, place], values[place] / values[fitted].max()])
    places, predicted, factor = np.array(columns, float).reshape(-1, 3).T
    return Forecasts(along, places.astype(int), predicted, factor)


def _sizes(rows: Rows, which: NDArray[np.bool_]) -> int:
    return len(np.unique(rows.N[which]))


def _levels(values: Array) -> Array:
    """Upper ends of the levels that values come in, ascending: of groups where there are few, quantiles else."""
    ordered = np.sort(values)
    levels = ordered[np.append(np.diff(np.log(ordered)) > 0.1, True)]  # budgets differ a little within a level
    return levels if len(levels) <= 12 else np.quantile(ordered, np.linspace(0, 1, 9)[1:])


def levels_of(values: Array) -> NDArray[np.int64]:
    """Number of the level that each value lies in, ascending from 0."""
    return np.searchsorted(_levels(values), values)


def _cuts(values: Array) -> Array:
    """Ends of the fitted part, in ascending order."""
    levels = _levels(values)
    return levels[(len(levels) - 1) // 2 : -1][-MAX_WINDOWS:] if len(levels) > 2 else levels[:0]


def score(choices: Sequence[FamilyChoice], rows: Rows, delta: float) -> Backtest | None:
    """Backtest of each choice on the same windows; None where no window leaves enough rows."""
    train, test = windows(rows, max(choice.shape.size for choice in choices) + 1)
    if not len(train):
        return None
    weights = np.concatenate([train, np.ones((1, len(rows)))])
    predicted = {choice.label: fitted_to(choice, rows, weights, delta) for choice in choices}
    tested = rows.take(np.asarray(test.any(axis=0)))
    sizes, budgets = (levels_of(values) for values in (tested.N, tested.flops))
    away = np.stack([_away(rows, below > 0) for below in train])
    unseen = {label: values[:-1] for label, values in predicted.items()}
    seen = {label: values[-1] for label, values in predicted.items()}
    return Backtest(np.log(rows.loss), unseen, seen, test > 0, away, (sizes, budgets))


def _away(rows: Rows, seen: NDArray[np.bool_]) -> Array:
    """Decades [rows] by which rows lie beyond the seen ones of their method, a sum of squares over C, N and D."""
    squares = np.zeros(len(rows))
    for g in np.unique(rows.group[seen]):
        mine = rows.group == g
        for values in (rows.flops, rows.N, rows.D):
            logs = np.log10(values[mine])
            low, high = logs[seen[mine]].min(), logs[seen[mine]].max()
            squares[mine] += np.maximum(np.maximum(logs - high, low - logs), 0) ** 2
    return np.sqrt(squares)


def testable(choices: Sequence[FamilyChoice], rows: Rows) -> list[FamilyChoice]:
    """The choices whose coefficients are few enough for some window to fit them with a row to spare."""
    sizes = sorted({choice.shape.size for choice in choices}, reverse=True)
    largest = next((size for size in sizes if len(windows(rows, size + 1)[0])), 0)
    return [choice for choice in choices if choice.shape.size <= largest]


def fitted_to(choice: FamilyChoice, rows: Rows, weights: Array, delta: float) -> Array:
    """ln predicted loss [fits, rows] of one rough fit for each row of weights [fits, rows]."""
    groups = int(rows.group.max()) + 1
    if choice.shared:
        problem = Problem(choice.shape, rows, groups)
        return problem.predict(solve(problem, weights, delta, ROUGH).theta)
    predicted = np.empty_like(weights)
    for g in range(groups):
        mine = rows.group == g
        alone = rows.take(mine)
        problem = Problem(choice.shape, replace(alone, group=np.zeros(len(alone), dtype=int)))
        predicted[:, mine] = problem.predict(solve(problem, weights[:, mine], delta, ROUGH).theta)
    return predicted
