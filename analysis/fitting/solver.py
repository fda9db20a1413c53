"""The robust solver: an exhaustive grid over the exponents, then damped Newton steps, all resamples as one batch.

Minimised is sum_i w_i Huber_delta(ln L_i - ln predicted_i) (Hoffmann et al. 2022, section 3.3). For given exponents the
factors are linear, so one small weighted least-squares solve with weights 1 / L**2, the first-order match to log loss,
replaces thousands of random starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.problem import Problem
from analysis.tables.rows import Array

STARTS = 4  # grid points that are polished
SHORTLIST = 256  # grid points, best by least squares, whose robust objective is computed
LOWEST = 10  # one row in so many, the lowest ones, may lie far below all others
GAP = 1.5  # from one loss to the next higher one: more than the steps of a law between neighbouring runs
CHUNK = 100  # resamples solved at once: their slopes then stay in the processor's cache, a third faster


@dataclass(frozen=True)
class Precision:
    """When the solver stops."""

    tolerance: float
    """Of the objective, relative to it: absolute ones have stopped published fits early."""
    most_steps: int = 200
    """Steps after which it gives up."""
    reweighted: int = 6
    """First steps that count far rows by delta / |residual|; a start beside the end needs none."""


EXACT = Precision(1e-10)
BESIDE = Precision(1e-10, reweighted=0)  # from the end of a problem that hardly differs
RESAMPLED = Precision(1e-7)  # of resamples and of fits without a few runs, whose spread is asked for
ROUGH = Precision(1e-6, 60)  # where errors of percents are compared, not coefficients


@dataclass(frozen=True)
class Solution:
    """What R solves of one problem came to."""

    theta: Array
    """Parameters [R, size]."""
    objective: Array
    """The minimised sum [R]."""
    settled: NDArray[np.bool_]
    """Whether each met the tolerance [R]."""


def huber(residual: Array, delta: float) -> Array:
    """Quadratic within delta, linear beyond it."""
    size = np.minimum(np.abs(residual), delta)
    return size * (np.abs(residual) - size / 2)


def solve(problem: Problem, weights: Array, delta: float, precision: Precision = EXACT) -> Solution:
    """The best fit for each row of weights [R, rows], from the grid."""
    return best_of(problem, weights, starts(problem, weights, delta), delta, precision)


def best_of(problem: Problem, weights: Array, begin: Array, delta: float, precision: Precision = EXACT) -> Solution:
    """The best fit for each row of weights [R, rows] that is reached from its starting points begin [R, any, size]."""
    target = np.log(problem.rows.loss)[None]
    count = begin.shape[1]
    begin, weights = begin.reshape(-1, problem.size), np.repeat(weights, count, axis=0)
    polished = polish(problem, target, weights, begin, delta, precision)
    best = polished.objective.reshape(-1, count).argmin(axis=1) + np.arange(0, len(weights), count)
    return Solution(polished.theta[best], polished.objective[best], polished.settled[best])


def starts(problem: Problem, weights: Array, delta: float) -> Array:
    """Good starting points [R, STARTS or twice that, size], from the grid over the exponents, for each row of weights.

    Weights 1 / L**2 would let a single loss near 0 choose all of them: where one lies far below the others, as many
    more come from weights that stop growing there.
    """
    losses = np.sort(problem.rows.loss)
    lowest = losses[: max(2, len(losses) // LOWEST)]
    floors = [0.0, np.median(losses) / 2] if (lowest[1:] > GAP * lowest[:-1]).any() else [0.0]
    return np.concatenate([_starts(problem, weights, delta, np.maximum(problem.rows.loss, end)) for end in floors], 1)


def _starts(problem: Problem, weights: Array, delta: float, scale: Array) -> Array:
    """The best of the grid [R, STARTS, size]; scale [rows]: errors of the loss are counted in units of it."""
    axes = problem.shape.grid(problem.rows)
    mesh = [axis.reshape([-1 if i == j else 1 for j in range(len(axes))] + [1]) for i, axis in enumerate(axes)]
    features = [np.exp(np.asarray(phi)) / scale for phi in problem.shape.grid_terms(mesh, problem.rows)]
    target = problem.rows.loss / scale
    for phi, _ in problem.shape.known(mesh, problem.rows):
        target = target - np.exp(np.asarray(phi)) / scale
    columns = [np.broadcast_to(axis[..., 0], [len(a) for a in axes]).ravel() for axis in mesh]
    grid = np.stack(columns, axis=-1) if columns else np.zeros((1, 0))
    weights = weights * problem.rows.times
    factors: list[Array] = []
    misfit = np.zeros((len(weights), len(grid)))
    for g in range(problem.groups):
        chosen, rest = _linear(features, target, weights * (problem.rows.group == g), [len(a) for a in axes])
        factors.append(chosen)
        misfit = misfit + rest
    by_kind = np.stack(factors, axis=-1).reshape(len(weights), len(grid), -1)
    return np.stack([_shortlist(problem, by_kind[r], grid, misfit[r], weights[r], delta) for r in range(len(weights))])


def _linear(features: list[Array], target: Array, weights: Array, lengths: list[int]) -> tuple[Array, Array]:
    """Positive factors [R, points, terms] of the least squares target = sum_k c_k f_k, and its misfit [R, points].

    target: [rows], or [..., rows] where it differs from point to point. Misfits are less a constant.
    """
    kinds, resamples, points = len(features), len(weights), math.prod(lengths)

    def total(product: Array) -> Array:
        summed = product @ weights.T  # [..., R]
        return np.broadcast_to(summed, [*lengths, resamples]).reshape(points, resamples).T

    gram = np.empty((resamples, points, kinds, kinds))
    right = np.stack([total(f * target) for f in features], axis=-1)  # [R, points, terms]
    for k in range(kinds):
        for m in range(k + 1):
            gram[..., k, m] = gram[..., m, k] = total(features[k] * features[m])
    scale = np.sqrt(np.maximum(np.einsum("rgkk->rgk", gram), 1e-300))
    gram = gram / scale[..., :, None] / scale[..., None, :] + 1e-10 * np.eye(kinds)
    right = right / scale
    factors = np.maximum(np.linalg.solve(gram, right[..., None])[..., 0], 1e-3)
    for _ in range(12):  # coordinate descent towards the best positive factors; a start needs no more
        for k in range(kinds):
            others = np.einsum("rgm,rgm->rg", gram[..., k, :], factors) - gram[..., k, k] * factors[..., k]
            factors[..., k] = np.maximum((right[..., k] - others) / gram[..., k, k], 1e-4)
    fitted = np.einsum("rgk,rgkm,rgm->rg", factors, gram, factors) - 2 * np.einsum("rgk,rgk->rg", factors, right)
    if target.ndim > 1:
        fitted = fitted + total(target**2)
    return factors / scale, fitted


def _shortlist(problem: Problem, factors: Array, grid: Array, misfit: Array, weights: Array, delta: float) -> Array:
    near = np.argsort(misfit)[:SHORTLIST]
    theta = np.concatenate([np.log(factors[near]), grid[near]], axis=1)
    objective = huber(problem.residuals(theta), delta) @ weights
    return np.clip(theta[np.argsort(objective)[:STARTS]], *problem.limits())


def polish(
    problem: Problem, target: Array, weights: Array, theta: Array, delta: float, precision: Precision = EXACT
) -> Solution:
    """Damped Newton on the Huber objective for each row of weights [R, rows] at once; settled ones leave the batch.

    target: ln losses [R or 1, rows]. The first steps count far rows by delta / |residual| (iteratively reweighted, safe
    far away), later ones by the true curvature, which is 0 there and ends an L1-like fit in a few steps instead of
    hundreds.
    """
    weights = weights * problem.rows.times
    parts = []
    for first in range(0, len(theta), CHUNK):
        some = slice(first, first + CHUNK)
        own = target if len(target) == 1 else target[some]
        parts.append(_polish(problem, own, weights[some], theta[some], delta, precision))
    return Solution(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Solution.__dataclass_fields__)
    )


def _polish(
    problem: Problem, target: Array, weights: Array, theta: Array, delta: float, precision: Precision
) -> Solution:
    theta, objective = theta.copy(), np.full(len(theta), np.inf)
    settled = np.zeros(len(theta), dtype=bool)
    batch = np.arange(len(theta))
    low, high = problem.limits()
    tolerance, most_steps, reweighted = precision.tolerance, precision.most_steps, precision.reweighted
    state = _State(problem, target, weights, theta, delta)
    damping, calm = np.full(len(theta), 1e-3), np.zeros(len(theta), dtype=int)
    for step in range(most_steps):
        move, promise = state.direction(delta, damping, step < reweighted, low, high)
        trial = np.clip(state.theta + move, low, high)
        after = _State(problem, state.target, state.weights, trial, delta)
        better = after.objective < state.objective
        gain = np.where(better, 1 - after.objective / np.maximum(state.objective, 1e-300), 0.0)
        still = better & (gain < tolerance) | (promise <= tolerance * state.objective) & (damping < 1e-2)
        state.accept(after, better)
        damping = np.where(better, np.maximum(damping / 2, 1e-10), damping * 3)
        calm = np.where(still, calm + 1, np.where(better, 0, calm))
        done = (calm >= 2) & (step >= reweighted + 2) | (damping > 1e8)
        if done.any() or step == most_steps - 1:
            theta[batch], objective[batch] = state.theta, state.objective
            settled[batch[done]] = True
            if done.all():
                break
            batch, damping, calm = batch[~done], damping[~done], calm[~done]
            state.keep(~done)
    return Solution(theta, objective, settled)


class _State:
    """Residuals, objective and slopes of the resamples still in the batch."""

    def __init__(self, problem: Problem, target: Array, weights: Array, theta: Array, delta: float):
        self.problem, self.target, self.weights, self.theta = problem, target, weights, theta
        predicted, self.slopes = problem.slopes(theta)
        self.residual = target - predicted
        self.objective = np.einsum("rn,rn->r", weights, huber(self.residual, delta))

    def direction(self, delta: float, damping: Array, reweighted: bool, low: Array, high: Array) -> tuple[Array, Array]:
        """The damped step [R, size] and what it promises to gain [R].

        A parameter that its limit holds back leaves the system, or the others would creep along the limit.
        """
        far = np.minimum(1.0, delta / np.maximum(np.abs(self.residual), 1e-300))
        curvature = self.weights * (far if reweighted else far == 1.0)
        size = self.problem.size
        gradient, scale = np.zeros((2, len(self.theta), size))
        hessian = np.zeros((len(self.theta), size, size))
        for mine, own in self.problem.blocks:
            slopes, weights = self.slopes[:, mine], (self.weights * far)[:, mine]
            gradient[:, own] += np.einsum("rn,rnp->rp", weights * self.residual[:, mine], slopes)
            scale[:, own] += np.einsum("rn,rnp->rp", weights, slopes**2)
            hessian[:, own[:, None], own] += np.swapaxes(slopes * curvature[:, mine, None], 1, 2) @ slopes
        scale = damping[:, None] * scale + 1e-12 * scale.max(axis=1, keepdims=True) + 1e-300
        at = np.arange(hessian.shape[1])
        hessian[:, at, at] += scale
        held = ((self.theta <= low) & (gradient < 0)) | ((self.theta >= high) & (gradient > 0))
        gradient[held] = 0
        hessian[held[:, :, None] | held[:, None, :]] = 0
        hessian[:, at, at] += held
        move: Array = np.linalg.solve(hessian, gradient[..., None])[..., 0].astype(float, copy=False)
        promise: Array = np.einsum("rp,rp->r", gradient, move) / 2
        factors = self.problem.factors
        # The loss is linear in the factors, not in their logs: a step of ln c by s is meant as c (1 + s).
        move[:, :factors] = np.log1p(np.clip(move[:, :factors], -0.9, 9.0))
        move[:, factors:] = np.clip(move[:, factors:], -1.0, 1.0)
        return move, promise

    def accept(self, after: _State, better: NDArray[np.bool_]) -> None:
        for name in ("theta", "residual", "objective", "slopes"):
            getattr(self, name)[better] = getattr(after, name)[better]

    def keep(self, which: NDArray[np.bool_]) -> None:
        for name in ("theta", "residual", "objective", "slopes", "weights"):
            setattr(self, name, getattr(self, name)[which])
        if len(self.target) > 1:
            self.target = self.target[which]
