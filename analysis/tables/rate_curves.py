"""The searches of learning rates in a sweep: the loss at every rate that was tried, everything else equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sweeps.methods import Method
from sweeps.trial import Observation, Training

WORSE = ("diverged", "pruned")  # statuses of a rate that was tried and gave no loss


@dataclass(frozen=True)
class RateCurve:
    """Held-out loss against the peak learning rate, everything else equal."""

    method: Method
    """The tuning method, with its settings."""
    model: str
    """Name of the model."""
    params: int
    """N."""
    batch_size: int
    """Pairs in a step."""
    rates: tuple[float, ...]
    """The rates tried, rising; two or more."""
    losses: tuple[float, ...]
    """The loss of each; infinite where it diverged. One at least is finite."""

    @property
    def place(self) -> int:
        """Place of the best rate."""
        return int(np.argmin(self.losses))

    @property
    def best(self) -> float:
        """The best of the rates tried."""
        return self.rates[self.place]

    @property
    def at_an_end(self) -> int:
        """-1 or 1 where the best rate is the lowest or the highest tried, 0 where it has a rate on either side."""
        return -1 if self.place == 0 else 1 if self.place == len(self.rates) - 1 else 0

    @property
    def bowl(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """ln(rate) and ln(loss) of the best rate and its neighbours, at an end of the two nearest; None where one of
        the three is not known."""
        first = min(max(self.place - 1, 0), len(self.rates) - 3)
        around = slice(first, first + 3)
        if first < 0 or not all(map(math.isfinite, self.losses[around])):
            return None
        return tuple(map(math.log, self.rates[around])), tuple(map(math.log, self.losses[around]))

    def log_loss_at(self, rate: float) -> float:
        """ln(loss) at a rate: by the parabola through the best rate and its neighbours, beyond these along straight
        lines in ln(rate) through the rates tried; NaN beside a rate that diverged."""
        x = math.log(rate)
        if (bowl := self.bowl) and bowl[0][0] <= x <= bowl[0][-1]:
            return float(np.polyval(np.polyfit(*bowl, 2), x))
        xs, ys = np.log(self.rates), np.log(self.losses)
        ends = list(pairwise(range(len(xs))))
        low, high = next((pair for pair in ends if x <= xs[pair[1]]), ends[-1])
        slope = (ys[high] - ys[low]) / (xs[high] - xs[low])
        at = float(ys[low] + slope * (x - xs[low]))
        return at if math.isfinite(at) else math.nan


def rate_curves(
    observations: Iterable[Observation], like: Training, measured: Callable[[Observation], float], min_steps: int
) -> tuple[RateCurve, ...]:
    """The searches among trials whose conditions are `like`, but for the batch size.

    measured: what of an observation is to be low. Trials that failed were not tried, nor those of too few steps.
    """
    cells: dict[tuple[str, str, int, int, int], dict[float, Observation]] = {}
    for observation in observations:
        trial = observation.trial
        batch = trial.training.batch_size
        known = observation.status == "done" and math.isfinite(measured(observation))
        enters = trial.steps >= min_steps and (known or observation.status in WORSE)
        if enters and replace(trial.training, batch_size=like.batch_size) == like:
            cell = (trial.model, trial.method.label, batch, trial.steps, trial.seed)
            cells.setdefault(cell, {}).setdefault(trial.lr, observation)
    return tuple(curve for tried in cells.values() if (curve := _curve(tried, measured)))


def _curve(tried: dict[float, Observation], measured: Callable[[Observation], float]) -> RateCurve | None:
    """The curve of a cell; None where nothing was searched."""
    done = [observation for observation in tried.values() if observation.status == "done"]
    if len(tried) < 2 or not done:
        return None
    rates = tuple(sorted(tried))
    losses = [measured(tried[rate]) if tried[rate].status == "done" else math.inf for rate in rates]
    trial = done[0].trial
    batch = trial.training.batch_size
    return RateCurve(trial.method, trial.model, done[0].params, batch, rates, tuple(losses))
