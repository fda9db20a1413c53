"""Laws along budgets: what a budget buys at each size, the best loss it gives, and where the best method changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.families import Array
from planner.laws import MethodLaw

LEVELS = 6  # budgets looked at where runs do not come in budgets
NEAR = 1.3  # factor within which a run then counts as one of that budget


@dataclass(frozen=True)
class Level:
    """Runs of about one budget: from `low` to `high` FLOPs, `middle` at their median."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Band:
    """Losses of a law and their 90 % interval; draws [draws, points]: of each bootstrap draw."""

    middle: Array
    low: Array
    high: Array
    draws: Array


@dataclass(frozen=True)
class Crossing:
    """`after` becomes better than `before` at `budget` FLOPs; low, high: 90 % interval over the draws that cross."""

    before: str
    after: str
    budget: float
    low: float
    high: float


@dataclass(frozen=True)
class Spending:
    """What a budget buys: FLOPs per parameter and token at each size, the trained share, and the unique tokens."""

    log_sizes: Array
    log_rates: Array
    shares: Array
    unique: float

    @classmethod
    def of(cls, runs: pd.DataFrame) -> Spending:
        rate = np.log(runs["flops"] / (runs["params"] * runs["tokens"]))
        by_size = pd.DataFrame({"rate": rate, "share": runs["share"]}).groupby(np.log(runs["params"])).mean()
        unique = float(runs["unique"].max())
        return cls(by_size.index.to_numpy(float), by_size["rate"].to_numpy(), by_size["share"].to_numpy(), unique)

    def tokens(self, budget: Array | float, sizes: Array) -> Array:
        """Tokens that `budget` FLOPs buy at each size; cost per token interpolated between the tried sizes."""
        return budget / (sizes * np.exp(np.interp(np.log(sizes), self.log_sizes, self.log_rates)))

    def share(self, sizes: Array) -> Array:
        return np.interp(np.log(sizes), self.log_sizes, self.shares)


def budget_levels(flops: Array) -> list[Level]:
    """Budgets that runs come in; where they do not, runs near some evenly spread in log FLOPs."""
    ordered = np.sort(flops)
    groups = np.split(ordered, np.flatnonzero(np.diff(np.log(ordered)) > 0.1) + 1)
    if len(groups) > 12 or (len(groups) < 3 and ordered[-1] > 4 * ordered[0]):
        middles = np.geomspace(ordered[0], ordered[-1], LEVELS + 2)[1:-1]
        groups = [ordered[np.abs(np.log(ordered / middle)) < np.log(NEAR)] for middle in middles]
    return [Level(float(g[0]), float(np.median(g)), float(g[-1])) for g in groups if len(g)]


def law_losses(law: MethodLaw, sizes: Array, tokens: Array, spending: Spending) -> Band:
    """Losses of the law and its draws at sizes and tokens, any shape."""
    share = spending.share(sizes)
    middle = law.law.at(sizes, tokens, share, spending.unique)
    draws = np.stack([draw.at(sizes, tokens, share, spending.unique) for draw in law.draws])
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return Band(middle, low, high, draws)


def frontier(law: MethodLaw, runs: pd.DataFrame, budgets: Array) -> Band:
    """Best loss of the method at each budget over the tried range of sizes."""
    spending = Spending.of(runs)
    sizes = np.geomspace(*law.span.params, 60)[:, None]
    band = law_losses(law, sizes, spending.tokens(budgets[None], sizes), spending)
    draws = band.draws.min(axis=1)
    return Band(band.middle.min(axis=0), *np.quantile(draws, [0.05, 0.95], axis=0), draws)


def crossings(names: Sequence[str], lines: Sequence[Band], budgets: Array) -> list[Crossing]:
    """Where the best method changes along `budgets`. The interval is over the draws in which the two cross at all."""
    best = np.argmin([line.middle for line in lines], axis=0)
    found = []
    for at in np.flatnonzero(np.diff(best)):
        before, after = int(best[at]), int(best[at + 1])
        gap = lines[before].draws - lines[after].draws  # turns positive where `after` wins
        sure = [_turn(row, budgets) for row in gap]
        known = np.array([x for x in sure if x is not None])
        here = _turn(lines[before].middle - lines[after].middle, budgets)
        if here is not None and len(known):
            found.append(Crossing(names[before], names[after], here, *map(float, np.quantile(known, [0.05, 0.95]))))
    return found


def _turn(gap: Array, budgets: Array) -> float | None:
    """Budget at which gap turns from negative to positive, interpolated in log budget; None where it never does."""
    turns = np.flatnonzero((gap[:-1] <= 0) & (gap[1:] > 0))
    if not len(turns):
        return None
    i = turns[0]
    part = -gap[i] / (gap[i + 1] - gap[i])
    return float(np.exp(np.log(budgets[i]) + part * np.log(budgets[i + 1] / budgets[i])))
