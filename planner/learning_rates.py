"""The learning rate of a recipe, and where it comes from: the rates of the law book that answers, and no others.

A model with a rate of its own gets it. Between such models rates are interpolated in ln N. Beyond them they go on along
a power of N from the nearest rate, with one slope for all settings of a method: a slope from two sizes alone would
carry the noise of a grid of rates far, so it is drawn towards the one that pretraining uses.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from planner.candidates import Candidate
from planner.extrapolation import extrapolation_factor, times
from planner.law_book import MethodLaw
from sweeps.models import find_model

# d ln(rate) / d ln(N): the peak rates of Pythia's pretraining fall from 1e-3 at 19 M to 1.2e-4 at 6.4 G parameters
# (Biderman et al. 2023), a slope of -0.36; one LoRA rate for all sizes is a slope of 0. Half-way between.
USUAL_SLOPE, SLOPE_SD = -0.18, 0.12
RATE_SD = 0.55  # of ln(rate): rates are tried a factor of 3 apart, so the best one is off by up to half of that
Tried = tuple[float, float, str]


def learning_rate(candidate: Candidate) -> tuple[float, str]:
    """Peak rate and its source: measured (or what the law names), interpolated in N, or carried on.

    Raises ValueError when the law book holds no rate for the method.
    """
    law, name, params = candidate.law, candidate.model.name, candidate.params
    if name in law.learning_rates:
        return law.learning_rates[name], law.rates_from or "measured: the best of the rates tried for this model"
    tried, lost = _tried([law])
    remark = f"; left out, since not found here: {', '.join(lost)}" if lost else ""
    remark += f"; {law.rates_from}" if law.rates_from else ""
    if not tried:
        raise ValueError(f"the laws hold no learning rate for {candidate.method.label}{remark}")
    for (low, slow, first), (high, fast, second) in itertools.pairwise(tried):
        if low <= params <= high:
            place = math.log(params / low) / math.log(high / low)
            return slow * (fast / slow) ** place, f"interpolated in N between {first} and {second}{remark}"
    factor = extrapolation_factor(params, (tried[0][0], tried[-1][0]))
    kin, _ = _tried(candidate.kin)
    nearest = min(abs(math.log(params / row[0])) for row in kin)
    edge = [row for row in kin if abs(math.log(params / row[0])) - nearest < 1e-9]
    level = sum(math.log(rate) for _, rate, _ in edge) / len(edge)
    slope = _slope(candidate.kin)
    rate = math.exp(level + slope * math.log(params / edge[0][0]))
    return rate, f"carried on from {edge[0][2]} as N^{slope:.2f}, {times(factor)} beyond the models with a rate{remark}"


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
