"""What training temperature does, everything else equal: the best rate of each, judged by one measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from analysis.tables.rate_curves import RateCurve
from sweeps.trial import Observation

Measure = Callable[[Observation], float]


def temperature_curves(observations: Iterable[Observation], measured: Measure, min_steps: int) -> tuple[RateCurve, ...]:
    """A curve over training temperatures, in place of rates, for each method, model, batch size, length and seed.

    measured: what of an observation is to be low, the same quantity at every temperature. Nothing where the held-out
    loss has no temperature of its own, for then it is another quantity at each.
    """
    cells: dict[object, dict[float, Observation]] = {}
    for observation in observations:
        trial, training = observation.trial, observation.trial.training
        known = observation.status == "done" and math.isfinite(measured(observation))
        if not known or training.loss_temperature is None or trial.steps < min_steps:
            continue
        cell = (trial.model, trial.method.label, trial.steps, trial.seed, replace(training, temperature=1.0))
        own = cells.setdefault(cell, {})
        beaten = own.get(training.temperature)
        if beaten is None or measured(observation) < measured(beaten):
            own[training.temperature] = observation
    return tuple(_curve(tried, measured) for tried in cells.values() if len(tried) > 2)


def _curve(tried: dict[float, Observation], measured: Measure) -> RateCurve:
    temperatures = tuple(sorted(tried))
    first = tried[temperatures[0]]
    losses = tuple(measured(tried[temperature]) for temperature in temperatures)
    batch = first.trial.training.batch_size
    return RateCurve(first.trial.method, first.trial.model, first.params, batch, temperatures, losses)
