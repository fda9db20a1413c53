"""How far single runs lie from a law: their noise, and the rows that are too far off to be noise.

Rows far off stay in every fit, whose Huber loss counts them linearly, and are named. The noise that widens intervals is
that of the other rows: one mistyped loss would else widen each of them twenty-fold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.tables.rows import Array, Rows

NORMAL_MAD = 1.4826  # sd of a normal over the median of its absolute values
MAD_WORTH = 0.37  # a MAD is as sure as an rms of so many times the rows
ONCE_IN = 0.01  # clean tables in which some row is called far off
LEAST_SDS = 5.0  # nearer rows are told by nobody: tails of real runs are heavier than normal ones
LEAST_GAP = 1e-3  # of the loss: what a solver leaves of runs without noise is no finding
ALIKE = 0.02  # of the logs of D and U within one cell
SPAN = 1e40  # unique tokens may be infinite
MOST_FAR = 0.15  # share of the rows; more of them are no single rows, but the noise itself


@dataclass(frozen=True)
class Noise:
    """Scatter of log losses about a law, coefficients discounted."""

    sd: float
    """What intervals use: the rms of the rows that are not far off."""
    rms: float
    """Of all rows."""
    mad: float
    """From the median absolute residual, which a few rows cannot move."""
    far: NDArray[np.bool_]
    """Which rows are far off [rows]."""


def noise_of(residuals: Array, size: int) -> Noise:
    """Noise of log residuals [rows] that a fit of `size` coefficients left."""
    mad = _mad(residuals, size)
    far = _far(residuals, size, mad)
    return Noise(_rms(residuals[~far], size), _rms(residuals, size), mad, far)


def _rms(residuals: Array, size: int) -> float:
    return float(np.sqrt((residuals**2).sum() / max(len(residuals) - size, 1)))


def normal_sd(errors: Array) -> float:
    """Sd of normal errors from their median size, which a few wild ones cannot move."""
    return NORMAL_MAD * float(np.median(np.abs(errors)))


def _mad(residuals: Array, size: int) -> float:
    """A fit that counts absolute residuals passes through as many rows as it has coefficients: these tell nothing."""
    ordered = np.sort(np.abs(residuals))
    return normal_sd(ordered[min(size, len(ordered) - 1) :])


def _far(residuals: Array, size: int, mad: float) -> NDArray[np.bool_]:
    """Rows beyond what the farthest of so many normal rows reaches in one clean table of a hundred."""
    count = len(residuals)
    sure = max(MAD_WORTH * (count - size), 1.0)
    reach = max(float(special.stdtrit(sure, 1 - ONCE_IN / (2 * count))), LEAST_SDS)
    far = np.abs(residuals) > max(reach * mad, LEAST_GAP)
    return far if far.sum() <= max(1, MOST_FAR * count) else np.zeros(count, dtype=bool)


def repeats_of(rows: Rows) -> NDArray[np.int64]:
    """Number of the cell of each row [rows]: rows of one cell are alike in everything that laws know.

    Seeds of one trial differ in D by what their pairs hold, so D and U count as equal within a percent or two.
    """
    sizes = [np.log(np.minimum(values, SPAN)) / ALIKE for values in (rows.D, rows.U)]
    batch = np.broadcast_to(rows.B, rows.N.shape)
    alike = np.stack([rows.group, np.log(rows.N), rows.S, batch, *map(np.round, sizes)], axis=1)
    return np.asarray(np.unique(alike, axis=0, return_inverse=True)[1]).ravel()


def about_cells(values: Array, cells: NDArray[np.int64]) -> Array:
    """By what each value [rows] differs from the mean of its cell."""
    return values - (np.bincount(cells, values) / np.bincount(cells))[cells]
