"""What figures of single trials ask of an observation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sweeps.trial import Observation


def loss_of(observation: Observation) -> float:
    """Its held-out loss, nats per pair; infinite where it ended without one."""
    return observation.loss if observation.loss is not None and np.isfinite(observation.loss) else np.inf


def budget_of(observation: Observation) -> float:
    """The budget that it was planned for, FLOPs; what it took where it was planned for none."""
    return float(observation.trial.budget or observation.flops)


def of_method(observations: Iterable[Observation], label: str) -> list[Observation]:
    """The observations of one tuning method."""
    return [observation for observation in observations if observation.trial.method.label == label]
