"""Laws along budgets: what a budget buys at each size, the best loss it gives, and where the best method changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.tables.rows import Array
from planner.laws import MethodLaw

LEVELS = 6  # budgets looked at where runs do not come in budgets
REACH = 10.0  # factor beyond the tried sizes in which the best one is looked for
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
    """`after` becomes better than `before` at `budget` FLOPs.

    low, high: 90 % interval, 0 or infinity where it ends beyond the budgets that were looked at.
    """

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


def at_level(runs: pd.DataFrame, level: Level) -> pd.DataFrame:
    """Those of the runs that spent about this budget."""
    return runs[(runs["flops"] >= level.low) & (runs["flops"] <= level.high)]


def law_losses(law: MethodLaw, sizes: Array, tokens: Array, spending: Spending) -> Band:
    """Losses of the law and its draws at sizes and tokens, any shape."""
    share = spending.share(sizes)
    middle = law.law.at(sizes, tokens, share, spending.unique)
    draws = np.stack([draw.at(sizes, tokens, share, spending.unique) for draw in law.draws])
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return Band(middle, low, high, draws)


def frontier(law: MethodLaw, runs: pd.DataFrame, budgets: Array) -> Band:
    """Best loss of the method at each budget over the tried range of sizes; infinite where it buys none its tokens.

    Sizes whose tokens would be fewer than any run's are not asked: laws say little of hardly trained models.
    """
    spending = Spending.of(runs)
    sizes = np.geomspace(*law.measured.params, 60)[:, None]
    band = _losses(law, sizes, budgets, spending)
    draws = band.draws.min(axis=1)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0, method="nearest")
    return Band(band.middle.min(axis=0), low, high, draws)


def _losses(law: MethodLaw, sizes: Array, budgets: Array, spending: Spending) -> Band:
    """Of sizes [sizes, 1] at budgets; infinite where there would be fewer tokens than in any run."""
    tokens = spending.tokens(budgets[None], sizes)
    band = law_losses(law, sizes, tokens, spending)
    enough = tokens >= 0.99 * law.measured.tokens[0]  # a run's steps are whole ones
    return Band(*(np.where(enough, values, np.inf) for values in (band.middle, band.low, band.high, band.draws)))


def crossings(names: Sequence[str], lines: Sequence[Band], budgets: Array) -> list[Crossing]:
    """Where the best method changes along `budgets`."""
    best = np.argmin([line.middle for line in lines], axis=0)
    found = []
    for at in np.flatnonzero(np.diff(best)):
        before, after = int(best[at]), int(best[at + 1])
        if not np.isfinite(lines[after].middle[at]):
            continue  # it wins from the first budget that pays for its tokens: nothing is crossed
        here = _turn(_gap(lines[before].middle, lines[after].middle), budgets, budgets[at])
        drawn = [_turn(gap, budgets, here) for gap in _gap(lines[before].draws, lines[after].draws)]
        # Nearest ranks: a mean of a finite crossing and one beyond the budgets would mean nothing.
        low, high = np.quantile(drawn, [0.05, 0.95], method="nearest")
        found.append(Crossing(names[before], names[after], here, float(low), float(high)))
    return found


def _gap(before: Array, after: Array) -> Array:
    """By how much the first lies above the second; a loss that is infinite lies above all others."""
    return np.nan_to_num(before, posinf=1e6) - np.nan_to_num(after, posinf=1e6)


def _turn(gap: Array, budgets: Array, near: float) -> float:
    """Budget nearest to `near` at which gap turns positive; 0 or infinity where it always or never is."""
    turns = np.flatnonzero((gap[:-1] <= 0) & (gap[1:] > 0))
    if not len(turns):
        return 0.0 if gap[-1] > 0 else np.inf
    part = -gap[turns] / (gap[turns + 1] - gap[turns])
    places = np.log(budgets[turns]) + part * np.log(budgets[turns + 1] / budgets[turns])
    return float(np.exp(places[np.argmin(np.abs(places - np.log(near)))]))


def chances(lines: Sequence[Band]) -> Array:
    """Probability that each line is the lowest, over the paired draws [lines, points]."""
    count = min(len(line.draws) for line in lines)
    winner = np.argmin([line.draws[:count] for line in lines], axis=0)  # [draws, points]
    return np.stack([(winner == place).mean(axis=0) for place in range(len(lines))])


def optimum(law: MethodLaw, runs: pd.DataFrame, budgets: Array) -> tuple[Band, Band]:
    """N and D of the lowest loss at each budget, and their 90 % intervals.

    Sizes up to REACH times beyond the tried ones are looked at, as long as they get the tokens that some run got; nan
    where the best one lies at an end of that range, 0 or infinity where the interval does.
    """
    spending = Spending.of(runs)
    low, high = law.measured.params
    sizes = np.geomspace(low / REACH, high * REACH, 240)
    losses = _losses(law, sizes[:, None], budgets, spending)
    drawn = _bottom(losses.draws, sizes)
    middle = _bottom(losses.middle[None], sizes)[0]
    middle = np.where((middle > 0) & np.isfinite(middle), middle, np.nan)
    ends = np.quantile(drawn, [0.05, 0.95], axis=0, method="nearest")
    params = Band(middle, ends[0], ends[1], drawn)
    return params, Band(*(_tokens(spending, budgets, values) for values in (middle, ends[1], ends[0], drawn)))


def _tokens(spending: Spending, budgets: Array, sizes: Array) -> Array:
    """Tokens at these sizes, which may be 0, infinite or unknown."""
    inside = np.isfinite(sizes) & (sizes > 0)
    beyond = np.where(np.isnan(sizes), np.nan, np.where(sizes > 0, 0.0, np.inf))
    return np.where(inside, spending.tokens(budgets, np.where(inside, sizes, 1.0)), beyond)


def _bottom(losses: Array, sizes: Array) -> Array:
    """Size of the lowest of losses [draws, sizes, budgets]; 0 or infinity where it is the first or last one asked."""
    place = np.argmin(losses, axis=1)
    last = np.isfinite(losses).sum(axis=1) - 1  # what is not asked are the largest
    return np.where(place == 0, 0.0, np.where(place == last, np.inf, sizes[place]))
