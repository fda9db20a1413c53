"""Whether terms that a law does not hold explain what it leaves of the losses: an F test of added variables.

The residuals of the fit are regressed on its own slopes and on the added terms at once, so that what a small move of
the coefficients could explain is credited to the law. A fit that counts absolute errors is tested as fairly as one of
least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.fitting.estimate import Estimate
from analysis.tables.rows import Array

INDEPENDENT = 1e-5  # share of a term that the law's own slopes must leave; less is rounding
LEAST_P = 1e-99  # what lies below is printed as 0, which no p is
FEWEST_FREE = 3  # rows beyond the coefficients; fewer tell nothing of the noise


@dataclass(frozen=True)
class Added:
    """What added terms explain."""

    p: float
    """How often noise alone would explain as much."""
    coefficients: Array
    """Of each term; 0 where the law's slopes hold it already [terms]."""
    t: Array
    """Coefficient of each term over its standard error; 0 where the law's slopes hold it already [terms]."""
    explained: Array
    """What the terms add to the log loss of each row [rows]."""
    rest: Array
    """What is then left of the residuals [rows]."""


def slopes(solved: Estimate, which: NDArray[np.bool_]) -> Array:
    """By how much the log loss of some rows moves with each of their method's own coefficients [some, own]."""
    return solved.problem.slopes(solved.theta)[1][0, which]


def added(
    residuals: Array, own: Array, terms: Array, runs: NDArray[np.int64], noise: tuple[float, int] | None = None
) -> Added | None:
    """The test of `terms` [rows, terms]; None where too few rows are left over.

    residuals [rows]: of the log loss. own [rows, coefficients]: what the law can explain. runs [rows]: the training run
    of each row; where rows share one, errors are clustered by it. noise: variance of a run and its degrees of freedom,
    where repeats tell it; else it is that of what is left.
    """
    base = _basis(own)
    left, new = residuals - base @ (base.T @ residuals), terms - base @ (base.T @ terms)
    told = np.linalg.norm(new, axis=0) > INDEPENDENT * np.maximum(np.linalg.norm(terms, axis=0), 1e-300)
    basis = _basis(new[:, told])
    count, free = basis.shape[1], len(residuals) - base.shape[1] - basis.shape[1]
    if count == 0 or free < FEWEST_FREE:
        return None
    explained = basis @ (basis.T @ left)
    rest = left - explained
    units = np.unique(runs, return_inverse=True)[1]
    variance, sure = noise or (max(float((rest**2).sum()) / free, 1e-30), free)
    if noise is None and units.max() + 1 < len(runs):
        units_free = max(int(units.max()) + 1 - base.shape[1] - count, 1)
        statistic, sure = _clustered(base, basis, explained, rest, units), units_free
    else:
        statistic = float((explained**2).sum()) / count / variance
    inverse = np.linalg.pinv(new[:, told].T @ new[:, told], rcond=INDEPENDENT**2)
    coefficients, t = np.zeros((2, terms.shape[1]))
    coefficients[told] = inverse @ new[:, told].T @ left
    t[told] = coefficients[told] / np.sqrt(np.maximum(variance * np.diag(inverse), 1e-300))
    return Added(max(float(special.fdtrc(count, sure, statistic)), LEAST_P), coefficients, t, explained, rest)


def _basis(columns: Array) -> Array:
    """Orthonormal columns that span the same space [rows, rank]."""
    scaled = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    left, sizes, _ = np.linalg.svd(scaled, full_matrices=False)
    kept: Array = left[:, sizes > INDEPENDENT]
    return kept


def _clustered(base: Array, basis: Array, explained: Array, rest: Array, units: NDArray[np.int64]) -> float:
    """The Wald statistic over its terms where rows of one unit share their errors.

    The rest of each unit is what a fit without it would leave (CR3: Bell and McCaffrey 2002), for few units make the
    plain covariance far too small.
    """
    whole, sums = np.concatenate([base, basis], axis=1), []
    for unit in range(units.max() + 1):
        of = whole[units == unit]
        without = np.linalg.pinv(np.eye(len(of)) - of @ of.T) @ rest[units == unit]
        sums.append(basis[units == unit].T @ without)
    covariance = np.transpose(sums) @ np.array(sums)
    found = basis.T @ explained
    return float(found @ np.linalg.pinv(covariance) @ found) / basis.shape[1]
