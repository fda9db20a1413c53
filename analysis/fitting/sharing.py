"""Whether methods may share their exponents: two tests that look for contradiction before any is shared.

Shared exponents hide how methods differ without a word: fifteen protocols of exponents 0.50 to 0.86 once came out as
0.66 to 0.69 each. Both tests are held to half of LEVEL.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.fitting.added_terms import added
from analysis.fitting.isoflop import minima
from analysis.fitting.noise import noise_of
from analysis.fitting.problem import Problem
from analysis.fitting.shape import Shape
from analysis.fitting.solver import ROUGH, solve
from analysis.frontier import budget_levels
from analysis.tables.rows import Array, Rows

LEVEL = 0.01  # of methods that do share exponents and are told not to


def contradiction(rows: Rows, shape: Shape, delta: float) -> str:
    """In words why the methods of these rows do not have the same exponents; "" where nothing speaks against it.

    shape: the form of the family that would share them. delta: of the Huber loss, log loss.
    """
    if (p := own_exponents(rows, shape, delta)) < LEVEL / 2:
        return f"methods with exponents of their own fit the runs better than chance allows (p = {p:.1g})"
    if (p := own_bottoms(rows)) < LEVEL / 2:
        return f"isoFLOP minima give the methods different compute-optimal exponents (p = {p:.1g})"
    return ""


def own_exponents(rows: Rows, shape: Shape, delta: float) -> float:
    """How often methods that share exponents would differ as much, by an F test of own ones; 1 where rows are few."""
    problem = Problem(shape, rows, int(rows.group.max()) + 1)
    theta = solve(problem, np.ones((1, len(rows))), delta, ROUGH).theta  # the test begins with a step of its own
    residuals = problem.residuals(theta)[0]
    near = ~noise_of(residuals, problem.size).far
    own, further = _slopes(problem, theta)
    found = added(residuals[near], own[near], further[near], rows.run[near])
    return found.p if found else 1.0


def _slopes(problem: Problem, theta: Array) -> tuple[Array, Array]:
    """Slopes of the log loss by all parameters [rows, size], and by what each further method's exponents would add."""
    by_row = problem.slopes(theta)[1][0]
    own = np.zeros((len(by_row), problem.size))
    for mine, columns in problem.blocks:
        own[np.ix_(_places(mine, len(by_row)), columns)] = by_row[mine]
    curved = own[:, problem.factors :]
    groups = [problem.rows.group == g for g in range(1, problem.groups)]
    return own, np.concatenate([curved * group[:, None] for group in groups], axis=1)


def _places(mine: NDArray[np.int64] | slice, count: int) -> NDArray[np.int64]:
    return np.arange(count)[mine]


def own_bottoms(rows: Rows) -> float:
    """How often methods of one compute-optimal exponent would have minima as different; 1 where these are few."""
    slopes = [slope for g in np.unique(rows.group) if (slope := _slope(rows.take(rows.group == g)))]
    if len(slopes) < 2:
        return 1.0
    values, errors = np.array(slopes).T
    weights = 1 / np.maximum(errors, 1e-6) ** 2
    apart = float((weights * (values - (weights * values).sum() / weights.sum()) ** 2).sum())
    return float(special.chdtrc(len(slopes) - 1, apart))


def _slope(rows: Rows) -> tuple[float, float] | None:
    """d ln N / d ln C of a method's isoFLOP minima, and its bootstrap error; None with too few of them."""
    runs = pd.DataFrame({"params": rows.N, "flops": rows.flops, "loss": rows.loss, "run": rows.run})
    found = minima(runs, budget_levels(rows.flops))
    if not found.line:
        return None
    # With three minima their scatter has one degree of freedom: a t of it is brought to the scale of a normal.
    free = len(found.known) - 2
    short = special.stdtrit(free, 0.95) / special.ndtri(0.95)
    return found.line.exponent, float(np.std(found.line.exponents) * short)
