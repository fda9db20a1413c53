"""Answers in sizes and tokens alone, from laws that know no models: of tables of other people's runs."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from planner.discrepancy import FARTHEST, drift
from planner.extrapolation import Extrapolation
from planner.frontier import Ends, open_interval
from planner.law_book import LawBook, MethodLaw
from planner.quantities import COUNTS, with_unit
from sweeps.support.checks import all_numbers, require, within
from sweeps.support.console import positive

COSTED = (1e-3, 1e18)  # sizes of which a law file may say what a token costs, and FLOPs of a token for each parameter
RULE = 6.0  # FLOPs of a token for each parameter (Kaplan et al. 2020, section 2.1)
COARSE, FINE = 0.1, 0.05  # decades between the sizes that a law and its draws are asked for
AROUND = 2.5  # decades about the law's best size in which those of the draws are looked for
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class TokenCost:
    """What a token costs at each size."""

    params: tuple[float, ...]
    """Sizes N, ascending."""
    rates: tuple[float, ...]
    """C / (N D) at each: interpolated between them in logs, the same beyond them."""

    def rate(self, params: float) -> float:
        """FLOPs of a token for each parameter, at this size."""
        place = bisect_right(self.params, params)
        if place in (0, len(self.params)):
            return self.rates[max(place - 1, 0)]
        low, high = (math.log(self.params[i]) for i in (place - 1, place))
        share = (math.log(params) - low) / (high - low)
        return self.rates[place - 1] ** (1 - share) * self.rates[place] ** share

    def tokens(self, budget: float, params: float) -> float:
        """D: tokens that a budget of FLOPs buys at this size."""
        return budget / (params * self.rate(params))

    def flops(self, params: float, tokens: float) -> float:
        """C of so many tokens at this size."""
        return params * self.rate(params) * tokens

    def __str__(self) -> str:
        if max(self.rates) - min(self.rates) < 1e-6 * max(self.rates):
            return f"C = {self.rates[0]:.3g} N D"
        return f"C from {self.rates[0]:.3g} N D at the smallest size to {self.rates[-1]:.3g} N D at the largest"


def costs_of(book: LawBook) -> dict[str, TokenCost]:
    """Label of a law -> what a token cost in its runs; 6 FLOPs a parameter where the book does not say.

    Raises ValueError where what it says makes no sense.
    """
    content = book.source.get("cost", {})
    require("source.cost", content, isinstance(content, dict), "an object of methods")
    labels = [law.label for law in book.laws]
    return {label: _cost(content[label], label) if label in content else TokenCost((1.0,), (RULE,)) for label in labels}


def _cost(content: Any, label: str) -> TokenCost:
    where = f"source.cost.{label}"
    require(where, content, isinstance(content, dict) and set(content) == {"params", "rates"}, "of params and rates")
    for name, values in content.items():
        require(f"{where}.{name}", values, isinstance(values, list) and values != [], "a list of numbers, not empty")
        all_numbers(f"{where}.{name}", values)
        within(f"{where}.{name}", values, COSTED)
    params, rates = tuple(content["params"]), tuple(content["rates"])
    in_order = sorted(set(params)) == list(params) and len(params) == len(rates)
    require(where, content, in_order, "sizes in ascending order with a rate each")
    return TokenCost(params, rates)


@dataclass(frozen=True)
class Point:
    """What a law says of one size and number of tokens."""

    method: str
    """Label of the law's method."""
    params: float | None
    """N; None in a law without it."""
    tokens: float | None
    """D; None in a law without it."""
    flops: float | None
    """C; None in a law in N or D alone."""
    loss: float
    """By the law, in the unit of its losses."""
    interval: tuple[float, float]
    """90 % interval of the loss of one run: uncertainty of the law, model error beyond what was measured, and noise."""
    law_interval: tuple[float, float]
    """The same without the noise of a run."""
    extrapolation: Extrapolation
    """How far it lies beyond what the law was measured on."""

    def to_json(self) -> dict[str, Any]:
        far = self.extrapolation
        return {
            **asdict(self),
            "interval": list(self.interval),
            "law_interval": list(self.law_interval),
            "extrapolation": far.to_json(),
            "distance": far.distance,
        }


def point(
    law: MethodLaw,
    params: float,
    tokens: float,
    flops: float,
    variables: Sequence[str] = ("N", "D"),
    S: float = 1.0,
    U: float = math.inf,
) -> Point:
    """What a law in these variables says; of what it lacks, the numbers are those of its runs."""
    moved = drift(law, flops, params, tokens)
    ends = [law.interval(params, tokens, S, U, run, moved) for run in (True, False)]
    there = {"N": params, "D": tokens, "C": flops}
    known = [name for name in there if name in variables or len(variables) > 1]
    inside = {"N": law.measured.params[0], "D": law.measured.tokens[0], "C": law.measured.flops[0]}
    asked = {name: there[name] if name in known else inside[name] for name in there}
    told = {name: there[name] if name in known else None for name in there}
    far = Extrapolation.of(asked["C"], asked["N"], asked["D"], law)
    return Point(law.label, told["N"], told["D"], told["C"], law.law.at(params, tokens, S, U), ends[0], ends[1], far)


@dataclass(frozen=True)
class Optimum:
    """The size and the tokens of the lowest loss that a budget buys."""

    budget: float
    """FLOPs."""
    best: Point | None
    """There; None where the law has no best size."""
    params_interval: Ends
    """90 % interval of N over the draws and the model error; None for an end that lies beyond what was searched."""
    tokens_interval: Ends
    """The same of D."""
    reason: str = ""
    """Why the law has no best size."""

    def to_json(self) -> dict[str, Any]:
        best = self.best.to_json() if self.best else None
        return {**asdict(self), "best": best, **{name: list(getattr(self, name)) for name in INTERVALS}}


ONE_SIZE = "its runs have one size, so its law says nothing about others"
INTERVALS = ("params_interval", "tokens_interval")


def optimum(law: MethodLaw, budget: float, cost: TokenCost, S: float = 1.0, U: float = math.inf) -> Optimum:
    """The best size of a continuum for a budget, as far as FARTHEST decades beyond the measured ones."""
    low, high = law.measured.params
    if low == high:
        return Optimum(budget, None, (None, None), (None, None), ONE_SIZE)
    reach = max(1.0, budget / law.measured.flops[1])
    grid = _between(low / 10**FARTHEST, high * 10**FARTHEST * reach, COARSE)
    grid = [size for size in grid if cost.tokens(budget, size) >= 1]

    def loss(size: float) -> float:
        return float(law.law.at(size, cost.tokens(budget, size), S, U))

    losses = [loss(size) for size in grid]
    place = losses.index(min(losses)) if losses else 0
    if not 0 < place < len(grid) - 1:
        side = "smaller models" if place == 0 else "larger models"
        why = f"by the law {side} are always better: it has no best size at {budget:.3g} FLOP"
        return Optimum(budget, None, (None, None), (None, None), why)
    size = _lowest(loss, grid[place - 1], grid[place + 1])
    tokens = cost.tokens(budget, size)
    ends = _spread(law, budget, cost, size, (S, U))
    by_tokens = tuple(None if end is None else cost.tokens(budget, end) for end in reversed(ends))
    best = point(law, size, tokens, budget, S=S, U=U)
    return Optimum(budget, best, ends, (by_tokens[0], by_tokens[1]))


def _between(low: float, high: float, step: float) -> list[float]:
    count = math.ceil(math.log10(high / low) / step)
    return [low * (high / low) ** (i / count) for i in range(count + 1)]


def _lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a loss is lowest between two sizes, by golden section in ln N."""
    a, b = math.log(low), math.log(high)
    while b - a > 1e-7:
        c, d = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
        if loss(math.exp(c)) < loss(math.exp(d)):
            b = d
        else:
            a = c
    return math.exp((a + b) / 2)


def _spread(law: MethodLaw, budget: float, cost: TokenCost, size: float, rest: tuple[float, float]) -> Ends:
    """90 % interval of the best size over the draws, each with its model error."""
    grid = _between(size / 10**AROUND, size * 10**AROUND, FINE)
    given = [(each, cost.tokens(budget, each), *rest) for each in grid]
    moved = [drift(law, budget, params, tokens) for params, tokens, *_ in given]
    return open_interval(
        [
            _bottom(grid, [draw.at(*g) * (m[i] if m else 1.0) for g, m in zip(given, moved, strict=True)])
            for i, draw in enumerate(law.draws)
        ]
    )


def _bottom(grid: Sequence[float], losses: Sequence[float]) -> float:
    """The size of the lowest loss, by a parabola through the three lowest; 0 or infinity at an end of the grid."""
    place = losses.index(min(losses))
    if place in (0, len(grid) - 1):
        return 0.0 if place == 0 else math.inf
    before, here, after = (math.log(losses[i]) for i in (place - 1, place, place + 1))
    bend = before - 2 * here + after
    move = (before - after) / (2 * bend) if bend > 0 else 0.0
    return grid[place] * (grid[place + 1] / grid[place]) ** move


@dataclass(frozen=True)
class Size:
    """One size with one method, of runs that tell no more than N, D and C: a Contender as planner.frontier asks it."""

    law: MethodLaw
    """The law of the method."""
    params: float
    """N: parameters outside the embedding tables."""
    flops_per_token: float
    """Training FLOPs of a token at this size."""
    share: float = 1.0
    """S: trained share of the parameters, 0 to 1."""
    unique: float = math.inf
    """U: unique tokens of the data."""
    name: str = ""
    """Of the model; empty where it is a size and no more."""
    least_tokens: float = 0.0
    """Of a run that the law can speak of; smaller ones are refused."""

    def at(self, budget: float) -> Size:
        """Itself: nothing of it is chosen for a budget."""
        return self

    def refusal(self, budget: float) -> str:
        """Laws say little of models that got fewer tokens than any run; a run's steps are whole ones."""
        return "fewer tokens than any run" if self.tokens(budget) < 0.99 * self.least_tokens else ""

    def tokens(self, budget: float) -> float:
        return budget / self.flops_per_token

    def inputs(self, tokens: float) -> tuple[float, float, float, float]:
        return self.params, tokens, self.share, self.unique

    def arguments(self, tokens: float) -> tuple[float, ...]:
        given = dict(zip("NDSU", self.inputs(tokens), strict=True))
        return tuple(given[name] for name in self.law.law.inputs)

    def loss(self, tokens: float) -> float:
        return float(self.law.law.loss(*self.arguments(tokens)))

    def drift(self, tokens: float) -> tuple[float, ...]:
        return drift(self.law, tokens * self.flops_per_token, self.params, tokens)


def read_point(text: str, flag: str) -> Mapping[str, float]:
    """Quantities and their values: `N=7e9,D=2e12`. Raises ValueError naming what is not understood."""
    given: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (side.strip() for side in part.partition("="))
        if not equals or name not in ("N", "D", "C", "S", "U"):
            raise ValueError(
                f"{flag} is {text!r}; it must be two of N, D and C, such as N=7e9,D=2e12; S and U may follow"
            )
        if name in given:
            raise ValueError(f"{flag} is {text!r}; it gives {name} twice")
        given[name] = with_unit(f"{flag} {text!r}: {name}", value, COUNTS, "a positive number such as 7e9 or 7B")
    if given.get("S", 0.0) > 1:
        raise ValueError(f"{flag} is {text!r}; S, the trained share, must be at most 1")
    return given


def read_flops(text: str, flag: str) -> float:
    """A budget in FLOP: `1e22`. Raises ValueError for anything else."""
    return positive(flag, text, "a positive number of FLOP such as 1e22")
