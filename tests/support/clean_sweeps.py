"""Solved sweeps whose runs are one experiment and follow the law but for normal noise: whatever is told of them is a
false alarm."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from analysis.fitting.estimate import Estimate, Settings, fit_problem
from analysis.fitting.forms import SHAPES
from analysis.fitting.problem import Problem
from support.known_runs import TRUTH, grid, rows_of

SWEEPS = 200
PUBLISHED = 1e-3  # delta that counts nearly by absolute residuals
DELTAS = [None, pytest.param(PUBLISHED, marks=pytest.mark.slow)]


def solved(frame, delta: float | None = None, family: str = "chinchilla", seed: int = 0) -> Estimate:
    """The solved law of a family over the runs of `grid`."""
    return fit_problem(Problem(SHAPES[family], rows_of(frame)), Settings(bootstraps=20, seed=seed, delta=delta))


def clean(delta: float | None, sweeps: int = SWEEPS) -> list[Estimate]:
    """So many of them, of 36 runs each in a grid of 6 x 6."""
    return [_one(delta, seed) for seed in range(sweeps)]


@cache
def _one(delta: float | None, seed: int) -> Estimate:
    return solved(grid(TRUTH, 6, 6, 0.02, seed), delta, seed=seed)


def everyone(estimate: Estimate):
    """The mask [rows] of a method that all rows belong to."""
    return np.ones(len(estimate.problem.rows), dtype=bool)
