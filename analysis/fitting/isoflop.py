"""The classic cross-check: at one budget, the size at the bottom of a parabola through log loss against log N.

It uses no law. A parabola that opens downward, or whose bottom lies outside the tried sizes, has no size to report.
The compute-optimal exponents are the slopes of ln N and ln D at those bottoms against ln C (Hoffmann et al. 2022, 3.2).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.frontier import Spending, budget_levels
from analysis.tables.rows import Array
from planner.law_book import MethodLaw


@dataclass(frozen=True)
class Bottom:
    """Best size at one budget."""

    budget: float
    """Training FLOPs."""
    params: float | None
    """N at the bottom of the parabola; None where it has none to report."""
    law_params: float
    """N of the lowest loss by the law, between the tried sizes."""
    reason: str = ""
    """Why the parabola has none."""


def parabola(sizes: Array, losses: Array, flops: Array | None = None) -> tuple[float | None, str]:
    """The size at the bottom of a parabola of ln loss in ln N, or None and why there is none.

    flops: what each run spent, where budgets differ within the level: then a slope in ln C is fitted beside it.
    """
    if len(np.unique(sizes)) < 4:
        return None, f"{len(np.unique(sizes))} sizes; a parabola with a check needs 4"
    x = np.log(sizes) - np.log(sizes).mean()
    terms = [x**2, x, np.ones_like(x)]
    if flops is not None and np.ptp(np.log(flops)) > 0.02 and len(x) > 5:
        terms.append(np.log(flops))
    bend, slope = np.linalg.lstsq(np.stack(terms, axis=1), np.log(losses), rcond=None)[0][:2]
    if bend <= 0:
        return None, "the parabola opens downward"
    bottom = -slope / (2 * bend)
    if not x.min() < bottom < x.max():
        side = "below" if bottom <= x.min() else "above"
        return None, f"its bottom lies {side} the tried sizes"
    return float(np.exp(bottom + np.log(sizes).mean())), ""


def bottoms(law: MethodLaw, runs: pd.DataFrame) -> list[Bottom]:
    """Parabola and law at each budget of a method's runs."""
    spending = Spending.of(runs)
    at_levels = []
    for level in budget_levels(runs["flops"].to_numpy(float)):
        some = runs[(runs["flops"] >= level.low) & (runs["flops"] <= level.high)]
        sizes = some["params"].to_numpy(float)
        params, reason = parabola(sizes, some["loss"].to_numpy(float), some["flops"].to_numpy(float))
        at_levels.append(Bottom(level.middle, params, _best_size(law, spending, level.middle, sizes), reason))
    return at_levels


def _best_size(law: MethodLaw, spending: Spending, budget: float, sizes: Array) -> float:
    """The law's best size between the tried ones, as the parabola's bottom is."""
    grid = np.geomspace(sizes.min(), sizes.max(), 400)
    losses = law.law.at(grid, spending.tokens(budget, grid), spending.share(grid), spending.unique)
    return float(grid[np.argmin(losses)])


def cross_check(law: MethodLaw, runs: pd.DataFrame) -> dict[str, Any]:
    """The bottoms, and the compute-optimal exponents of N and D by them and by the law at the same budgets.

    Exponents are None with fewer than two bottoms; their standard errors with fewer than three.
    """
    every = bottoms(law, runs)
    known = [(b.budget, b.params, b.law_params) for b in every if b.params is not None]
    record: dict[str, Any] = {"bottoms": [asdict(b) for b in every], "exponents": None, "law_exponents": None}
    if len(known) >= 2:
        budgets, params, by_law = (np.array(column) for column in zip(*known, strict=True))
        spending = Spending.of(runs)
        record["exponents"] = _exponents(budgets, params, spending)
        record["law_exponents"] = _exponents(budgets, by_law, spending)
    return record


def _exponents(budgets: Array, params: Array, spending: Spending) -> dict[str, float | None]:
    (n, n_se), (d, d_se) = (_slope(budgets, y) for y in (params, spending.tokens(budgets, params)))
    return {"N": n, "N_se": n_se, "D": d, "D_se": d_se}


def _slope(budgets: Array, values: Array) -> tuple[float, float | None]:
    """d ln(values) / d ln(budgets) by least squares, and its standard error."""
    x, y = np.log(budgets) - np.log(budgets).mean(), np.log(values) - np.log(values).mean()
    slope = (x * y).sum() / (x**2).sum()
    left = ((y - slope * x) ** 2).sum()
    return float(slope), float(np.sqrt(left / (len(x) - 2) / (x**2).sum())) if len(x) > 2 else None
