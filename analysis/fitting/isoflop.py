"""isoFLOP minima: the size of the lowest loss at each budget, without a law, carried on as a power law of the budget.

A valley that opens downward, or whose bottom lies outside the tried sizes, has no size to report. N*(C) through the
others is the rival of the law: analysis/fitting/decisions.py tells which of the two chooses better.
(Hoffmann et al. 2022, 3.2, with parabolas.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.fitting.valleys import FEWEST_SIZES, SAME_BUDGET, Levels, Valleys, resampled, valleys
from analysis.frontier import Level, Spending, at_level, budget_levels
from analysis.tables.rows import Array
from planner.law_book import MethodLaw

RESAMPLES = 200  # behind errors and intervals; the law book keeps them
SEED = 0
FEWEST_BOTTOMS = 3  # of which a line is carried on: through two any line goes, and nothing tells how well
MOST_LOST = 0.3  # share of the resamples in which a valley may open downward
LEAST_ERROR = 1e-3  # of a bottom, in ln N: without noise all count alike
ENDS = (0.05, 0.95)


@dataclass(frozen=True)
class Bottom:
    """Best size at one budget."""

    budget: float
    """Training FLOPs."""
    params: float | None
    """N at the bottom of the valley; None where it has none to report."""
    interval: tuple[float, float] | None = None
    """90 % interval of that; None with it."""
    reason: str = ""
    """Why there is none."""


@dataclass(frozen=True)
class PowerLaw:
    """N*(C) = exp(log_params) (C / budget)^exponent, the line through the bottoms."""

    budget: float
    """C in the middle of the bottoms, FLOPs."""
    largest: float
    """C of the last of them, FLOPs."""
    exponent: float
    """d ln N* / d ln C."""
    log_params: float
    """ln N* at `budget`."""
    exponents: Array
    """The exponent in each resample."""
    logs: Array
    """ln N* at `budget` in each resample."""

    def params(self, budget: float) -> float:
        """N* at a budget, FLOPs."""
        return float(np.exp(self.log_params + self.exponent * np.log(budget / self.budget)))

    def to_json(self) -> dict[str, Any]:
        drawn = {"exponent": self.exponents, "log_params": self.logs}
        return {
            "budget": self.budget,
            "largest": self.largest,
            "exponent": self.exponent,
            "log_params": self.log_params,
            "intervals": {name: np.quantile(values, ENDS).tolist() for name, values in drawn.items()},
            "draws": {name: values.tolist() for name, values in drawn.items()},
        }


@dataclass(frozen=True)
class Minima:
    """The isoFLOP minima of one method's runs."""

    bottoms: tuple[Bottom, ...]
    """One for each budget, smallest first."""
    line: PowerLaw | None
    """None with fewer than FEWEST_BOTTOMS of them."""
    known: Array
    """ln N of the bottoms that there are [known]."""
    drawn: Array
    """The same in each resample [draws, known]; nan where a valley has none to report."""
    weights: Array
    """What each counts in the line [known]: 1 / variance."""
    slope: float
    """d ln L / d ln C between runs of one level; 0 where they spent the same."""

    @property
    def budgets(self) -> Array:
        """C of the bottoms that there are [known]."""
        return np.array([bottom.budget for bottom in self.bottoms if bottom.params is not None])


def minima(runs: pd.DataFrame, levels: Sequence[Level], resamples: int = RESAMPLES) -> Minima:
    """The minima of one method's runs (columns as in Table.rows) at these budgets; without resamples no intervals."""
    levels, sizes = _with_sizes(runs, levels)
    enough = [level for level, count in zip(levels, sizes, strict=True) if count >= FEWEST_SIZES]
    few = {
        level.middle: Bottom(level.middle, None, reason=f"{count} sizes; a minimum with a check needs {FEWEST_SIZES}")
        for level, count in zip(levels, sizes, strict=True)
        if count < FEWEST_SIZES
    }
    if not enough:
        none = np.zeros(0)
        return Minima(tuple(few.values()), None, none, np.zeros((resamples, 0)), none, 0.0)
    at = Levels.of(runs, enough)
    found = valleys(at, at.loss[None])
    draws = resampled(at, found, resamples, SEED).bottoms if resamples else np.zeros((0, len(enough)))
    bottoms = few | {bottom.budget: bottom for bottom in _bottoms(at, found, draws)}
    inside = np.array([bottoms[level.middle].params is not None for level in enough])
    low, high = at.ends
    known, drawn = found.bottoms[0][inside], np.where((draws > low) & (draws < high), draws, np.nan)[:, inside]
    weights = 1 / np.maximum(found.errors[0][inside], LEAST_ERROR) ** 2
    line = _line(at.budgets[inside], known, drawn, weights) if inside.sum() >= FEWEST_BOTTOMS else None
    return Minima(tuple(bottoms[level.middle] for level in levels), line, known, drawn, weights, float(found.slope[0]))


def _with_sizes(runs: pd.DataFrame, levels: Sequence[Level]) -> tuple[list[Level], list[int]]:
    """The levels that have runs, and how many sizes each has."""
    flops, params = runs["flops"].to_numpy(float), runs["params"].to_numpy(float)
    counts = [len(np.unique(params[(flops >= level.low) & (flops <= level.high)])) for level in levels]
    return [level for level, count in zip(levels, counts, strict=True) if count], [count for count in counts if count]


def line_of(runs: pd.DataFrame) -> PowerLaw | None:
    """The line through the minima of one method's runs, its draws left out; None where they are too few."""
    levels = budget_levels(runs["flops"].to_numpy(float))
    if sum(count >= FEWEST_SIZES for count in _with_sizes(runs, levels)[1]) < FEWEST_BOTTOMS:
        return None
    return minima(runs, levels, resamples=0).line


def slope_of(runs: pd.DataFrame) -> float:
    """d ln L / d ln C between runs of about one budget; 0 where runs come in budgets that are the same for all."""
    levels = budget_levels(runs["flops"].to_numpy(float))
    if all(np.log(level.high / level.low) < SAME_BUDGET for level in levels):
        return 0.0
    return minima(runs, levels, resamples=0).slope


def _bottoms(levels: Levels, found: Valleys, draws: Array) -> list[Bottom]:
    """Each level's bottom, or why it has none; draws [draws, levels]."""
    bottoms = []
    for place, (budget, bottom) in enumerate(zip(levels.budgets.tolist(), found.bottoms[0], strict=True)):
        low, high = (ends[place] for ends in levels.ends)
        if np.isnan(bottom):
            bottoms.append(Bottom(budget, None, reason="the valley opens downward"))
        elif not low < bottom < high:
            side = "below" if bottom <= low else "above"
            bottoms.append(Bottom(budget, None, reason=f"its bottom lies {side} the tried sizes"))
        elif len(draws) and np.isnan(draws[:, place]).mean() > MOST_LOST:
            bottoms.append(Bottom(budget, None, reason="its valley is no deeper than the noise of runs"))
        else:
            low, high = np.exp(np.nanquantile(draws[:, place], ENDS)) if len(draws) else (0.0, np.inf)
            bottoms.append(Bottom(budget, float(np.exp(bottom)), (float(low), float(high))))
    return bottoms


def _line(budgets: Array, known: Array, drawn: Array, weights: Array) -> PowerLaw:
    """The line through the bottoms and through those of each resample.

    Where the bottoms scatter about it by more than their errors, something other than the noise of runs moves them, and
    the spread of the draws grows as much (Birge 1932).
    """
    x = np.log(budgets)
    middle = float((weights * x).sum() / weights.sum())
    slopes, logs = through(x - middle, np.vstack([known, drawn]), weights)
    left = known - logs[0] - slopes[0] * (x - middle)
    wider = max(1.0, float(np.sqrt((weights * left**2).sum() / (len(x) - 2))))
    exponents, heights = (values[0] + wider * (values[1:] - values[0]) for values in (slopes, logs))
    return PowerLaw(float(np.exp(middle)), float(budgets[-1]), float(slopes[0]), float(logs[0]), exponents, heights)


def through(x: Array, y: Array, weights: Array) -> tuple[Array, Array]:
    """Slope and height at x = 0 of the weighted line through each row of y [draws, known]; nan in y is left out.

    Rows with fewer than two values have the slope and height of the first row.
    """
    there: NDArray[np.bool_] = ~np.isnan(y)
    w = np.where(there, weights, 0.0)
    values = np.where(there, y, 0.0)
    total, first, second = w.sum(axis=1), (w * x).sum(axis=1), (w * x**2).sum(axis=1)
    height, product = (w * values).sum(axis=1), (w * x * values).sum(axis=1)
    spread = total * second - first**2
    enough = (there.sum(axis=1) > 1) & (spread > 0)
    safe = np.where(enough, spread, 1.0)
    slopes, heights = (total * product - first * height) / safe, (second * height - first * product) / safe
    return np.where(enough, slopes, slopes[0]), np.where(enough, heights, heights[0])


def cross_check(law: MethodLaw, runs: pd.DataFrame) -> dict[str, Any]:
    """The minima beside the law's, the line that carries them on, and both exponents of N and D at the same budgets.

    Exponents are None with fewer than two bottoms, the line with fewer than FEWEST_BOTTOMS.
    """
    levels, spending = budget_levels(runs["flops"].to_numpy(float)), Spending.of(runs)
    found = minima(runs, levels)
    by_law = {
        level.middle: _best_size(law, spending, level.middle, at_level(runs, level)["params"].to_numpy(float))
        for level in levels
    }
    record: dict[str, Any] = {
        "bottoms": [{**asdict(bottom), "law_params": by_law[bottom.budget]} for bottom in found.bottoms],
        "exponents": None,
        "law_exponents": None,
        "line": found.line.to_json() if found.line else None,
    }
    if len(found.known) >= 2:
        law_sizes = np.log([by_law[budget] for budget in found.budgets])
        record["exponents"] = _exponents(found, spending, np.vstack([found.known, found.drawn]))
        record["law_exponents"] = _exponents(found, spending, law_sizes[None])
    return record


def _best_size(law: MethodLaw, spending: Spending, budget: float, sizes: Array) -> float:
    """The law's best size between the tried ones, as a bottom is."""
    grid = np.geomspace(sizes.min(), sizes.max(), 400)
    losses = law.law.at(grid, spending.tokens(budget, grid), spending.share(grid), spending.unique)
    return float(grid[np.argmin(losses)])


def _exponents(found: Minima, spending: Spending, logs: Array) -> dict[str, float | None]:
    """Of N and of D = C / (FLOPs a token), by ln N [1 + draws, known]; errors are of the draws."""
    tokens = np.log(spending.tokens(found.budgets, np.exp(logs)))
    x = np.log(found.budgets)
    (n, _), (d, _) = (through(x - x.mean(), y, found.weights) for y in (logs, tokens))
    if len(logs) == 1:
        return {"N": float(n[0]), "D": float(d[0]), "N_se": None, "D_se": None}
    wider = float(np.std(found.line.exponents) / np.std(n[1:])) if found.line and np.std(n[1:]) else 1.0
    errors = {"N_se": wider * float(np.std(n[1:])), "D_se": wider * float(np.std(d[1:]))}
    return {"N": float(n[0]), "D": float(d[0]), **errors}
