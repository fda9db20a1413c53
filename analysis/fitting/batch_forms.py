"""What form the worth of batch size has, by backtest, and whether runs of several batch sizes share it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.added_terms import added, slopes
from analysis.fitting.backtest import FamilyChoice, score
from analysis.fitting.batch_shape import BATCH_FORMS, BatchShape, NegativesShape
from analysis.fitting.estimate import Estimate
from analysis.fitting.forms import SHAPES
from analysis.fitting.shape import Shape
from analysis.tables.rows import Array, Rows
from planner.batch_law import TERMS

FAMILIES = ("chinchilla", "rectified")  # in which forms are compared: the one whose best form predicts better
LEVEL = 0.01  # of sweeps that follow a form and are told not to
MISSED = 0.015  # of the loss: what a form leaves of the trend in batch size must be more than this to keep sizes apart
NEGATIVES = "negatives"
APART = "batch_sizes_apart"  # code of the caveat of a law that its batch sizes do not share


class Apart(ValueError):
    """Runs of several batch sizes that no form brings together."""


def judged(rows: Rows, delta: float) -> dict[str, Any]:
    """How each form predicts larger runs that a fit had not seen: "chosen", and "tried" with error and its se of each.

    Only forms that a plan can use are chosen: a rival that does better says that they lack something. Empty where the
    runs are too few for a backtest; then the first form stands.
    """
    compared = [found for family in FAMILIES if (found := _in_family(rows, delta, family))]
    if not compared:
        return {"chosen": next(iter(TERMS)), "family": FAMILIES[0], "predicted": 0, "tried": {}}
    return min(compared, key=lambda found: found["tried"][found["chosen"]]["error"])


def _in_family(rows: Rows, delta: float, family: str) -> dict[str, Any]:
    """The same in one family; empty where the runs are too few for it."""
    plain = SHAPES[family]
    shapes: dict[str, Shape] = {name: BatchShape(plain, name) for name in BATCH_FORMS}
    shapes[NEGATIVES] = NegativesShape(plain)
    choices = {name: FamilyChoice(name, shape) for name, shape in shapes.items()}
    backtest = score(list(choices.values()), rows, delta)
    if backtest is None:
        return {}
    first, tried = next(iter(TERMS)), {}
    for name in choices:
        error, se = backtest.error(name)
        residuals = backtest.measured - backtest.fitted[name]
        tried[name] = {"error": error, "se": se, "misfit": float(np.sqrt((residuals**2).mean()))}
    best = min(TERMS, key=lambda name: tried[name]["error"])
    ahead, se = backtest.summary(backtest.errors[first] - backtest.errors[best])
    chosen = best if ahead > se else first  # of two that do alike the simpler one
    return {"chosen": chosen, "family": family, "predicted": backtest.rows, "tried": tried}


def why_apart(label: str, solved: Estimate, mine: NDArray[np.bool_], residuals: Array) -> str:
    """Why the batch sizes of a method do not share its law: a trend in ln B that the form leaves; "" where they do.

    residuals [rows]: of the law, log loss.
    """
    near = mine & ~solved.scatter.far
    rows, left = solved.problem.rows.take(near), residuals[near]
    found = added(left, slopes(solved, near), in_batch_size(rows), rows.run)
    if found is None or found.p >= LEVEL:
        return ""
    missed = float(np.sqrt((found.explained**2).mean()))
    if missed < MISSED:
        return ""
    return f"{label}: its batch sizes leave a trend of {100 * missed:.2g} % of the loss in ln B (p = {found.p:.1g})"


def in_batch_size(rows: Rows) -> Array:
    """What a form may lack: a level of its own for each batch size, and ln B with ln N and with ln D [rows, terms]."""
    sizes = np.broadcast_to(rows.B, rows.D.shape)
    levels = (sizes[:, None] == np.unique(sizes)).astype(float)
    b, n, d = (np.log(values) - np.log(values).mean() for values in (sizes, rows.N, rows.D))
    return np.concatenate([levels[:, 1:], np.stack([b * n, b * d], axis=1)], axis=1)
