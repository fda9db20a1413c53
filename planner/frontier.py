"""Which candidate wins at a budget, how surely, and at which budgets the best method changes.

`plan`, the figures and the page ask these functions alone. A contender is a model size with a tuning method: a
Candidate of the planner, or a size that somebody's runs tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from planner.law_book import MethodLaw
from planner.laws import Law

LARGEST_BUDGET = 1e30  # FLOPs; nobody trains with more, and a grid of crossovers has to end
DRAWS = 100  # of the bootstrap, for intervals of crossovers: their 5 % and 95 % points move little beyond
NEAREST = 4  # sizes around the best one of a method: a draw shifts the best size by one or two


class Contender(Protocol):
    """A model size with a tuning method, as far as a frontier needs to know it."""

    @property
    def law(self) -> MethodLaw:
        """The law of the method."""

    def at(self, budget: float) -> Self:
        """The contender as it would train with this many FLOPs, its batch size chosen."""

    def refusal(self, budget: float) -> str:
        """Why this many FLOPs cannot train it; empty when they can."""

    def tokens(self, budget: float) -> float:
        """D: training tokens that the FLOPs buy."""

    def inputs(self, tokens: float) -> tuple[float, float, float, float]:
        """N, D, S, U as Law.at takes them."""

    def arguments(self, tokens: float) -> tuple[float, ...]:
        """Those of them that Law.loss of its law takes."""

    def loss(self, tokens: float) -> float:
        """Predicted loss, nats per pair."""

    def drift(self, tokens: float) -> Sequence[float]:
        """By what the loss of each draw is multiplied for the distance from the law's range; empty within it."""


Ends = tuple[float | None, float | None]
AnyContender = TypeVar("AnyContender", bound=Contender)


@dataclass(frozen=True)
class Odds:
    """How surely a contender is the best at a budget, over the paired bootstrap draws of the laws."""

    best: float
    """Probability, 0 to 1, of the lowest expected loss."""
    regret: float
    """Expected regret against the best contender, nats per pair."""
    share: float
    """Expected regret as a share of the loss, a mean of logs. Unlike the regret it does not weigh those draws more in
    which all losses are high, so choices go by it."""


@dataclass(frozen=True)
class Crossover:
    """A budget at which the best method changes."""

    flops: float
    """The budget, FLOPs."""
    low: float | None
    """Lower end of the 90 % interval; None where it lies below the budgets that were searched."""
    high: float | None
    """Upper end of the 90 % interval; None where it lies above the budgets that were searched."""
    below: str
    """Label of the best method at smaller budgets."""
    above: str
    """Label of the best method at larger budgets."""


@dataclass(frozen=True)
class FrontierPoint:
    """The lowest loss that a method reaches with a budget."""

    budget: float
    """FLOPs."""
    loss: float
    """Predicted loss of the best size, nats per pair."""
    low: float
    """Lower end of the 90 % interval of the law there, without the noise of a run."""
    high: float
    """Upper end of that interval."""


def odds(contenders: Sequence[Contender], budget: float) -> list[Odds] | None:
    """The odds of every contender; None when some law has no draws."""
    draws = min((len(contender.law.draws) for contender in contenders), default=0)
    if not draws:
        return None
    columns = [_column(contender, budget) for contender in contenders]
    wins, regrets = [0] * len(contenders), [0.0] * len(contenders)
    logs, least = [0.0] * len(contenders), 0.0  # sums over the draws
    for draw in range(draws):
        losses = [_drawn(laws, given, drift, draw) for laws, given, drift in columns]
        best = min(losses)
        wins[losses.index(best)] += 1
        for place, loss in enumerate(losses):
            regrets[place] += loss - best
            logs[place] += math.log(loss)
        least += math.log(best)
    return [
        Odds(win / draws, regret / draws, (log - least) / draws)
        for win, regret, log in zip(wins, regrets, logs, strict=True)
    ]


def method_odds(contenders: Sequence[Contender], budget: float) -> Mapping[str, float]:
    """Label of a method -> probability that one of its contenders is the best; empty without draws or contenders."""
    fits = ranked(contenders, budget)
    shares: dict[str, float] = {}
    for contender, chance in zip(fits, odds(fits, budget) or (), strict=False):
        shares[contender.law.label] = shares.get(contender.law.label, 0.0) + chance.best
    return shares


def ranked(contenders: Sequence[AnyContender], budget: float) -> list[AnyContender]:
    """The contenders that this budget can train, lowest predicted loss first."""
    chosen = [contender.at(budget) for contender in contenders]
    fits = [contender for contender in chosen if not contender.refusal(budget)]
    return sorted(fits, key=lambda contender: contender.loss(contender.tokens(budget)))


def by_regret(fits: Sequence[AnyContender], budget: float) -> list[tuple[AnyContender, Odds | None]]:
    """The contenders with their odds, the lowest expected regret first; in the order given without draws."""
    chances = odds(fits, budget)
    if chances is None:
        return [(contender, None) for contender in fits]
    order = sorted(range(len(fits)), key=lambda place: chances[place].share)
    return [(fits[place], chances[place]) for place in order]


def frontier(contenders: Sequence[Contender], budgets: Sequence[float]) -> list[FrontierPoint | None]:
    """What the contenders of one method reach along budgets; None where a budget can train none of them."""
    return [_point(contenders, budget) for budget in budgets]


def _point(contenders: Sequence[Contender], budget: float) -> FrontierPoint | None:
    fits = ranked(contenders, budget)
    if not fits:
        return None
    best, tokens = fits[0], fits[0].tokens(budget)
    ends = best.law.interval(*best.inputs(tokens), run=False, drift=best.drift(tokens))
    return FrontierPoint(budget, best.loss(tokens), *ends)


def best_method(contenders: Sequence[Contender], budget: float) -> str:
    """Label of the method with the lowest predicted loss; empty where the budget can train no contender."""
    fits = ranked(contenders, budget)
    return fits[0].law.label if fits else ""


def budget_grid(low: float, high: float, per_decade: int) -> list[float]:
    """Log-spaced budgets, both ends among them."""
    count = max(1, math.ceil(math.log10(high / low) * per_decade))
    return [low * (high / low) ** (place / count) for place in range(count + 1)]


def searched_budgets(measured: tuple[float, float], budget: float) -> tuple[float, float]:
    """Where crossovers are searched: the measured and the asked budgets, ten times further below, and far above."""
    low, high = measured
    return min(low, budget) / 10, min(max(high, budget) * 10, max(high, LARGEST_BUDGET))


def crossovers(contenders: Sequence[Contender], low: float, high: float) -> list[Crossover]:
    """Every change of the best method between two budgets, lowest first."""
    changes = []
    grid = budget_grid(low, high, per_decade=6)
    labels = [best_method(contenders, budget) for budget in grid]
    for place in range(1, len(grid)):
        below, above = labels[place - 1], labels[place]
        if below and above and below != above:
            flops = _bisect(contenders, grid[place - 1], grid[place], below)
            if any(contender.law.label == above for contender in ranked(contenders, flops / 1.01)):
                changes.append(_with_interval(contenders, flops, below, above, low, high))
            # else it wins from the first budget that pays for its steps: nothing is crossed
    return changes


def _bisect(contenders: Sequence[Contender], low: float, high: float, below: str) -> float:
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        if best_method(contenders, middle) == below:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def _with_interval(
    contenders: Sequence[Contender], flops: float, below: str, above: str, low: float, high: float
) -> Crossover:
    """The crossover with the spread of its nearest counterpart in every draw."""
    grid = budget_grid(max(low, flops / 1000), min(high, flops * 1000), per_decade=3)
    sides = [[contender for contender in contenders if contender.law.label == label] for label in (below, above)]
    draws = min(len(contender.law.draws) for side in sides for contender in side)
    first, second = (_columns(side, grid) for side in sides)
    gaps = [_gap(first, second, draw) for draw in range(min(draws, DRAWS))]
    low_end, high_end = open_interval([_sign_change(grid, gap, flops) for gap in gaps])
    return Crossover(flops, low_end, high_end, below, above)


def open_interval(places: Sequence[float]) -> Ends:
    """90 % interval of places on a grid; None for an end at 0 or infinity, which lies beyond the grid, or of none."""
    ordered = sorted(places)
    if not ordered:
        return None, None
    # Nearest ranks: a mean of a finite place and one beyond the grid would mean nothing.
    ends = [ordered[round(share * (len(ordered) - 1))] for share in (0.05, 0.95)]
    low, high = (end if 0 < end < math.inf else None for end in ends)
    return low, high


Column = tuple[tuple[Law, ...], tuple[float, ...], Sequence[float]]


def _column(contender: Contender, budget: float) -> Column:
    """The draws of a contender's law, what they are asked at a budget, and what each answer is multiplied with."""
    tokens = contender.tokens(budget)
    return contender.law.draws, contender.arguments(tokens), contender.drift(tokens)


def _columns(contenders: Sequence[Contender], grid: Sequence[float]) -> list[list[Column]]:
    """For every budget: the columns of the NEAREST best contenders that it can train."""
    return [[_column(contender, budget) for contender in ranked(contenders, budget)[:NEAREST]] for budget in grid]


def _gap(first: Sequence[Sequence[Column]], second: Sequence[Sequence[Column]], draw: int) -> list[float]:
    """By how much the second frontier lies above the first at every budget, in one draw."""
    ends = [
        [min((_drawn(*column, draw) for column in columns), default=math.inf) for columns in side]
        for side in (first, second)
    ]
    return [0.0 if a == b else b - a for a, b in zip(*ends, strict=True)]


def _drawn(laws: tuple[Law, ...], given: tuple[float, ...], drift: Sequence[float], draw: int) -> float:
    loss = laws[draw].loss(*given)
    return loss * drift[draw] if drift else loss


def _sign_change(grid: Sequence[float], gap: Sequence[float], near: float) -> float:
    """Where the gap turns negative, nearest to `near`; 0 or infinity when it always or never is."""
    changes = []
    for place in range(1, len(grid)):
        before, after = gap[place - 1], gap[place]
        if before > 0 >= after:
            share = before / (before - after) if math.isfinite(before - after) else 0.5
            changes.append(grid[place - 1] * (grid[place] / grid[place - 1]) ** share)
    if changes:
        return min(changes, key=lambda place: abs(math.log(place / near)))
    return 0.0 if gap[-1] < 0 else math.inf
