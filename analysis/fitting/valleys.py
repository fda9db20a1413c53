"""The bottom of ln loss over ln N at each of several budgets, without a law.

Near its bottom at ln N = m the valley of a budget is c + k (u^2 + s u^3) with u = ln N - m. Each budget has its own c,
k and m; the skew s is one for all of them, as it is for every law that is a sum of powers of N and D. A parabola
(s = 0) through all sizes is biased by 0.03 in an exponent where alpha and beta differ, and a cubic for each budget has
twice the error of a parabola: tests/analysis/fitting/test_valleys.py. A spline follows the noise: with 7 sizes and
noise of 1.2 %, Akima's has a root mean square error of 0.50 in ln N*, a valley 0.25: tests/benchmarks/bench_isoflop.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frontier import Level
from analysis.tables.rows import Array

NEAREST = 7  # sizes around the bottom that are fitted, or more where
NEAR = np.log(6.0)  # these lie as near as that in ln N
FEWEST_SIZES = 4  # a valley has three coefficients of its own
USUAL_SKEW = 0.2  # sd of s; sums of powers have (beta - alpha) / 3
USUAL_SLOPE = 0.1  # sd of d ln L / d ln C, where runs of one level spent different amounts
STEPS = 8  # of Gauss-Newton; the last ones move a bottom by less than 1e-4
FARTHEST_STEP = 0.7  # in ln N
LEAST_BEND = 1e-8  # k of a valley that opens upward
OUTSIDE = 1.0  # in ln N: how far beyond the tried sizes a bottom is followed
SAME_BUDGET = 0.02  # ln C within which the runs of a budget need no correction for it


@dataclass(frozen=True)
class Valleys:
    """The valleys of [draws] sets of losses at [levels] budgets."""

    bottoms: Array
    """ln N at the bottom [draws, levels]; nan where the valley opens downward."""
    errors: Array
    """Standard error of that by the residuals of all levels, as if all valleys were as deep as the middle one [draws,
    levels]: weights by the depth that noise gave to each would favour bottoms in the middle of the tried sizes."""
    skew: Array
    """s [draws]."""
    slope: Array
    """d ln L / d ln C between the runs of one budget [draws]; 0 where they spent the same."""
    fitted: Array
    """ln loss of the valley at every run [draws, levels, runs]."""
    window: Array
    """What the runs that the valley was fitted to count, else 0 [draws, levels, runs]."""


@dataclass(frozen=True)
class Levels:
    """The runs of several budgets as arrays [levels, runs], the shorter ones padded with runs of weight 0."""

    budgets: Array
    """C of each level, FLOPs [levels]."""
    sizes: Array
    """ln N, brought to the level's budget as if N grew as C^0.5."""
    loss: Array
    """ln loss."""
    spent: Array
    """ln of what was spent over the level's budget."""
    there: Array
    """How much each run counts, 1 on average; 0 for padding."""
    run: NDArray[np.int64]
    """Number of the training run, from 0; rows of one run share its noise."""
    tried: tuple[Array, ...] = field(repr=False)
    """For each level the different ln N, ascending."""

    @classmethod
    def of(cls, runs: pd.DataFrame, levels: Sequence[Level]) -> Levels:
        """The runs at these levels; `runs` as in Table.rows."""
        params, flops, losses = (runs[name].to_numpy(float) for name in ("params", "flops", "loss"))
        counts = runs["weight"].to_numpy(float) if "weight" in runs else np.ones(len(runs))
        run = pd.factorize(runs["run"].to_numpy())[0]
        members = [np.flatnonzero((flops >= level.low) & (flops <= level.high)) for level in levels]
        budgets = np.array([level.middle for level in levels])
        most = max(map(len, members))
        there = np.array([np.arange(most) < len(own) for own in members])
        places = np.array([np.append(own, np.zeros(most - len(own), int)) for own in members])
        spent = np.where(there, np.log(flops)[places] - np.log(budgets)[:, None], 0.0)
        if np.abs(spent).max() < SAME_BUDGET:
            spent = 0 * spent
        return cls(
            budgets,
            np.where(there, np.log(params)[places] - spent / 2, 0.0),
            np.where(there, np.log(losses)[places], 0.0),
            spent,
            np.where(there, (counts / counts.mean())[places], 0.0),
            run[places],
            tuple(np.log(np.unique(params[own])) for own in members),
        )

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """The smallest and the largest ln N of each level."""
        return np.array([sizes[0] for sizes in self.tried]), np.array([sizes[-1] for sizes in self.tried])

    @cached_property
    def several_budgets(self) -> bool:
        """Whether runs of one level spent different amounts."""
        return bool(np.abs(self.spent).max() > SAME_BUDGET)

    @cached_property
    def _tried(self) -> Array:
        """The different sizes [levels, sizes], padded with infinity."""
        most = max(len(sizes) for sizes in self.tried)
        return np.array([np.append(sizes, np.full(most - len(sizes), np.inf)) for sizes in self.tried])

    def window(self, centres: Array) -> Array:
        """What the runs of the NEAREST sizes, and of all near ones, around centres [draws, levels] count; else 0."""
        distances = np.sort(np.abs(self._tried - centres[..., None]), axis=-1)
        last = np.array([min(NEAREST, len(sizes)) - 1 for sizes in self.tried])
        radius = np.maximum(distances[:, np.arange(len(last)), last], NEAR) + 1e-9
        return self.there * (np.abs(self.sizes - centres[..., None]) <= radius[..., None])

    @cached_property
    def _smoother(self) -> Array:
        """What turns ln losses into those of the parabola around each run [levels, runs, runs]."""
        windows = self.window(self.sizes.T)  # around the first run of each level, the second and so on
        away = self.sizes - self.sizes.T[..., None]  # [runs, levels, runs]
        terms = np.stack([np.ones_like(away), away, away**2], axis=-1)
        weights = windows[..., None, :] * np.swapaxes(terms, -1, -2)
        return np.swapaxes(np.linalg.solve(_damped(weights @ terms), weights)[..., 0, :], 0, 1)

    def smooth(self, losses: Array) -> Array:
        """ln losses [draws, levels, runs] without their noise, by a parabola around each run."""
        return np.einsum("lij,dlj->dli", self._smoother, losses)


def valleys(levels: Levels, losses: Array) -> Valleys:
    """The valleys of ln losses [draws, levels, runs]; no level may have fewer than FEWEST_SIZES sizes."""
    lowest = np.where(levels.there > 0, levels.smooth(losses), np.inf).argmin(axis=-1)
    bottoms = np.take_along_axis(levels.sizes, lowest.T, axis=1).T
    skew, slope, bends = np.zeros(len(losses)), np.zeros(len(losses)), np.ones_like(bottoms)
    low, high = levels.ends
    for step in range(STEPS):
        if step < STEPS // 2:
            window = levels.window(bottoms)
        own, shared = _terms(levels, bottoms, skew)
        left = losses - slope[:, None, None] * levels.spent
        solved = _solved(own, window, np.concatenate([left[..., None], shared], axis=-1))
        bends = solved[..., 1, 0]
        up = bends > LEAST_BEND
        if step:
            now = np.stack([skew, slope], axis=-1)
            more = _shared(left[..., None], own, shared, solved, window, np.where(up, bends, 0.0), now)
            skew = np.clip(skew + np.clip(more[:, 0], -USUAL_SKEW, USUAL_SKEW), -2 * USUAL_SKEW, 2 * USUAL_SKEW)
            slope = slope + more[:, 1]
        moved = np.where(up, solved[..., 2, 0] / np.where(up, bends, 1.0), 0.0)
        bottoms = np.clip(bottoms + np.clip(moved, -FARTHEST_STEP, FARTHEST_STEP), low - OUTSIDE, high + OUTSIDE)
    own, _ = _terms(levels, bottoms, skew)
    trend = slope[:, None, None] * levels.spent
    fitted = (own[..., :2] @ _solved(own[..., :2], window, (losses - trend)[..., None]))[..., 0] + trend
    noise = (window * (losses - fitted) ** 2).sum(axis=(1, 2)) / _free(levels, window)
    inverse = np.linalg.inv(_damped(np.swapaxes(own * window[..., None], -1, -2) @ own))[..., 2, 2]
    up = bends > LEAST_BEND
    errors = np.sqrt(noise[:, None] * inverse) / np.maximum(np.median(bends, axis=1), LEAST_BEND)[:, None]
    return Valleys(np.where(up, bottoms, np.nan), errors, skew, slope, fitted, window)


def _free(levels: Levels, window: Array) -> Array:
    """Degrees of freedom that the residuals of all levels have left [draws]."""
    return np.maximum(window.sum(axis=(1, 2)) - 3 * len(levels.budgets) - 1 - levels.several_budgets, 1.0)


def _terms(levels: Levels, bottoms: Array, skew: Array) -> tuple[Array, Array]:
    """Derivatives of the valleys [draws, levels, runs, ...]: by c, k and k m, and by k s and the slope in ln C."""
    u, s = levels.sizes - bottoms[..., None], skew[:, None, None]
    square = u * u
    cube = square * u
    own = np.stack([np.ones_like(u), square + s * cube, -2 * u - 3 * s * square], axis=-1)
    return own, np.stack([cube, np.broadcast_to(levels.spent, u.shape)], axis=-1)


def _solved(terms: Array, window: Array, targets: Array) -> Array:
    """Least squares of targets [..., runs, targets] within the window; [..., terms, targets]."""
    weighted = np.swapaxes(terms * window[..., None], -1, -2)
    return np.asarray(np.linalg.solve(_damped(weighted @ terms), weighted @ targets))


def _damped(normal: Array) -> Array:
    """Normal equations that can be solved even where every run has the same size."""
    count = normal.shape[-1]
    trace = np.trace(normal, axis1=-2, axis2=-1)[..., None, None]
    return np.asarray(normal + np.eye(count) * (1e-9 * trace / count))


def _shared(losses: Array, own: Array, shared: Array, solved: Array, window: Array, bends: Array, now: Array) -> Array:
    """By how much the skew and the slope in ln C, which all levels share, have to change [draws, 2].

    What the levels' own terms explain is taken out of both sides. Both are drawn to 0 as far as the noise leaves them
    open.
    """
    left = np.concatenate([losses, shared], axis=-1) - own @ solved
    left[..., 1] *= bends[..., None]
    normal = np.einsum("dlra,dlr,dlrb->dab", left, window, left)
    free = np.maximum(window.sum(axis=(1, 2)) - 3 * bends.shape[1], 1)
    pull = (normal[:, 0, 0] / free)[:, None] / np.array([USUAL_SKEW, USUAL_SLOPE]) ** 2 + 1e-15
    system = normal[:, 1:, 1:] + pull[:, :, None] * np.eye(2)
    return np.asarray(np.linalg.solve(system, (normal[:, 1:, 0] - pull * now)[..., None])[..., 0])


def resampled(levels: Levels, found: Valleys, draws: int, seed: int) -> Valleys:
    """Bootstrap: the valleys of losses with fresh noise, [draws] times.

    A local fit rests on seven sizes, which resampled rows would often lose. So every run gets normal noise about the
    valley, the same for all rows of a run; its sd is drawn from what the residuals at all levels leave open.
    """
    window, generator = found.window[0], np.random.default_rng(seed)
    left, free = (levels.loss - found.fitted[0]) * window, _free(levels, found.window)[0]
    scale = np.sqrt((left**2).sum() / generator.chisquare(free, (draws, 1, 1)))
    fresh = generator.normal(size=(draws, int(levels.run.max()) + 1))[:, levels.run]
    middle = np.where(window > 0, found.fitted[0], levels.smooth(levels.loss[None])[0])
    return valleys(levels, middle + scale * fresh)
