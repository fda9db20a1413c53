"""The classic cross-check: at one budget, the size at the bottom of a parabola through log loss against log N.

It uses no law. A parabola that opens downward, or whose bottom lies outside the tried sizes, has no size to report.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.families import Array
from analysis.frontier import Spending, budget_levels
from planner.laws import MethodLaw


@dataclass(frozen=True)
class Bottom:
    """Best size at one budget. params: by the parabola, None with the reason; law_params: by the law."""

    budget: float
    params: float | None
    law_params: float
    reason: str = ""


def parabola(sizes: Array, losses: Array) -> tuple[float | None, str]:
    """The size at the bottom of a parabola of ln loss in ln N, or None and why there is none."""
    if len(np.unique(sizes)) < 4:
        return None, f"{len(np.unique(sizes))} sizes; a parabola with a check needs 4"
    x = np.log(sizes) - np.log(sizes).mean()
    bend, slope, _ = np.polyfit(x, np.log(losses), 2)
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
    found = []
    for level in budget_levels(runs["flops"].to_numpy(float)):
        some = runs[(runs["flops"] >= level.low) & (runs["flops"] <= level.high)]
        sizes = some["params"].to_numpy(float)
        params, reason = parabola(sizes, some["loss"].to_numpy(float))
        grid = np.geomspace(sizes.min(), sizes.max(), 200)
        tokens = spending.tokens(level.middle, grid)
        losses = law.law.at(grid, tokens, spending.share(grid), spending.unique)
        found.append(Bottom(level.middle, params, float(grid[np.argmin(losses)]), reason))
    return found
