"""A results folder whose losses follow one of the laws that agree with a paper's facts. No training happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.fitting.published.draws import Draws
from planner.laws import Chinchilla
from support.made_sweep import observation, write_sweep
from sweeps.methods import Method
from sweeps.models import ModelSpec
from sweeps.trial import Training

FACTORS = {"E": 1.2, "A": 0.8, "B": 1.1}  # what the data of the runs do to the laws
DATA_PAIRS = 10**9


def write_runs(
    folder: Path,
    truth: Draws,
    methods: Mapping[tuple[str, str], Method],
    models: Sequence[ModelSpec],
    budgets: Sequence[float],
    training: Training,
    factors: Mapping[str, float] = FACTORS,
    noise: float = 0.02,
) -> Path:
    """truth: one draw. methods: the method that is run by the law of a group's setting."""
    chance, trials = np.random.default_rng(0), []
    for (group, member), method in methods.items():
        found = {name: float(values[0]) for name, values in truth.laws[group].coefficients(member).items()}
        law = Chinchilla(**{name: value * factors.get(name, 1.0) for name, value in found.items()})
        trials += [
            observation(
                model,
                method,
                law,
                budget,
                training=training,
                noise=noise,
                generator=chance,
                lr=2e-3,
                data_pairs=DATA_PAIRS,
            )
            for model in models
            for budget in budgets
        ]
    return write_sweep(folder, trials)
