"""Which family to trust: how well each, fitted to smaller runs, predicts larger ones that it has not seen.

Of the families that the backtest cannot tell from the best one (one standard error), the one with the most coefficients
is taken, not the one with the fewest: each window fits fewer runs than the final fit will, which favours small forms,
and a spare coefficient costs little where a missing one misleads. For the same reason special cases of another family
(tied, power) must beat it beyond doubt. Exponents are shared across methods where that is within one standard error.

Over 210 simulated sweeps (truths of these families, and such as none of them holds; noise 0.8 to 3 %) the chosen cell
at 10 times the largest budget gave away 0.7 % against 1.6 % with the fewest coefficients, 84 % of the 90 % intervals
held the truth against 77 %, and the loss was as far off (3.2 %); the plain law alone gave away 1.0 % and was off by
4.6 % (python tests/benchmarks/bench_recovery.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.problem import Problem
from analysis.fitting.shape import Shape
from analysis.fitting.solver import MAX_STEPS, TOLERANCE, huber, solve
from analysis.tables.rows import Array, Rows

MAX_WINDOWS = 4  # an axis
FEWEST_SIZES = 3
SPECIAL = {"tied": "chinchilla", "power": "multiplicative"}  # the plain law with one exponent, the other without E
BEYOND_DOUBT = 3  # standard errors by which a special case must be better than the law it is a case of
VANISHED = 1e-3  # share of the misfit; a coefficient that removes less is not there, noise gives it more
Precision = tuple[float, int]  # tolerance of the solver, and its most steps
ROUGH: Precision = (1e-6, 60)  # errors of percents are compared, not coefficients
EXACT: Precision = (TOLERANCE, MAX_STEPS)


@dataclass(frozen=True)
class FamilyChoice:
    """A law family and whether the methods share its exponents: what the backtest chooses among."""

    family: str
    """Name of the family in planner.laws.LAWS."""
    shape: Shape
    """The family as the solver sees it."""
    shared: bool = False
    """Whether all methods have the same exponents, each with factors of its own."""

    @property
    def label(self) -> str:
        return self.family + (", shared exponents" if self.shared else "")


@dataclass(frozen=True)
class Backtest:
    """How far each choice was off on the same unseen larger runs."""

    errors: Mapping[str, Array]
    """By label of the choice: absolute log errors [runs]."""
    clusters: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Which of the runs share a size, and which a budget [runs].

    One fit predicts those, so they miss together, and standard errors are clustered by both (Cameron, Gelbach and
    Miller 2011).
    """

    @property
    def predicted(self) -> int:
        """How many runs were predicted."""
        return len(next(iter(self.errors.values())))

    def error(self, label: str) -> tuple[float, float]:
        """Mean error and its standard error."""
        return self._mean(self.errors[label])

    def behind(self, label: str, other: str) -> tuple[float, float]:
        """By how much the mean error exceeds that of `other`, and the standard error of that."""
        return self._mean(self.errors[label] - self.errors[other])

    def _mean(self, values: Array) -> tuple[float, float]:
        gaps, (first, second) = values - values.mean(), self.clusters
        both = np.unique(np.stack([first, second]), axis=1, return_inverse=True)[1].ravel()
        by_size, by_budget, by_both = (_clustered(gaps, members) for members in (first, second, both))
        return float(values.mean()), float(np.sqrt(max(by_size + by_budget - by_both, by_size, by_budget)))


def _clustered(gaps: Array, members: NDArray[np.int64]) -> float:
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


def forecasts(choice: FamilyChoice, rows: Rows, needed: int, delta: float) -> Forecasts:
    """What the windows of `needed` rows a method predict; without entries where there is none."""
    along: list[str] = []
    columns: list[list[float]] = []
    for axis, values in (("C", rows.flops), ("N", rows.N)):
        train, test = _windows(rows, values, needed)
        predicted = np.exp(_predicted(choice, rows, train, delta, ROUGH)) if len(train) else train
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


def _cuts(values: Array) -> Array:
    """Ends of the fitted part, in ascending order."""
    levels = _levels(values)
    return levels[(len(levels) - 1) // 2 : -1][-MAX_WINDOWS:] if len(levels) > 2 else levels[:0]


def score(choices: Sequence[FamilyChoice], rows: Rows, delta: float) -> Backtest | None:
    """Backtest of each choice on the same windows; None where no window leaves enough rows."""
    train, test = windows(rows, max(choice.shape.size for choice in choices) + 1)
    if not len(train):
        return None
    errors = {choice.label: _errors(choice, rows, train, test, delta) for choice in choices}
    tested = rows.take(np.asarray(test.any(axis=0)))
    sizes, budgets = (np.searchsorted(_levels(values), values) for values in (tested.N, tested.flops))
    return Backtest(errors, (sizes, budgets))


def testable(choices: Sequence[FamilyChoice], rows: Rows) -> list[FamilyChoice]:
    """The choices whose coefficients are few enough for some window to fit them with a row to spare."""
    sizes = sorted({choice.shape.size for choice in choices}, reverse=True)
    largest = next((size for size in sizes if len(windows(rows, size + 1)[0])), 0)
    return [choice for choice in choices if choice.shape.size <= largest]


def _errors(choice: FamilyChoice, rows: Rows, train: Array, test: Array, delta: float) -> Array:
    """Absolute log error of each row that some window predicts, averaged over those windows."""
    misses = np.abs(np.log(rows.loss) - _predicted(choice, rows, train, delta, ROUGH)) * test
    often = test.sum(axis=0)
    return misses.sum(axis=0)[often > 0] / often[often > 0]


def _predicted(choice: FamilyChoice, rows: Rows, weights: Array, delta: float, precision: Precision = EXACT) -> Array:
    """ln predicted loss [fits, rows] of one fit for each row of weights [fits, rows]."""
    groups = int(rows.group.max()) + 1
    if choice.shared:
        problem = Problem(choice.shape, rows, groups)
        return problem.predict(solve(problem, weights, delta, *precision).theta)
    predicted = np.empty_like(weights)
    for g in range(groups):
        mine = rows.group == g
        alone = rows.take(mine)
        problem = Problem(choice.shape, replace(alone, group=np.zeros(len(alone), dtype=int)))
        predicted[:, mine] = problem.predict(solve(problem, weights[:, mine], delta, *precision).theta)
    return predicted


def choose(choices: Sequence[FamilyChoice], backtest: Backtest, rows: Rows, delta: float) -> FamilyChoice:
    """The choice to use; see the top of this file.

    Where one with fewer coefficients fits all runs as well as the one taken, it is the same law, and is named instead.
    """
    families = {c.family for c in choices}
    special = [c for c in choices if SPECIAL.get(c.family) in families]
    general = [c for c in choices if c not in special]
    best = min(general, key=lambda c: backtest.error(c.label))
    near = [c for c in general if _within(backtest.behind(c.label, best.label))]
    taken = min(near, key=lambda c: (-c.shape.size, not c.shared, backtest.error(c.label)))
    misfits = {c: _misfit(c, rows, delta) for c in near if c.shared == taken.shared}
    same = [c for c, misfit in misfits.items() if misfit <= (1 + VANISHED) * misfits[taken]]
    taken = min(same, key=lambda c: (c.shape.size, misfits[c]))
    better = [c for c in special if not _within(backtest.behind(taken.label, c.label), BEYOND_DOUBT)]
    return min(better, key=lambda c: backtest.error(c.label), default=taken)


def _within(behind: tuple[float, float], times: float = 1.0) -> bool:
    return behind[0] <= times * behind[1]


def _misfit(choice: FamilyChoice, rows: Rows, delta: float) -> float:
    predicted = _predicted(choice, rows, np.ones((1, len(rows))), delta)
    return float(huber(np.log(rows.loss) - predicted, delta).sum())
