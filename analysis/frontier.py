"""Laws along budgets: what a budget buys at each size, which sizes compete, and the best size of each budget.

Which method wins, how surely and where that changes: planner/frontier.py, asked about the `contenders` from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.tables.rows import Array
from planner.candidates import Limits, candidates
from planner.frontier import Contender
from planner.law_book import LawBook, MethodLaw
from planner.menu import own_menu
from planner.sizes import Size

LEVELS = 6  # budgets looked at where runs do not come in budgets
SIZE_MARGIN = 10.0  # factor beyond the tried sizes in which the best one is looked for
MOST_SIZES = 30  # of runs from elsewhere that are compared
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
    """The runs that spent about this budget."""
    return runs[(runs["flops"] >= level.low) & (runs["flops"] <= level.high)]


def law_losses(law: MethodLaw, sizes: Array, tokens: Array, spending: Spending) -> Band:
    """Losses of the law and its draws at sizes and tokens, any shape."""
    share = spending.share(sizes)
    middle = law.law.at(sizes, tokens, share, spending.unique)
    draws = np.stack([draw.at(sizes, tokens, share, spending.unique) for draw in law.draws])
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return Band(middle, low, high, draws)


def _losses(law: MethodLaw, sizes: Array, budgets: Array, spending: Spending) -> Band:
    """Losses at sizes [sizes, 1] and budgets; infinite where there would be fewer tokens than in any run."""
    tokens = spending.tokens(budgets[None], sizes)
    band = law_losses(law, sizes, tokens, spending)
    enough = tokens >= 0.99 * law.measured.tokens[0]  # a run's steps are whole ones
    return Band(*(np.where(enough, values, np.inf) for values in (band.middle, band.low, band.high, band.draws)))


def contenders(book: LawBook, rows: pd.DataFrame) -> Sequence[Contender]:
    """What competes in the figures of a law book: what `plan` chooses among by itself.

    No recipe can be made of runs from elsewhere, or of models that are nowhere to be found: there, the tried sizes.
    """
    models, missing = own_menu(book)
    if book.training and book.pair and not missing:
        return candidates(book, models, (), Limits())[0]
    return [size for law in book.laws for size in _tried_sizes(law, rows[rows["method"] == law.label])]


def _tried_sizes(law: MethodLaw, runs: pd.DataFrame) -> list[Size]:
    """A method's sizes, or MOST_SIZES over their range where there are more."""
    spending, sizes = Spending.of(runs), np.unique(runs["params"].to_numpy(float))
    if len(sizes) > MOST_SIZES:
        sizes = np.geomspace(sizes[0], sizes[-1], MOST_SIZES)
    costs, shares = 1 / spending.tokens(1.0, sizes), spending.share(sizes)
    columns = zip(sizes.tolist(), costs.tolist(), shares.tolist(), strict=True)
    least = law.measured.tokens[0]
    return [Size(law, size, cost, share, spending.unique, least_tokens=least) for size, cost, share in columns]


def optimum(law: MethodLaw, runs: pd.DataFrame, budgets: Array) -> tuple[Band, Band]:
    """N and D of the lowest loss at each budget, and their 90 % intervals.

    Sizes up to SIZE_MARGIN times beyond the tried ones are looked at, as long as they get the tokens that some run got;
    nan where the best one lies at an end of that range, 0 or infinity where the interval does.
    """
    spending = Spending.of(runs)
    low, high = law.measured.params
    sizes = np.geomspace(low / SIZE_MARGIN, high * SIZE_MARGIN, 240)
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
    outside = np.where(np.isnan(sizes), np.nan, np.where(sizes > 0, 0.0, np.inf))
    return np.where(inside, spending.tokens(budgets, np.where(inside, sizes, 1.0)), outside)


def _bottom(losses: Array, sizes: Array) -> Array:
    """Size of the lowest of losses [draws, sizes, budgets]; 0 or infinity where it is the first or last one asked."""
    place = np.argmin(losses, axis=1)
    last = np.isfinite(losses).sum(axis=1) - 1  # what is not asked are the largest
    return np.where(place == 0, 0.0, np.where(place == last, np.inf, sizes[place]))
