"""The learning rate of a recipe, and where it comes from: the rates of the law book that answers, and no others.

A model with a rate of its own at the batch size gets it. Otherwise the rate is that of the method's rule, a power law
in N, batch size and rank that `fit` makes of all searches (planner/rate_rule.py).

Laws without a rule are those of a paper, of earlier versions or written by hand. Between models with a rate theirs are
interpolated in ln N. Beyond them they go on along a power of N from the nearest rate, with one slope for all settings
of a method: a slope from two sizes alone would carry the noise of a grid of rates far, so it is drawn towards the one
that pretraining uses.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.candidates import Candidate
from planner.extrapolation import extrapolation_factor, times
from planner.law_book import NORMAL, MethodLaw
from planner.rate_rule import LETTERS, RateRule
from sweeps.models import find_model

# d ln(rate) / d ln(N): the peak rates of Pythia's pretraining fall from 1e-3 at 19 M to 1.2e-4 at 6.4 G parameters
# (Biderman et al. 2023), a slope of -0.36; one LoRA rate for all sizes is a slope of 0. Half-way between.
USUAL_SLOPE, SLOPE_SD = -0.18, 0.12
# d ln(rate) / d ln(B): a square root is right for Adam where gradients are noise (Malladi et al. 2022, "On the SDEs and
# scaling rules for adaptive gradient algorithms"), none for batches beyond that. Half-way between.
BATCH_SLOPE = 0.25
BATCH_SLOPE_SD = 0.15
RATE_SD = 0.55  # of ln(rate): rates are tried a factor of 3 apart, so the best one is off by up to half of that
MEASURED = "measured: the best of the rates tried for this model"
Tried = tuple[float, float, str]


@dataclass(frozen=True)
class PeakRate:
    """The peak learning rate of a recipe."""

    rate: float
    """The rate."""
    source: str
    """Where it comes from: measured (or what the law names), by the rule, interpolated in N, or carried on."""
    interval: tuple[float, float] | None = None
    """90 % interval of the best rate; None where only a rule would tell it."""


def learning_rate(candidate: Candidate) -> PeakRate:
    """The peak rate. Raises ValueError when the law book holds none for the method."""
    law = candidate.law
    if law.rate_rule:
        return _by_rule(law.rate_rule, candidate)
    peak, batch = rate_by_size(candidate), law.rates_batch
    if batch is None or batch == candidate.batch_size:
        return peak
    factor = (candidate.batch_size / batch) ** BATCH_SLOPE
    text = (
        f"{peak.source}; times (B / {batch:,})^{BATCH_SLOPE:g}, assumed: half-way between no scaling and a square root"
    )
    return PeakRate(factor * peak.rate, text)


def rate_by_size(candidate: Candidate) -> PeakRate:
    """The rate of laws without a rule, at their batch size."""
    law, name, params = candidate.law, candidate.model.name, candidate.params
    if name in law.learning_rates:
        return PeakRate(law.learning_rates[name], law.rates_from or MEASURED)
    tried, lost = _tried([law])
    remark = f"; left out, not found here: {', '.join(lost)}" if lost else ""
    remark += f"; {law.rates_from}" if law.rates_from else ""
    if not tried:
        raise ValueError(f"the laws have no learning rate for {candidate.method.label}{remark}")
    for (low, slow, first), (high, fast, second) in itertools.pairwise(tried):
        if low <= params <= high:
            place = math.log(params / low) / math.log(high / low)
            return PeakRate(slow * (fast / slow) ** place, f"interpolated in N between {first} and {second}{remark}")
    factor = extrapolation_factor(params, (tried[0][0], tried[-1][0]))
    kin, _ = _tried(candidate.kin)
    nearest = min(abs(math.log(params / row[0])) for row in kin)
    edge = [row for row in kin if abs(math.log(params / row[0])) - nearest < 1e-9]
    level = sum(math.log(rate) for _, rate, _ in edge) / len(edge)
    slope = _slope(candidate.kin)
    rate = math.exp(level + slope * math.log(params / edge[0][0]))
    source = f"extrapolated from {edge[0][2]} as N^{slope:.2f}, {times(factor)} beyond the models with a rate{remark}"
    return PeakRate(rate, source)


def _by_rule(rule: RateRule, candidate: Candidate) -> PeakRate:
    """The best rate tried for the model at the batch size, else what the rule says."""
    batch, rank = candidate.batch_size, float(candidate.method.options.get("rank", 1))
    rate, sd = rule.predict(candidate.params, batch, rank)
    interval = rate * math.exp(-NORMAL * sd), rate * math.exp(NORMAL * sd)
    own = candidate.method.options.get("rank") == candidate.law.settings.get("rank")
    if own and (best := rule.measured(candidate.model.name, batch)):
        return PeakRate(best, f"{MEASURED} and batch size", interval)
    text = f"rule of {rule.searches} searches: {rule.formula()}"
    text += f", exponent of B from {rule.batches_from}" if rule.batches_from else ""
    text += f", 90 % {interval[0]:.2g} to {interval[1]:.2g}"
    asked = {"params": float(candidate.params), "batch_size": float(batch), "rank": rank}
    return PeakRate(rate, "; ".join([text, *_beyond(rule, asked)]), interval)


def _beyond(rule: RateRule, asked: Mapping[str, float]) -> list[str]:
    """How far a model, a batch size and a rank lie beyond those that rates were searched for."""
    told, what = [], {"params": "models", "batch_size": "batch sizes", "rank": "ranks"}
    for name, (low, high) in rule.ranges.items():
        if (factor := extrapolation_factor(asked[name], (low, high))) == 1:
            continue
        if low == high:
            told.append(f"its exponent of {LETTERS[name]} is assumed: only one value was searched")
        else:
            told.append(f"extrapolated {times(factor)} beyond the {what[name]} searched")
    return told


def _tried(laws: Sequence[MethodLaw]) -> tuple[list[Tried], list[str]]:
    """N, rate and name of every model with a rate, smallest first; and the names of those whose shape is nowhere."""
    tried, lost = [], []
    for law in laws:
        for name, rate in law.learning_rates.items():
            try:
                tried.append((float(find_model(name).params), rate, name))
            except (ValueError, OSError):
                lost.append(name)
    return sorted(tried), lost


def _slope(laws: Sequence[MethodLaw]) -> float:
    """d ln(rate) / d ln(N) of the settings of a method together, each with a level of its own; never above 0.

    Least squares with a normal prior (ridge): few sizes, or sizes close to one another, leave the usual slope.
    """
    weight = (RATE_SD / SLOPE_SD) ** 2
    across, along = weight, weight * USUAL_SLOPE
    for law in laws:
        tried, _ = _tried([law])
        if not tried:
            continue
        xs, ys = [math.log(row[0]) for row in tried], [math.log(row[1]) for row in tried]
        x, y = sum(xs) / len(xs), sum(ys) / len(ys)
        across += sum((log_n - x) ** 2 for log_n in xs)
        along += sum((log_n - x) * (log_lr - y) for log_n, log_lr in zip(xs, ys, strict=True))
    return min(0.0, along / across)
