"""Which candidate wins at a budget, how surely, and at which budgets the best method changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.candidates import Option
from planner.laws import Law


@dataclass(frozen=True)
class Odds:
    """best: probability of the lowest expected loss. regret: expected loss given away against the best, nats."""

    best: float
    regret: float


def odds(options: Sequence[Option], budget: float) -> list[Odds] | None:
    """Of every option, from the paired bootstrap draws; None when some law has none."""
    draws = min(len(option.evidence.draws) for option in options)
    if not draws:
        return None
    columns = [(option.evidence.draws, option.arguments(option.tokens(budget))) for option in options]
    wins, regrets = [0] * len(options), [0.0] * len(options)
    for draw in range(draws):
        losses = [laws[draw].loss(*arguments) for laws, arguments in columns]
        best = min(losses)
        wins[losses.index(best)] += 1
        for place, loss in enumerate(losses):
            regrets[place] += loss - best
    return [Odds(win / draws, regret / draws) for win, regret in zip(wins, regrets, strict=True)]


@dataclass(frozen=True)
class Crossover:
    """The budget where the best method changes, FLOPs.

    low, high: 90 % interval; None where it ends beyond the budgets that were looked at.
    """

    flops: float
    low: float | None
    high: float | None
    below: str
    above: str


def budgets(low: float, high: float, per_decade: int) -> list[float]:
    """Log-spaced budgets, both ends among them."""
    count = max(1, math.ceil(math.log10(high / low) * per_decade))
    return [low * (high / low) ** (place / count) for place in range(count + 1)]


def crossovers(options: Sequence[Option], low: float, high: float) -> list[Crossover]:
    """Every change of the best method between two budgets, lowest first."""
    found = []
    grid = budgets(low, high, per_decade=6)
    names = [_best_method(options, budget) for budget in grid]
    for place in range(1, len(grid)):
        below, above = names[place - 1], names[place]
        if below and above and below != above:
            at = _bisect(options, grid[place - 1], grid[place], below)
            if _possible(options, at / 1.01, above):  # else it wins from the first budget that pays for its steps
                found.append(_with_interval(options, at, below, above, low, high))
    return found


def _possible(options: Sequence[Option], budget: float, label: str) -> bool:
    return any(option.method.label == label and not option.refusal(budget) for option in options)


def _best_method(options: Sequence[Option], budget: float) -> str:
    fits = [option for option in options if not option.refusal(budget)]
    best = min(fits, key=lambda option: option.loss(option.tokens(budget)), default=None)
    return best.method.label if best else ""


def _bisect(options: Sequence[Option], low: float, high: float, below: str) -> float:
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        if _best_method(options, middle) == below:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


DRAWS = 100  # of the bootstrap, for intervals of crossovers: their 5 % and 95 % points move little beyond


NEAR = 4  # sizes around the best one of a method: a draw shifts the best size by one or two


def _with_interval(options: Sequence[Option], at: float, below: str, above: str, low: float, high: float) -> Crossover:
    """The crossover with the spread of its nearest counterpart in every draw."""
    grid = budgets(max(low, at / 1000), min(high, at * 1000), per_decade=3)
    first, second = (_columns([one for one in options if one.method.label == name], grid) for name in (below, above))
    draws = min(len(option.evidence.draws) for option in options if option.method.label in (below, above))
    gaps = [_gap(first, second, draw) for draw in range(min(draws, DRAWS))]
    places = sorted(_turn(grid, gap, at) for gap in gaps)
    if not places:
        return Crossover(at, None, None, below, above)
    # Nearest ranks: a mean of a finite crossover and one beyond the grid would mean nothing.
    ends = [places[round(share * (len(places) - 1))] for share in (0.05, 0.95)]
    low_end, high_end = (end if 0 < end < math.inf else None for end in ends)
    return Crossover(at, low_end, high_end, below, above)


Column = list[tuple[tuple[Law, ...], tuple[float, ...]]]


def _columns(options: Sequence[Option], grid: Sequence[float]) -> list[Column]:
    """For every budget: the draws, and what they are asked, of the NEAR best options that it can train."""
    columns = []
    for budget in grid:
        asked = [(o.loss(o.tokens(budget)), i, o) for i, o in enumerate(options) if not o.refusal(budget)]
        columns.append([(o.evidence.draws, o.arguments(o.tokens(budget))) for _, _, o in sorted(asked)[:NEAR]])
    return columns


def _gap(first: Sequence[Column], second: Sequence[Column], draw: int) -> list[float]:
    """By how much the second frontier lies above the first at every budget, in one draw."""
    ends = [
        [min((laws[draw].loss(*given) for laws, given in c), default=math.inf) for c in side]
        for side in (first, second)
    ]
    return [0.0 if a == b else b - a for a, b in zip(*ends, strict=True)]


def _turn(grid: Sequence[float], gap: Sequence[float], near: float) -> float:
    """Where the gap turns negative, nearest to `near`; 0 or infinity when it always or never is."""
    turns = []
    for place in range(1, len(grid)):
        before, after = gap[place - 1], gap[place]
        if before > 0 >= after:
            share = before / (before - after) if math.isfinite(before - after) else 0.5
            turns.append(grid[place - 1] * (grid[place] / grid[place - 1]) ** share)
    if turns:
        return min(turns, key=lambda place: abs(math.log(place / near)))
    return 0.0 if gap[-1] < 0 else math.inf
