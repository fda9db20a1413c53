"""Sweeps over batch sizes whose losses follow known laws, for the tests of the fit. No training happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from planner.batch_law import AtBatch, Balanced, BatchTerm
from planner.laws import Chinchilla, Law
from support.ladder import NANO
from support.made_sweep import observation
from sweeps.methods import Full, LoRA, Method
from sweeps.models import ModelSpec
from sweeps.trial import Observation, Training

SIZES = (8, 24, 64, 192, 512)
BUDGETS = (4e11, 8e11, 1.6e12, 3.2e12, 6.4e12)
MODELS = tuple(model for model in NANO if 2e4 < model.params < 2e6)
TERM = Balanced(k=0.08, q=0.4, s=0.12)
TRUTHS: dict[Method, tuple[Law, BatchTerm]] = {
    Full(): (Chinchilla(E=0.7, A=30.0, alpha=0.35, B=300.0, beta=0.38), TERM),
    LoRA(rank=8): (Chinchilla(E=0.8, A=33.0, alpha=0.35, B=330.0, beta=0.38), Balanced(k=0.04, q=0.4, s=0.12)),
}
LEAST_STEPS = 72


def batch_observations(
    truths: Mapping[Method, tuple[Law, BatchTerm]] | None = None,
    sizes: Sequence[int] = SIZES,
    models: Sequence[ModelSpec] = MODELS,
    budgets: Sequence[float] = BUDGETS,
    noise: float = 0.02,
    rng: int = 0,
) -> list[Observation]:
    """The whole grid, without trials of few steps."""
    generator = np.random.default_rng(rng)
    every = [
        observation(model, method, AtBatch(law, term, size, 0), budget, training=Training(batch_size=size))
        for method, (law, term) in (truths or TRUTHS).items()
        for model in models
        for budget in budgets
        for size in sizes
    ]
    kept = [each for each in every if each.trial.steps >= LEAST_STEPS]
    return [noisy(each, float(generator.normal(0, noise))) for each in kept]


def noisy(one: Observation, by: float) -> Observation:
    """The observation with `by` added to its log loss."""
    assert one.loss
    return replace(one, loss=one.loss * float(np.exp(by)))
