"""The best training temperature by batch size, from a sweep of several, with the machinery of learning rates.

The held-out loss is read at one temperature for all; accuracy and nDCG know none, and are asked beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.fitting.rate_rules import Solved, solve
from analysis.tables.rate_curves import RateCurve
from analysis.tables.temperature_curves import Measure, temperature_curves
from planner.temperature_rule import TemperatureRule
from sweeps.trial import Observation

# Exponents of the best temperature: it may follow the batch size and the model, and mostly does not by much.
PRIORS = {"params": (0.0, 0.1, 0.0), "batch_size": (0.0, 0.15, 0.0)}
NDCG = "ndcg@10"


def _loss(observation: Observation) -> float:
    return math.nan if observation.loss is None else observation.loss


def _error(observation: Observation) -> float:
    return math.nan if observation.accuracy is None else 1 - observation.accuracy


def _missed_gain(observation: Observation) -> float:
    return 1 - observation.scores.get(NDCG, math.nan)


MEASURES: dict[str, Measure] = {"loss": _loss, "accuracy": _error, NDCG: _missed_gain}


@dataclass(frozen=True)
class BestTemperature:
    """What one measure says of the temperature of one method."""

    method: str
    """Label of the method."""
    measure: str
    """A name of MEASURES."""
    rule: TemperatureRule
    """The best temperature by it."""


def best_temperatures(name: str, observations: Sequence[Observation], min_steps: int) -> list[BestTemperature]:
    """For each method of a sweep and each measure that it has. name: of the sweep."""
    found = []
    for measure, measured in MEASURES.items():
        curves = temperature_curves(observations, measured, min_steps)
        if not curves:
            continue
        solved = solve(curves, priors=PRIORS)
        for label in dict.fromkeys(curve.method.label for curve in curves):
            own = [curve for curve in curves if curve.method.label == label]
            found.append(BestTemperature(label, measure, _rule(name, solved, own)))
    return found


def _rule(name: str, solved: Solved, own: Sequence[RateCurve]) -> TemperatureRule:
    which = solved.model.coefficients_of(own[0])
    order = list(solved.model.exponents_of(own[0]))
    rows = [0, 1 + order.index("batch_size")]
    level, exponent = (which @ solved.mean)[rows].tolist()
    covariance = (which @ solved.covariance @ which.T)[np.ix_(rows, rows)]
    tried = [temperature for curve in own for temperature in curve.rates]
    batches = [float(curve.batch_size) for curve in own]
    return TemperatureRule(
        runs=name,
        temperature=math.exp(level),
        batch_size=math.exp(solved.model.centre["batch_size"]),
        exponent=exponent,
        covariance=tuple(map(tuple, covariance.tolist())),
        scatter=solved.scatter,
        curves=len(own),
        tried=(min(tried), max(tried)),
        batches=(min(batches), max(batches)),
        given_away={f"{each:g}": _given_away(own, each) for each in sorted(set(tried))},
    )


def _given_away(curves: Sequence[RateCurve], temperature: float) -> float:
    """Mean share by which the loss of a temperature lies above that of the best one tried."""
    own = [curve for curve in curves if temperature in curve.rates]
    return float(np.mean([curve.losses[curve.rates.index(temperature)] / min(curve.losses) - 1 for curve in own]))


def temperature_rules(best: Sequence[BestTemperature]) -> dict[str, TemperatureRule]:
    """Label of a method -> the rule by the loss, with what the scores say beside it."""
    rules = {}
    for each in best:
        if each.measure != "loss":
            continue
        scores = {other.measure: other.rule.temperature for other in best if other.method == each.method}
        rules[each.method] = replace(each.rule, by_scores={name: T for name, T in scores.items() if name != "loss"})
    return rules
