"""Leverage: which few runs carry a coefficient. Runs are never dropped for it, they are named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.fitting.problem import Problem
from analysis.fitting.solver import RESAMPLED, polish
from analysis.tables.rows import Array
from planner.law_book import NORMAL, Caveat

MOST = 5  # runs dropped together, or 2 % of them where that is fewer
# Bootstrap sds that a coefficient may move. 2 % of well-behaved runs, chosen for the worst, move it by about 1.
WARN = 1.5


def leverage(problem: Problem, theta: Array, draws: Array, delta: float, methods: Sequence[str]) -> list[Caveat]:
    """A caveat for each set of few runs without which a coefficient is another one.

    Each run is left out once; for every coefficient the runs that push it most one way are then left out together
    (Broderick et al. 2020, approximate maximum influence) and the law is refitted.
    """
    rows = problem.rows
    runs = int(rows.run.max()) + 1
    few = max(1, min(MOST, round(0.02 * runs)))
    if runs - few <= problem.size:
        return []
    target = np.log(rows.loss)[None]
    alone = (rows.run[None] != np.arange(runs)[:, None]).astype(float)
    base = _readable(problem, theta)[0]
    shifted = (
        _readable(problem, polish(problem, target, alone, np.repeat(theta, runs, 0), delta, RESAMPLED).theta) - base
    )
    sets = sorted({_strongest(shifted[:, j], sign, few) for j in range(len(base)) for sign in (1, -1)})
    left_out = np.array([~np.isin(rows.run, list(chosen)) for chosen in sets], dtype=float)
    refitted = polish(problem, target, left_out, np.repeat(theta, len(sets), 0), delta, RESAMPLED).theta
    spread = np.quantile(_readable(problem, draws), [0.05, 0.95], axis=0)
    shifts = (_readable(problem, refitted) - base) / np.maximum((spread[1] - spread[0]) / (2 * NORMAL), 1e-9)
    return [
        _caveat(problem, theta, refitted[[i]], chosen, shifts[i], methods)
        for i, chosen in enumerate(sets)
        if np.abs(shifts[i]).max() > WARN
    ]


def _readable(problem: Problem, theta: Array) -> Array:
    """Coefficients [R, methods * coefficients], those that span decades as logs."""
    columns = [v for table in problem.coefficients(theta) for v in _scaled(table)]
    return np.stack(columns, axis=1)


def _scaled(table: dict[str, Array]) -> list[Array]:
    spans_decades = ("A", "B", "D_l", "repeats")
    return [np.log(np.maximum(v, 1e-9)) if name in spans_decades else v for name, v in table.items()]


def _strongest(shifted: Array, sign: int, few: int) -> tuple[int, ...]:
    return tuple(sorted(int(run) for run in np.argsort(-sign * shifted)[:few]))


def _caveat(
    problem: Problem, theta: Array, refitted: Array, chosen: tuple[int, ...], shift: Array, methods: Sequence[str]
) -> Caveat:
    rows = problem.rows
    names = ", ".join(dict.fromkeys(rows.name[np.isin(rows.run, chosen)]))
    labels = [(method, name) for method, t in zip(methods, problem.coefficients(theta), strict=True) for name in t]
    before = [float(v[0]) for t in problem.coefficients(theta) for v in t.values()]
    after = [float(v[0]) for t in problem.coefficients(refitted) for v in t.values()]
    far = [j for j in np.argsort(-np.abs(shift)) if abs(shift[j]) > WARN]
    method = labels[far[0]][0]
    changes: dict[tuple[str, float, float], str] = {}  # a coefficient that methods share is said once
    for j in far:
        label, name = labels[j]
        changes.setdefault((name, before[j], after[j]), name if label == method else f"{name} of {label}")
    moves = ", ".join(f"{name} from {old:.4g} to {new:.4g}" for (_, old, new), name in changes.items())
    total = len(np.unique(rows.run))
    return Caveat("leverage", f"{method}: without {names} ({len(chosen)} of {total} runs) {moves}", method)
