"""Whether the runs follow a law at all: what it leaves of their losses is tested for trends that no noise makes.

Three tests, each at its part of LEVEL: a quadratic in ln N and ln D beyond what the law takes; the residuals against
what repeats of a run differ by; and neighbouring runs, which noise does not make alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.added_terms import Added, added, slopes
from analysis.fitting.estimate import Estimate
from analysis.fitting.noise import about_cells, repeats_of
from analysis.tables.rows import Array, Rows
from planner.law_book import Caveat

LEVEL = 0.01  # of clean tables that are told to follow no law
TESTS = 3
REPEATS = 10  # degrees of freedom from which repeats tell the noise of a run
NAMED_T = 3.0  # |t| from which a term is told by name
LARGEST = 0.1  # share of the runs, by compute, whose mean error is told
LEAST_SHIFT = 1e-4  # of the loss: a trend that is smaller misleads nobody
PERMUTATIONS = 999
SEED = 0  # of the permutations
TERMS = ("ln N", "ln D", "(ln N)^2", "ln N x ln D", "(ln D)^2")


def lack_of_fit(label: str, solved: Estimate, mine: NDArray[np.bool_], residuals: Array) -> list[Caveat]:
    """Caveats on trends in the residuals of a method; mine [rows]: which rows are its runs.

    residuals [rows]: of the law, which may be a mean of families of which `solved` is the one with the largest weight.
    """
    near = mine & ~solved.scatter.far
    rows, residuals = solved.problem.rows.take(near), residuals[near]
    if len(rows) <= solved.problem.shape.size:
        return []
    own, noise = slopes(solved, near), _repeat_variance(rows, residuals)
    found = added(residuals, own, quadratic(rows), rows.run, noise)
    if found and found.p < LEVEL / TESTS and _rms(found.explained) > LEAST_SHIFT:
        return [Caveat("lack_of_fit", _trend(label, rows, residuals, found), label)]
    rest = found.rest if found else residuals
    if text := _beyond_repeats(rows, residuals, own, noise) or _neighbours(rows, rest):
        return [Caveat("lack_of_fit", f"{label}: {text}", label)]
    return []


def _rms(values: Array) -> float:
    return float(np.sqrt((values**2).mean()))


def quadratic(rows: Rows) -> Array:
    """A full quadratic in ln N and ln D, without its constant [rows, 5]; see TERMS."""
    n, d = (values - values.mean() for values in (np.log(rows.N), np.log(rows.D)))
    return np.stack([n, d, n**2, n * d, d**2], axis=1)


def _trend(label: str, rows: Rows, residuals: Array, found: Added) -> str:
    """Which terms the law lacks, and by how much it misses the largest runs."""
    told = [f"{name} (t = {t:.1f})" for name, t in zip(TERMS, found.t, strict=True) if abs(t) > NAMED_T]
    largest = rows.flops >= np.quantile(rows.flops, 1 - LARGEST)
    gap = float(np.mean(residuals[largest]))
    side = "over-predicts" if gap < 0 else "under-predicts"
    size = 100 * _rms(found.explained)
    text = f"{label}: the runs do not follow the law: residuals have a trend of {size:.2g} % (p = {found.p:.1g})"
    text += f" in {', '.join(told)}" if told else " in ln N and ln D"
    return f"{text}; the law {side} the {largest.sum()} largest runs by {100 * abs(np.expm1(gap)):.2g} % on average"


def _repeat_variance(rows: Rows, residuals: Array) -> tuple[float, int] | None:
    """Variance of a run by its repeats and its degrees of freedom; None where these are few."""
    cells = repeats_of(rows)
    free = len(rows) - int(cells.max()) - 1
    if free < REPEATS or len(np.unique(rows.run)) < len(rows):
        return None
    return max(float((about_cells(residuals, cells) ** 2).sum()) / free, 1e-30), free


def _beyond_repeats(rows: Rows, residuals: Array, own: Array, noise: tuple[float, int] | None) -> str:
    """What to say where runs miss the law by more than repeats of one run differ."""
    if noise is None:
        return ""
    cells = repeats_of(rows)
    every = np.eye(int(cells.max()) + 1)[cells]  # each cell its own mean: all that any law of N and D could say
    found = added(residuals, own, every, rows.run, noise)
    if found is None or found.p >= LEVEL / TESTS or _rms(found.explained) < LEAST_SHIFT:
        return ""
    missed, repeated = 100 * _rms(residuals), 100 * np.sqrt(noise[0])
    return f"the law misses the runs by {missed:.2g} %, where repeats of one run differ by {repeated:.2g} % only"


def _neighbours(rows: Rows, residuals: Array) -> str:
    """What to say where the nearest runs miss the law alike, by a permutation of the residuals."""
    place = np.stack([values / max(float(np.std(values)), 1e-9) for values in (np.log(rows.N), np.log(rows.D))], axis=1)
    apart = ((place[:, None] - place[None]) ** 2).sum(axis=2)
    apart[rows.run[:, None] == rows.run[None]] = np.inf  # rows of one run are alike without any trend
    nearest = apart.argmin(axis=1)
    if len(rows) < 2 * TESTS or not np.isfinite(apart.min(axis=1)).all() or _rms(residuals) < LEAST_SHIFT:
        return ""
    if len(np.unique(rows.run)) < len(rows):
        return ""  # shuffled rows would not keep what rows of one run share
    found = float((residuals * residuals[nearest]).mean())
    chance = np.random.default_rng(SEED)
    shuffled = np.stack([chance.permutation(residuals) for _ in range(PERMUTATIONS)])
    as_far = (shuffled * shuffled[:, nearest]).mean(axis=1) >= found
    if (1 + as_far.sum()) / (1 + PERMUTATIONS) >= LEVEL / TESTS:
        return ""
    local = 100 * np.sqrt(((residuals - residuals[nearest]) ** 2).mean() / 2)
    away = f"by {100 * _rms(residuals):.2g} %, and from each other by only {local:.2g} %"
    return f"neighbouring runs deviate from the law in the same direction: {away}"
