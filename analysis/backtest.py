"""Which family to trust: how well each, fitted to smaller runs, predicts larger ones that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.families import Array, Rows, Shape
from analysis.solver import Problem, solve

MAX_WINDOWS = 4  # an axis
ROUGH = (1e-6, 60)  # tolerance and steps: errors of percents are compared, not coefficients


@dataclass(frozen=True)
class Candidate:
    """A family, and whether its methods share exponents."""

    family: str
    shape: Shape
    shared: bool = False

    @property
    def label(self) -> str:
        return self.family + (", shared exponents" if self.shared else "")


@dataclass(frozen=True)
class Score:
    """Mean absolute log error on unseen larger runs, its standard error, and the number of runs predicted.

    excess, excess_se: the same of the difference to the best candidate.
    """

    error: float
    se: float
    predicted: int
    excess: float = 0.0
    excess_se: float = 0.0


def windows(rows: Rows, needed: int) -> tuple[Array, Array]:
    """Train and test weights [windows, rows]: expanding in C, then in N, each method cut at its own levels.

    The smaller levels are fitted, all larger ones predicted. needed: rows a method must have left to be fitted.
    """
    train, test = [], []
    for values in (rows.flops, rows.N):
        cuts = [_cuts(values[rows.group == g]) for g in range(rows.group.max() + 1)]
        for w in range(min(MAX_WINDOWS, max(len(c) for c in cuts))):
            below = np.zeros(len(rows), dtype=bool)
            for g, ends in enumerate(cuts):
                mine = rows.group == g
                if w < len(ends) and (values[mine] <= ends[w]).sum() >= needed:
                    below |= mine & (values <= ends[w])
            tried = np.isin(rows.group, np.unique(rows.group[below]))  # methods that this window can fit
            if below.any():
                train.append(below)
                test.append(tried & ~below)
    shape = (-1, len(rows))
    return np.array(train, float).reshape(shape), np.array(test, float).reshape(shape)


def _cuts(values: Array) -> Array:
    """Ends of the fitted part, in ascending order: between levels where there are few, at quantiles where many."""
    ordered = np.sort(values)
    levels = ordered[np.append(np.diff(np.log(ordered)) > 0.1, True)]  # budgets differ a little within a level
    if len(levels) > 12:
        levels = np.quantile(ordered, np.linspace(0, 1, 9)[1:])
    return levels[(len(levels) - 1) // 2 : -1][-MAX_WINDOWS:] if len(levels) > 2 else levels[:0]


def score(candidates: Sequence[Candidate], rows: Rows, delta: float) -> dict[str, Score]:
    """Backtest of each candidate on the same windows; empty where no window leaves enough rows."""
    train, test = windows(rows, max(candidate.shape.size for candidate in candidates) + 1)
    if not len(train):
        return {}
    errors = {candidate.label: _errors(candidate, rows, train, test, delta) for candidate in candidates}
    best = min(errors, key=lambda label: errors[label].mean())
    return {label: _score(error, errors[best]) for label, error in errors.items()}


def testable(candidates: Sequence[Candidate], rows: Rows) -> list[Candidate]:
    """The candidates whose coefficients are few enough for some window to fit them with a row to spare."""
    sizes = sorted({candidate.shape.size for candidate in candidates}, reverse=True)
    largest = next((size for size in sizes if len(windows(rows, size + 1)[0])), 0)
    return [candidate for candidate in candidates if candidate.shape.size <= largest]


def _errors(candidate: Candidate, rows: Rows, train: Array, test: Array, delta: float) -> Array:
    """Absolute log error of each row that some window predicts, averaged over those windows."""
    predicted = np.empty_like(train)
    groups = int(rows.group.max()) + 1
    if candidate.shared:
        problem = Problem(candidate.shape, rows, groups)
        predicted = problem.predict(solve(problem, train, delta, *ROUGH).theta, slopes=False)[0]
    for g in [] if candidate.shared else range(groups):
        mine = rows.group == g
        alone = rows.take(mine)
        alone = Rows(**{**alone.__dict__, "group": np.zeros(len(alone), dtype=int)})
        problem = Problem(candidate.shape, alone)
        predicted[:, mine] = problem.predict(solve(problem, train[:, mine], delta, *ROUGH).theta, slopes=False)[0]
    misses = np.abs(np.log(rows.loss) - predicted) * test
    often = test.sum(axis=0)
    return misses.sum(axis=0)[often > 0] / often[often > 0]


def _score(error: Array, best: Array) -> Score:
    more = error - best
    root = np.sqrt(len(error))
    return Score(
        float(error.mean()), float(error.std() / root), len(error), float(more.mean()), float(more.std() / root)
    )


def choose(candidates: Sequence[Candidate], scores: dict[str, Score], groups: int) -> Candidate:
    """The candidate with the fewest coefficients whose error is within one standard error of the best one's."""

    def coefficients(candidate: Candidate) -> int:
        linear, curved = len(candidate.shape.linear), len(candidate.shape.curved)
        return linear * groups + curved * (1 if candidate.shared else groups)

    near = [c for c in candidates if scores[c.label].excess <= scores[c.label].excess_se]
    return min(near, key=lambda c: (coefficients(c), scores[c.label].error))
