"""Rows too far from their law to be noise: each is named with how far it lies, none is dropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.estimate import Estimate
from planner.law_book import Caveat

NAMED = 6  # rows in one caveat


def far_off(label: str, solved: Estimate, mine: NDArray[np.bool_]) -> list[Caveat]:
    """A caveat that names a method's rows far off, the farthest first. label: of the method; mine [rows]: its rows."""
    far = np.flatnonzero(solved.scatter.far & mine)
    if not len(far):
        return []
    places = far[np.argsort(-np.abs(solved.residuals[far]))]
    count = f"{len(places)} of {mine.sum()} rows are" if len(places) > 1 else "one row is"
    text = f"{label}: {count} too far off to be noise: {_named(solved, places.tolist())}; check for errors. "
    them = "them" if len(places) > 1 else "it"
    text += f"No row is dropped; the noise is {100 * solved.scatter.sd:.2g} % without {them} and "
    return [Caveat("far_off", f"{text}{100 * solved.scatter.rms:.2g} % with {them}", label)]


def _named(solved: Estimate, places: Sequence[int]) -> str:
    """Each row with its loss, what the law says there, and how many noise sd lie between."""
    rows, residuals, sd = solved.problem.rows, solved.residuals, max(solved.scatter.mad, 1e-9)
    told = [
        f"{rows.name[i]} (loss {rows.loss[i]:.4g}, law {rows.loss[i] / np.exp(residuals[i]):.4g}: "
        f"{abs(residuals[i]) / sd:.0f} sd {'above' if residuals[i] > 0 else 'below'})"
        for i in places[:NAMED]
    ]
    return ", ".join(told) + (f" and {len(places) - NAMED} more" if len(places) > NAMED else "")
