"""The best learning rate as a power law in N, batch size and rank, from all searches of a sweep together.

Each search gives the bottom of a parabola through the best rate tried and its neighbours, with the uncertainty that
the noise of a run and the shape of the curve leave; where the best lies at an end of the rates tried and no bottom is
near, it is only known to lie beyond. A linear model of ln(rate) with normal priors is fitted to these: its levels are
free, its exponents are drawn towards usual ones, so that few searches leave those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from analysis.tables.rate_curves import RateCurve
from analysis.tables.rows import Array
from planner.learning_rates import BATCH_SLOPE, BATCH_SLOPE_SD, SLOPE_SD, USUAL_SLOPE
from planner.rate_rule import RateRule

RUN_NOISE = 0.011  # sd of ln(loss) between seeds of one cell (results/reference/README.md)
SKEW = 0.15  # share of the gap between two rates by which a parabola may miss the bottom of a curve that is none
LEVEL_SD = 3.0  # of ln(rate): no prior to speak of
# Exponents: mean and sd of what all methods share, and sd of what one method has besides.
# Those of rank were measured on nano-100k with alpha / sqrt(rank), see sweeps.methods.LoRA.
Priors = Mapping[str, tuple[float, float, float]]
PRIORS: Priors = {
    "params": (USUAL_SLOPE, SLOPE_SD, 0.08),
    "batch_size": (BATCH_SLOPE, BATCH_SLOPE_SD, 0.1),
    "rank": (-0.24, 0.15, 0.0),
}
SCATTERS = np.geomspace(0.03, 1.0, 36)  # sd of ln(best rate) about the rule: the likeliest is taken
USUAL_SCATTER, PRIOR_SEARCHES = 0.25, 2.0  # and as if so many searches more had scattered so
CENSORED = 0.5  # weight of a search that only says on which side the best rate lies
ROUNDS = 30  # of filling such searches in; they settle long before


@dataclass(frozen=True)
class Found:
    """What a search tells of the best rate."""

    log_rate: float
    """ln of the best rate; of a search whose best lies at an end, ln of what it lies beyond."""
    sd: float
    """Its standard deviation."""
    side: int
    """-1 or 1 where the best rate is only known to lie below or above; otherwise 0."""


def found(curve: RateCurve) -> Found:
    """What a search tells of the best rate; see the head of this file."""
    logs, place, side = np.log(curve.rates), curve.place, curve.at_an_end
    inner = place - side if side else place
    bottom, spread = _bottom(curve)
    if side and not side * (bottom - logs[place]) <= abs(logs[place] - logs[inner]):  # a gap further, or not known
        # A curve that is alike on both sides has its bottom beyond the middle of the last two.
        return Found(float(logs[[inner, place]].mean()), 0.0, side)
    if side:
        return Found(bottom, spread + abs(bottom - float(logs[[inner, place]].mean())) / 2, 0)
    triangle = float(logs[place + 1] - logs[place - 1]) / math.sqrt(24)  # sd of a triangle over both gaps
    if math.isnan(bottom):
        return Found(float(logs[place]), triangle, 0)
    return Found(bottom, min(spread, triangle), 0)


def _bottom(curve: RateCurve) -> tuple[float, float]:
    """ln(rate) at the bottom of the parabola through the three rates around the best, and its sd; NaN without one."""
    if (bowl := curve.bowl) is None:
        return math.nan, math.nan
    x, y = map(np.array, bowl)
    parabola = np.linalg.inv(np.vander(x, 3))  # of ln(loss): its coefficients, the highest power first
    a, b, _ = parabola @ y
    if a <= 0:
        return math.nan, math.nan
    moved = (-parabola[1] + b / a * parabola[0]) / (2 * a)  # d bottom / d ln(loss)
    spread = math.hypot(RUN_NOISE * float(np.linalg.norm(moved)), SKEW * float(x[2] - x[0]) / 2)
    return float(-b / (2 * a)), spread


@dataclass(frozen=True)
class Model:
    """The linear model of all searches: its columns, their priors, and where it is centred."""

    centre: Mapping[str, float]
    """ln of N, B and rank in the middle of the searches."""
    columns: tuple[str, ...]
    """Levels of the groups, exponents of all methods, what each method has besides."""
    means: Array
    """Prior means [columns]."""
    sds: Array
    """Prior sds [columns]."""

    @classmethod
    def of(cls, curves: Sequence[RateCurve], level: float, priors: Priors) -> Model:
        """level: mean of ln(rate)."""
        seen = [_logs(curve) for curve in curves]
        centre = {
            name: float(np.mean([logs[name] for logs in seen if name in logs]))
            for name in priors
            if any(name in logs for logs in seen)
        }
        columns = dict.fromkeys(dict.fromkeys(map(group_of, curves)), (level, LEVEL_SD))
        for name in centre:
            mean, sd, own = priors[name]
            columns[name] = (mean, sd)
            if own:
                columns |= {f"{name} {method}": (0.0, own) for method in {curve.method.name for curve in curves}}
        means, sds = map(np.array, zip(*columns.values(), strict=True))
        return cls(centre, tuple(columns), means, sds)

    def row(self, curve: RateCurve) -> Array:
        """The columns of a search."""
        logs = _logs(curve)
        own = [logs[name] - self.centre[name] for name in self.exponents_of(curve)]
        return np.array([1.0, *own]) @ self.coefficients_of(curve)

    def exponents_of(self, curve: RateCurve) -> list[str]:
        """What the rates of a search's method follow."""
        return [name for name in _logs(curve) if name in self.centre]

    def coefficients_of(self, curve: RateCurve) -> Array:
        """Which columns make up ln(rate) at the centre and the exponents of a search's method [1 + exponents, p]."""
        own = [{group_of(curve)}, *({name, f"{name} {curve.method.name}"} for name in self.exponents_of(curve))]
        return np.array([[float(column in names) for column in self.columns] for names in own])


def group_of(curve: RateCurve) -> str:
    """The searches that have one level: a method with its settings, whatever its rank."""
    options = {name: value for name, value in curve.method.options.items() if name != "rank"}
    return " ".join([curve.method.name, *(f"{name} {value}" for name, value in options.items())])


def _logs(curve: RateCurve) -> dict[str, float]:
    """ln of what a rate may follow."""
    return {name: math.log(value) for name, value in _given(curve).items()}


def _given(curve: RateCurve) -> dict[str, float]:
    given = {"params": curve.params, "batch_size": curve.batch_size, "rank": curve.method.options.get("rank")}
    return {name: float(value) for name, value in given.items() if value}


@dataclass(frozen=True)
class Solved:
    """The linear model, solved."""

    model: Model
    mean: Array
    """Posterior mean of the columns [p]."""
    covariance: Array
    """And their covariance [p, p]."""
    scatter: float
    """Sd of ln(best rate) about the model."""

    def log_rate(self, curve: RateCurve) -> float:
        return float(self.model.row(curve) @ self.mean)


def solve(curves: Sequence[RateCurve], scatter: float | None = None, priors: Priors = PRIORS) -> Solved:
    """The model of these searches; the scatter is the likeliest unless it is given."""
    told = [found(curve) for curve in curves]
    model = Model.of(curves, float(np.mean([each.log_rate for each in told])), priors)
    rows = np.array([model.row(curve) for curve in curves])
    tries = [_solve(model, rows, told, float(each)) for each in ([scatter] if scatter else SCATTERS)]
    return max(tries, key=lambda pair: pair[1])[0]


def _solve(model: Model, rows: Array, told: Sequence[Found], scatter: float) -> tuple[Solved, float]:
    """The model with this scatter, and ln of how likely the searches are then."""
    y, side = np.array([each.log_rate for each in told]), np.array([each.side for each in told])
    variance = scatter**2 + np.array([each.sd for each in told]) ** 2
    weights = np.where(side == 0, 1.0, CENSORED) / variance
    prior = np.diag(model.sds**-2.0)
    covariance = np.linalg.inv(prior + rows.T @ (weights[:, None] * rows))
    target = y.copy()
    for _ in range(ROUNDS if side.any() else 1):
        mean = covariance @ (prior @ model.means + rows.T @ (weights * target))
        target = np.where(side == 0, y, _beyond(rows @ mean, np.sqrt(variance), y, side))
    sure = side == 0
    spread = np.diag(variance[sure]) + rows[sure] @ np.diag(model.sds**2) @ rows[sure].T
    off = y[sure] - rows[sure] @ model.means
    likely = -0.5 * (np.linalg.slogdet(spread)[1] + off @ np.linalg.solve(spread, off)) if sure.any() else 0.0
    usual = (USUAL_SCATTER / scatter) ** 2
    likely += -0.5 * PRIOR_SEARCHES * (usual - math.log(usual))
    return Solved(model, np.asarray(mean), np.asarray(covariance), scatter), float(likely)


def _beyond(mean: Array, sd: Array, bound: Array, side: Array) -> Array:
    """Mean of a normal that is known to lie beyond a bound, below it (-1) or above it (1)."""
    z = -side * (bound - mean) / sd
    hazard = np.exp(-0.5 * z**2 - 0.5 * math.log(2 * math.pi) - log_ndtr(z))
    return mean + side * sd * hazard


def rate_rules(curves: Sequence[RateCurve]) -> tuple[dict[str, RateRule], dict[str, float]]:
    """Label of a method -> the rule of its rates, where any were searched; and how rules did on searches left out."""
    if not curves:
        return {}, {}
    solved = solve(curves)
    missed = left_out(curves, solved.scatter)
    rules = {
        label: _rule(solved, curves, label, [each for each in missed if each.curve.method.label == label])
        for label in dict.fromkeys(curve.method.label for curve in curves)
    }
    return rules, summary(missed)


def _rule(solved: Solved, curves: Sequence[RateCurve], label: str, missed: Sequence[Missed]) -> RateRule:
    """The rule of one method."""
    own = [curve for curve in curves if curve.method.label == label]
    alike = [curve for curve in curves if group_of(curve) == group_of(own[0])]
    names = list(_logs(own[0]))
    which = solved.model.coefficients_of(own[0])
    level, *exponents = (which @ solved.mean).tolist()
    seen = {name: [_given(curve)[name] for curve in alike] for name in names}
    return RateRule(
        rate=math.exp(level),
        at={name: math.exp(solved.model.centre[name]) for name in names},
        exponents=dict(zip(names, exponents, strict=True)),
        covariance=tuple(map(tuple, (which @ solved.covariance @ which.T).tolist())),
        scatter=solved.scatter,
        searches=len(alike),
        ranges={name: (min(values), max(values)) for name, values in seen.items()},
        tried=_tried(own),
        left_out=summary(missed),
    )


def _tried(own: Iterable[RateCurve]) -> dict[str, dict[str, float]]:
    """Model -> batch size -> the best rate; of several searches that of the one with more rates, then the first."""
    best: dict[str, dict[str, float]] = {}
    for curve in sorted(own, key=lambda curve: -len(curve.rates)):
        best.setdefault(curve.model, {}).setdefault(str(curve.batch_size), curve.best)
    return best


@dataclass(frozen=True)
class Missed:
    """How a rule that had not seen a search did on it."""

    curve: RateCurve
    """The search."""
    rate: float
    """The rate by the rule."""

    @property
    def factor(self) -> float:
        """How many times the rate lies off the best of those tried, on either side."""
        return math.exp(abs(math.log(self.rate / self.curve.best)))

    @property
    def given_away(self) -> float:
        """Regret against the best rate tried, a share of the loss, by the curve of the search; 0 where its loss is
        lower, NaN beside a rate that diverged."""
        return max(math.exp(self.curve.log_loss_at(self.rate)) / min(self.curve.losses) - 1, 0.0)


def left_out(curves: Sequence[RateCurve], scatter: float) -> list[Missed]:
    """Each search by a rule that has not seen its model at its batch size, with any method.

    Without those whose method has no other search.
    """
    missed: list[Missed] = []
    rules: dict[tuple[str, int], tuple[set[str], Solved | None]] = {}
    for curve in curves:
        pair = (curve.model, curve.batch_size)
        if pair not in rules:
            others = [other for other in curves if (other.model, other.batch_size) != pair]
            rules[pair] = {group_of(other) for other in others}, solve(others, scatter) if others else None
        groups, solved = rules[pair]
        if solved and group_of(curve) in groups:
            missed.append(Missed(curve, math.exp(solved.log_rate(curve))))
    return missed


def summary(missed: Sequence[Missed]) -> dict[str, float]:
    """What `RateRule.left_out` holds; empty where no search could be left out.

    The regret beside a rate that diverged is not known, and such searches are counted.
    """
    away = [each.given_away for each in missed]
    known = [share for share in away if math.isfinite(share)]
    if not known:
        return {}
    return {
        "searches": len(missed),
        "median_factor": float(np.median([each.factor for each in missed])),
        "given_away": float(np.mean(known)),
        "worst": max(known),
        "unknown": len(away) - len(known),
    }
