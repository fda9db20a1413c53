"""The learning rate of a recipe, and where it comes from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from planner import published
from planner.candidates import Candidate
from planner.extrapolation import extrapolation_factor
from sweeps.models import find_model


def learning_rate(candidate: Candidate) -> tuple[float, str]:
    """Peak rate and its source: measured (or what the law names), interpolated in N, published, or carried on.

    Raises ValueError when nothing is known of a rate.
    """
    rates = candidate.law.learning_rates
    name, params = candidate.model.name, candidate.params
    if name in rates:
        measured = "measured here: the best of the tried rates for this model and method"
        return rates[name], candidate.law.rates_from or measured
    tried, remark = _tried(candidate)
    remark += f"; {candidate.law.rates_from}" if candidate.law.rates_from else ""
    for (low, slow, first), (high, fast, second) in itertools.pairwise(tried):
        if low <= params <= high:
            place = math.log(params / low) / math.log(high / low)
            return slow * (fast / slow) ** place, f"interpolated in N between {first} and {second}{remark}"
    known = published.learning_rate(candidate.model, candidate.method.name)
    if known:
        where = f"{published.PAPER}, appendix E.1"
        return known, f"published: a tenth of Pythia's peak rate, batches of 1024 pairs ({where})"
    if not tried:
        raise ValueError(
            f"the laws hold no learning rate for {candidate.method.label}, and none is published for {name}{remark}"
        )
    near = min(tried, key=lambda row: abs(math.log(params / row[0])))
    rate = near[1] * (params / near[0]) ** _slope(tried)
    factor = extrapolation_factor(params, (tried[0][0], tried[-1][0]))
    return rate, f"extrapolated {factor:.3g}x in N beyond the tried sizes{remark}"


Tried = tuple[float, float, str]


def _tried(candidate: Candidate) -> tuple[list[Tried], str]:
    """N, rate and name of every model with a rate, smallest first; and a remark on those whose shape is nowhere."""
    tried, lost = [], []
    for name, rate in candidate.law.learning_rates.items():
        try:
            tried.append((float(find_model(name).params), rate, name))
        except (ValueError, OSError):
            lost.append(name)
    remark = f"; left out, since not found here: {', '.join(lost)}" if lost else ""
    return sorted(tried), remark


def _slope(tried: Sequence[Tried]) -> float:
    """d ln(lr) / d ln(N), least squares; between -1 and 0, for larger models never want larger rates."""
    xs, ys = [math.log(row[0]) for row in tried], [math.log(row[1]) for row in tried]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((log_n - x) ** 2 for log_n in xs)
    slope = sum((log_n - x) * (log_lr - y) for log_n, log_lr in zip(xs, ys, strict=True)) / spread if spread else 0.0
    return min(0.0, max(-1.0, slope))
