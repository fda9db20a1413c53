"""What the laws of somebody's table say of sizes and budgets that were asked, and of rows that were held out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analysis.tables.rows import Rows
from analysis.tables.table import Table
from planner.discrepancy import drift
from planner.law_book import LawBook, MethodLaw
from planner.sizes import Optimum, Point, TokenCost, costs_of, optimum, point, read_flops, read_point

KNOTS = 8  # sizes at which what a token costs is told apart; between them it is interpolated


def token_cost(rows: Rows) -> TokenCost:
    """What a token cost at each size of runs: the mean of ln C / (N D) about each of at most KNOTS sizes."""
    logs, rates = np.log(rows.N), np.log(rows.flops / (rows.N * rows.D))
    sizes = np.unique(logs)
    groups = np.array_split(sizes, min(KNOTS, len(sizes)))
    alike = [(logs >= some[0]) & (logs <= some[-1]) for some in groups]
    means = [(float(np.exp(logs[which].mean())), float(np.exp(rates[which].mean()))) for which in alike]
    return TokenCost(*(tuple(column) for column in zip(*means, strict=True)))


def predictions(book: LawBook, asked: str) -> list[Point]:
    """What each law says of `N=7e9,D=2e12`. Raises ValueError for what its table does not have."""
    given, flag = read_point(asked, "`predict`"), "`predict`"
    variables = variables_of(book)
    places = {name: value for name, value in given.items() if name in ("N", "D", "C")}
    wanted = "two of N, D and C" if len(variables) > 1 else variables[0]
    if len(places) != len(variables) or (len(variables) == 1 and set(places) != set(variables)):
        raise ValueError(
            f"{flag} is {asked!r}; for these laws it must give {wanted}, and S or U where a law needs them"
        )
    costs = costs_of(book)
    return [_prediction(law, given, places, variables, costs[law.label], asked) for law in book.laws]


def _prediction(
    law: MethodLaw,
    given: Mapping[str, float],
    places: Mapping[str, float],
    variables: tuple[str, ...],
    cost: TokenCost,
    asked: str,
) -> Point:
    taken = law.law.inputs
    for name in ("S", "U"):
        if name in given and name not in taken:
            raise ValueError(f"`predict` is {asked!r}; the law {law.family} takes no {name}")
    if "S" in taken and "S" not in given:
        raise ValueError(f"`predict` is {asked!r}; the law {law.family} also needs S, the trained share, such as S=0.5")
    N, D, C = _all_three(places, variables, cost)
    return point(law, N, D, C, variables, given.get("S", 1.0), given.get("U", math.inf))


def _all_three(places: Mapping[str, float], variables: tuple[str, ...], cost: TokenCost) -> tuple[float, float, float]:
    """N, D and C as the rows of the table have them; see columns.numbers_of."""
    if variables == ("C",):
        return 1.0, places["C"], places["C"]
    if len(variables) == 1:
        N, D = places.get("N", 1.0), places.get("D", 1.0)
        return N, D, 6 * N * D
    if "N" not in places:
        return _size_of(places["D"], places["C"], cost), places["D"], places["C"]
    D = places["D"] if "D" in places else cost.tokens(places["C"], places["N"])
    return places["N"], D, places.get("C", cost.flops(places["N"], D))


def _size_of(tokens: float, flops: float, cost: TokenCost) -> float:
    """The size at which so many tokens cost so many FLOPs."""
    size = flops / (tokens * cost.rate(1.0))
    for _ in range(200):  # a contraction: rates change far less than sizes
        size = flops / (tokens * cost.rate(size))
    return size


def optima(book: LawBook, asked: str) -> list[tuple[str, Optimum]]:
    """Label of each law and its best size for a budget in FLOP. Raises ValueError for laws that trade nothing off."""
    variables = variables_of(book)
    if len(variables) == 1:
        raise ValueError(f"`optimum`: laws in {variables[0]} alone have no best size; it needs N, and D or C")
    budget = read_flops(asked, "`optimum`")
    for law in book.laws:
        if "S" in law.law.inputs:
            raise ValueError(f"`optimum`: the law {law.family} also needs S, the trained share; use `predict`")
    costs = costs_of(book)
    return [(law.label, optimum(law, budget, costs[law.label])) for law in book.laws]


@dataclass(frozen=True)
class HeldOut:
    """How well a fit predicts rows that it has not seen."""

    condition: str
    """Of which rows it was."""
    runs: tuple[Mapping[str, Any], ...]
    """Name, method, N, D, C, loss, predicted, and the ends low and high of the 90 % interval of one run, of each."""
    without_law: int
    """Rows of methods that have no law."""

    @property
    def logs(self) -> list[float]:
        """ln predicted less ln measured of each."""
        return [math.log(run["predicted"] / run["loss"]) for run in self.runs]

    @property
    def error(self) -> float | None:
        """Mean absolute log error; None without a row."""
        return float(np.mean(np.abs(self.logs))) if self.runs else None

    @property
    def bias(self) -> float | None:
        """Mean log error: positive where too much loss was predicted; None without a row."""
        return float(np.mean(self.logs)) if self.runs else None

    @property
    def inside(self) -> int:
        """How many lie in their interval."""
        return sum(run["low"] <= run["loss"] <= run["high"] for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        coverage = self.inside / len(self.runs) if self.runs else None
        derived = {"rows": len(self.runs), "error": self.error, "bias": self.bias, "inside": self.inside}
        return {**derived, "coverage": coverage, **asdict(self)}


def held_out(table: Table, book: LawBook, condition: str) -> HeldOut:
    """What the laws say of the rows of a table that were held out of them."""
    laws = {law.label: law for law in book.laws}
    rows = table.held_out
    known = rows[rows["method"].isin(list(laws))]
    runs = tuple(_predicted(laws[run["method"]], run) for run in known.to_dict("records"))
    return HeldOut(condition, runs, len(rows) - len(known))


def _predicted(law: MethodLaw, run: Mapping[str, Any]) -> dict[str, Any]:
    params, tokens, flops = (float(run[name]) for name in ("params", "tokens", "flops"))
    given = (params, tokens, float(run["share"]), float(run["unique"]))
    low, high = law.interval(*given, drift=drift(law, flops, params, tokens))
    said = {"loss": float(run["loss"]), "predicted": float(law.law.at(*given)), "low": low, "high": high}
    return {"name": run["name"], "method": law.label, "N": params, "D": tokens, "C": flops, **said}


def variables_of(book: LawBook) -> tuple[str, ...]:
    """What the laws are in: N and D, or one of N, D and C alone."""
    return tuple(book.source.get("variables", ("N", "D")))
