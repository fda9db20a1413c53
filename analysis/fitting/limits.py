"""Coefficients at the end of where the fit looks for them, or that no run depends on: the runs tell neither."""

from __future__ import annotations

import numpy as np

from analysis.fitting.estimate import Estimate
from analysis.fitting.problem import FLOOR
from planner.law_book import Caveat

MOSTLY = 0.5  # share of the resamples at an end from which a coefficient is told, though the best fit has another
NEAR = 1e-6  # of an end: the solver stops there exactly, but for rounding


def at_limits(label: str, number: int, solved: Estimate) -> list[Caveat]:
    """A caveat for each coefficient of a method that its runs do not tell.

    label: of the method; number: its place in the problem.
    """
    problem = solved.problem
    places = {name: k * problem.groups + number for k, name in enumerate(problem.shape.linear)}
    places |= {name: problem.factors + j for j, name in enumerate(problem.shape.curved)}
    values = {name: float(v[0]) for name, v in problem.coefficients(solved.theta)[number].items() if name in places}
    told = {name: _where(solved, number, places[name], value) for name, value in values.items()}
    return [
        Caveat("at_limit", f"{label}: {name} {where}; its interval does not mean that it is known", label)
        for name, where in told.items()
        if where
    ]


def _where(solved: Estimate, number: int, place: int, value: float) -> str:
    """Where a coefficient lies that the runs do not tell; "" for others. place: its own among the parameters."""
    problem = solved.problem
    low, high = (float(ends[place]) for ends in problem.limits())
    slack = FLOOR if place < problem.factors else NEAR
    for side, there in (
        ("lower", np.concatenate([solved.theta, solved.draws])[:, place] <= low + slack),
        ("upper", np.concatenate([solved.theta, solved.draws])[:, place] >= high - slack),
    ):
        end = f"the {side} end of the range of the fit ({value:.3g})" if value else "0"
        bound = "small" if side == "lower" else "large"
        if there[0]:
            return f"is at {end}: the runs show only that it is {bound}"
        if there[1:].mean() > MOSTLY:
            return f"is at {end.split(' (', 1)[0]} in {100 * there[1:].mean():.0f} % of the resamples"
    slopes = problem.slopes(solved.theta)[1][0, problem.rows.group == number]
    if place >= problem.factors and np.abs(slopes[:, place - problem.size]).max() < solved.noise:
        return f"({value:.3g}) could be several times as large or small and move no run by more than its noise"
    return ""
