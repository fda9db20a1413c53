"""The noise of one run, as a law book states it: how large, by which measures, and how it falls with tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.fitting.estimate import Estimate
from analysis.fitting.noise import about_cells, repeats_of
from analysis.tables.rows import Array, Rows
from planner.law_book import Caveat

LEVEL = 0.01  # of tables whose noise is the same everywhere and is told to fall or to rise
REPEATS = 10  # degrees of freedom from which repeats tell that
SLOPES = np.linspace(-2.0, 2.0, 401)  # powers of D that are tried
SPREAD = np.log(4.0)  # range of ln D below which no power is told


@dataclass(frozen=True)
class RunNoise:
    """What a MethodLaw says of the noise of one run."""

    sd: float
    """Of the log loss, in the geometric middle of the measured tokens."""
    slope: float
    """Power of the tokens by which it falls."""
    scatter: dict[str, float]
    """The noise by other measures, the whole problem's."""


def run_noise(solved: Estimate, mine: NDArray[np.bool_], repeated: float) -> RunNoise:
    """The noise of a method. mine [rows]: which rows are its runs; repeated: sd of its repeats, 0 without any."""
    near = mine & ~solved.scatter.far
    rows = solved.problem.rows.take(near)
    slope, _ = slope_in_tokens(rows, solved.residuals[near])
    within = _log_tokens(rows, solved.problem.rows.take(mine))
    sd = max(solved.noise, repeated) / float(np.sqrt(np.mean(np.exp(-2 * slope * within))))
    return RunNoise(sd, slope, {"rms": solved.scatter.rms, "mad": solved.scatter.mad})


def _log_tokens(rows: Rows, every: Rows) -> Array:
    """ln D of the rows about the middle between the ends of `every` [rows]."""
    logs = np.log(every.D)
    return np.asarray(np.log(rows.D) - (logs.min() + logs.max()) / 2)


def slope_in_tokens(rows: Rows, residuals: Array) -> tuple[float, float]:
    """The power of D by which repeats of runs come closer, 0 where the test does not tell one; and its p.

    Likelihood ratio of normal errors within the cells of repeats, with sd proportional to D ** -slope, against one sd.
    """
    cells = repeats_of(rows)
    counts = np.bincount(cells)
    free = counts - 1
    logs = np.bincount(cells, np.log(rows.D)) / counts
    several = free > 0
    if free.sum() < REPEATS or np.ptp(logs[several]) < SPREAD or len(np.unique(rows.run)) < len(rows):
        return 0.0, 1.0
    squares = np.bincount(cells, about_cells(residuals, cells) ** 2)[several]
    logs, free = logs[several] - logs[several].mean(), free[several]
    scaled = np.maximum(squares @ np.exp(2 * np.outer(logs, SLOPES)), 1e-30)  # [slopes]
    likelihood = -free.sum() / 2 * np.log(scaled / free.sum()) + SLOPES * (free @ logs)
    best = int(likelihood.argmax())
    p = float(special.chdtrc(1, 2 * (likelihood[best] - likelihood[len(SLOPES) // 2])))
    return (float(SLOPES[best]) if p < LEVEL else 0.0), p


def noise_in_tokens(label: str, solved: Estimate, mine: NDArray[np.bool_]) -> list[Caveat]:
    """What to say of a noise that is another at few tokens than at many."""
    near = mine & ~solved.scatter.far
    rows = solved.problem.rows.take(near)
    slope, p = slope_in_tokens(rows, solved.residuals[near])
    if not slope:
        return []
    times = float(np.exp(abs(slope) * np.ptp(np.log(rows.D))))
    few, many = ("few", "many") if slope > 0 else ("many", "few")
    text = f"{label}: repeated runs of {few} tokens scatter {times:.2g} times as much as those of {many} "
    return [Caveat("noise_in_tokens", f"{text}(p = {p:.1g}); prediction intervals allow for it", label)]
