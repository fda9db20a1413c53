"""Methods that differ in one thing, at equal FLOPs, without a law; and which LoRA rank is the best.

Two methods are compared where both treat the token table alike, at each budget by the best model of those that both
were tried with. A line in ln C through the differences of ln loss says which is better and where that changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.fitting.describe import repeat_noise
from analysis.fitting.rate_rules import RUN_NOISE, found, solve
from analysis.tables.rate_curves import RateCurve
from analysis.tables.table import Table
from planner.frontier import Ends, open_interval
from sweeps.methods import make_method

DRAWS = 2000  # of the line through the differences
USUAL = 0.02  # sd of ln loss by which differences scatter about their line, where too few budgets tell
RANK_PRIORS = {"params": (0.0, 0.3, 0.0)}  # exponent of the best rank in N: mean, sd, what each method has besides


@dataclass(frozen=True)
class Place:
    """Two methods at one budget."""

    budget: float
    """FLOPs."""
    models: tuple[str, ...]
    """Models that both were tried with."""
    gap: float
    """ln of the first one's lowest loss over the second one's; seeds are averaged."""
    sd: float
    """Its standard deviation by the noise of a run."""


@dataclass(frozen=True)
class Pairing:
    """Two methods that treat the token table alike, at all budgets that both were tried at."""

    table: str
    """What becomes of the token table: train, adapter or freeze."""
    first: str
    """Label of one method."""
    second: str
    """Label of the other."""
    places: tuple[Place, ...]
    """By budget."""
    mean: float
    """Mean of ln(loss of the first / loss of the second) in the middle of the budgets."""
    interval: tuple[float, float]
    """90 % interval of it."""
    slope: float
    """Change of it with ln C."""
    crossover: float | None
    """Budget at which the order changes, FLOPs; None where it does not between the budgets tried."""
    crossover_interval: Ends = (None, None)
    """90 % interval of that budget, open where the draws do not cross; of no meaning without one."""
    crosses: float = 0.0
    """Share of the draws in which the order changes between the budgets tried."""


@dataclass(frozen=True)
class BestRank:
    """The LoRA rank with the lowest loss."""

    method: str
    """What the ranks have in common."""
    rank: float
    """The best rank, at the geometric mean of the sizes."""
    interval: tuple[float, float]
    """90 % interval of it."""
    in_size: tuple[float, float]
    """Exponent of the best rank in N, and its sd."""
    tried: tuple[float, float]
    """Lowest and highest rank."""
    curves: int
    """Models and budgets at which three ranks or more were tried."""
    inside: int
    """In how many of them the best lies between others."""
    rates: Mapping[str, float]
    """Rank, as text -> geometric mean of the best learning rates by its searches."""


def pairings(runs: Table) -> list[Pairing]:
    """All pairs of methods of a sweep whose token tables are treated alike."""
    noise = repeat_noise(runs, list(runs.settings)) or RUN_NOISE
    tables = {label: _token_table(settings) for label, settings in runs.settings.items()}
    found = [
        _pairing(runs.rows, tables[first], first, second, noise)
        for first, second in combinations(runs.settings, 2)
        if tables[first] == tables[second]
    ]
    return [pairing for pairing in found if pairing]


def _token_table(settings: Mapping[str, Any]) -> str:
    return make_method(settings["name"], {key: value for key, value in settings.items() if key != "name"}).token_table


def _pairing(rows: pd.DataFrame, table: str, first: str, second: str, noise: float) -> Pairing | None:
    places = []
    for budget, there in rows.groupby("budget"):
        one, other = (_by_model(there[there["method"] == label]) for label in (first, second))
        models = [name for name in one.index if name in other.index]
        if models:
            best = [part.loc[models].sort_values("loss").iloc[0] for part in (one, other)]
            sd = noise * math.sqrt(sum(1 / row["seeds"] for row in best))
            places.append(Place(float(budget), tuple(models), math.log(best[0]["loss"] / best[1]["loss"]), sd))
    return _line(table, first, second, places) if places else None


def _by_model(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean loss and number of seeds by model."""
    return rows.groupby("model").agg(loss=("loss", "mean"), seeds=("loss", "size"))


def _line(table: str, first: str, second: str, places: Sequence[Place]) -> Pairing:
    """The line through the differences of two methods; level with one budget alone."""
    x = np.log([place.budget for place in places])
    y, sd = np.array([place.gap for place in places]), np.array([place.sd for place in places])
    middle = float(x.mean())
    design = np.column_stack([np.ones(len(x)), x - middle])
    ridge = np.diag([0.0, 0.05**-2.0])  # a slope of 5 % for each factor of e is large
    scatter = 0.0
    for _ in range(2):  # first by the noise alone, then with what it leaves unexplained
        weights = 1 / (sd**2 + scatter**2)
        covariance = np.linalg.inv(design.T @ (weights[:, None] * design) + ridge)
        mean = covariance @ (design.T @ (weights * y))
        free = len(x) - 2
        off = y - design @ mean
        scatter = math.sqrt(max((off**2).sum() / free - (sd**2).mean(), 0.0)) if free > 0 else USUAL
    draws = np.random.default_rng(0).multivariate_normal(mean, covariance, DRAWS)
    low, high = (float(each) for each in np.quantile(draws[:, 0], [0.05, 0.95]))
    met = [_crossing(float(level), float(slope), middle, x) for level, slope in draws]
    share = float(np.mean([0 < place < math.inf for place in met]))
    level, slope = mean.tolist()
    own = _crossing(level, slope, middle, x)
    crossover = own if 0 < own < math.inf else None
    return Pairing(table, first, second, tuple(places), level, (low, high), slope, crossover, open_interval(met), share)


def _crossing(level: float, slope: float, middle: float, x: Any) -> float:
    """The budget at which a line meets 0: 0 below those tried, infinity above them or nowhere."""
    place = middle - level / slope if slope else math.inf
    return 0.0 if place <= x.min() else math.exp(place) if place < x.max() else math.inf


def best_ranks(runs: Table) -> list[BestRank]:
    """The best rank of each method that has ranks, where three or more were tried at equal model and budget."""
    groups: dict[str, list[RateCurve]] = {}
    for curve in _rank_curves(runs):
        groups.setdefault(curve.method.label, []).append(curve)
    return [_best_rank(runs, own) for own in groups.values()]


def _rank_curves(runs: Table) -> list[RateCurve]:
    """Loss against rank in place of the rate; the method stands for all its ranks with rank 1."""
    cells: dict[tuple[str, str, float], dict[int, list[float]]] = {}
    known: dict[tuple[str, str, float], tuple[Any, int]] = {}
    for row in runs.rows.itertuples():
        settings = runs.settings[row.method]
        if "rank" not in settings:
            continue
        method = make_method(settings["name"], {**{k: v for k, v in settings.items() if k != "name"}, "rank": 1})
        cell = (method.label, row.model, row.budget)
        cells.setdefault(cell, {}).setdefault(int(settings["rank"]), []).append(row.loss)
        known[cell] = (method, int(row.params))
    curves = []
    for cell, by_rank in cells.items():
        if len(by_rank) > 2:
            ranks = sorted(by_rank)
            losses = tuple(float(np.mean(by_rank[rank])) for rank in ranks)
            method, params = known[cell]
            curves.append(RateCurve(method, cell[1], params, 1, tuple(map(float, ranks)), losses))
    return curves


def _best_rank(runs: Table, curves: Sequence[RateCurve]) -> BestRank:
    solved = solve(curves, priors=RANK_PRIORS)
    which = solved.model.coefficients_of(curves[0])
    level, power = (which @ solved.mean).tolist()
    spread = which @ solved.covariance @ which.T
    sd = math.sqrt(spread[0][0] + solved.scatter**2)
    tried = [rank for curve in curves for rank in curve.rates]
    return BestRank(
        method=curves[0].method.label.replace(" rank 1", ""),
        rank=math.exp(level),
        interval=(math.exp(level - 1.645 * sd), math.exp(level + 1.645 * sd)),
        in_size=(power, math.sqrt(spread[1][1])),
        tried=(min(tried), max(tried)),
        curves=len(curves),
        inside=sum(curve.at_an_end == 0 for curve in curves),
        rates=_rates(runs, curves[0]),
    )


def _rates(runs: Table, ranked: RateCurve) -> dict[str, float]:
    """Rank -> geometric mean of the best rates that its searches found."""
    logs: dict[int, list[float]] = {}
    for curve in runs.rate_curves:
        rank = curve.method.options.get("rank")
        if rank and replace(curve.method, rank=1) == ranked.method:  # type: ignore[call-arg]
            logs.setdefault(rank, []).append(found(curve).log_rate)
    return {f"{rank}": math.exp(float(np.mean(own))) for rank, own in sorted(logs.items())}
