"""The profile of a coefficient: how much worse the best law becomes when the coefficient is held elsewhere.

Its 90 % interval holds every value that a likelihood-ratio test does not refuse. Unlike the bootstrap it says so where
runs bound a coefficient on one side only, or on none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from analysis.fitting.derived import DerivedShape
from analysis.fitting.estimate import Estimate
from analysis.fitting.problem import Problem
from analysis.fitting.shape import EXPONENT_RANGE
from analysis.fitting.solver import BESIDE, polish, solve
from analysis.tables.rows import Array
from planner.law_book import MethodLaw
from planner.laws import LAWS, Law, coefficients_of

SHARE = 0.90  # of the interval
WEAK = 3.0  # times that the upper end of a coefficient's bootstrap interval lies above the lower one
FIRST_STEP = 0.05  # of the log of a coefficient, from the best value outwards; each further step is twice as long
PRECISION = 1e-4  # of the same
REACH = 25.0  # of the log of a factor, on either side of the best value; farther below it counts as 0


@dataclass(frozen=True)
class Profile:
    """The profile of one coefficient of one method."""

    best: float
    """The fitted value."""
    low: float | None
    """Lower end of the 90 % interval; None where no value is too low."""
    high: float | None
    """Upper end; None where no value is too high."""
    points: tuple[tuple[float, float], ...]
    """Values that were tried, ascending, each with the rise of the objective over that at an end of the interval."""


def profiles(law: MethodLaw, solved: Estimate, number: int, asked: str) -> dict[str, Any]:
    """Coefficient -> its profile, as a law book states it.

    solved: the law's family with the largest weight; number: of the method in that problem; asked: names, separated by
    commas, or "weak": those that the bootstrap hardly tells. Raises ValueError.
    """
    known = profiled(law.family, solved)
    names = [name.strip() for name in asked.split(",")]
    if asked == "weak":
        names = weak({name: law.intervals[law.family][name] for name in known})
    for name in names:
        if name not in known:
            of = f"{law.family}{' with shared exponents' if solved.problem.groups > 1 else ''}"
            raise ValueError(f"`profile` has {name!r}; coefficients of {of}: {', '.join(known)}; or weak")
    best = law.parts[law.family].coefficients
    return {name: asdict(_profile(LAWS[law.family], solved, number, best, name)) for name in names}


def profiled(family: str, solved: Estimate) -> list[str]:
    """The coefficients that can be held: those that were fitted; where methods share exponents, these and E."""
    shape, kind = solved.problem.shape, LAWS[family]
    factors = [name for name in shape.linear if solved.problem.groups == 1 or name == "E"]
    own = (*factors, *shape.curved)
    return [name for name in coefficients_of(kind) if name in own]


def weak(intervals: Mapping[str, tuple[float, float]]) -> list[str]:
    """The coefficients whose bootstrap interval ends at 0 or spans more than a factor of WEAK."""
    return [name for name, (low, high) in intervals.items() if high > WEAK * low or high == 0]


def _profile(kind: type[Law], solved: Estimate, number: int, best: Mapping[str, float], name: str) -> Profile:
    shared = solved.problem.groups > 1 and name in kind.factors
    rise = _least_of_one(solved, number, name) if shared else _least(kind, solved, best, name)
    allowed = allowed_rise(solved)
    rows = solved.problem.rows
    low, high = _limits(kind, name, best[name], float(rows.loss[rows.group == number].min()))
    start = float(np.clip(np.log(max(best[name], np.exp(low))), low, high))
    bottom, tried = rise(start), {start: 0.0}

    def excess(x: float) -> float:
        """How much of the allowed rise is used up at ln coefficient x, less 1."""
        tried[x] = max(rise(x) - bottom, 0.0) / allowed
        return tried[x] - 1

    ends = [_end(excess, start, limit) for limit in (low, high)]
    shown = [None if end is None else float(np.exp(end)) for end in ends]
    return Profile(best[name], shown[0], shown[1], tuple((float(np.exp(x)), y) for x, y in sorted(tried.items())))


def _limits(kind: type[Law], name: str, best: float, lowest: float) -> tuple[float, float]:
    """Lowest and highest log of a coefficient. lowest: of the losses, which E is compared with."""
    if name in kind.factors:
        middle = np.log(best) if best > 0 else np.log(lowest) - REACH / 2
        return float(middle - REACH), float(np.log(lowest) if name == "E" else middle + REACH)
    low, high = kind.ranges.get(name, EXPONENT_RANGE)
    return float(np.log(low)), float(np.log(high))


def _least(kind: type[Law], solved: Estimate, best: Mapping[str, float], name: str) -> Callable[[float], float]:
    """The least objective with a coefficient held, as a function of its log."""
    fitted = {*solved.problem.shape.linear, *solved.problem.shape.curved}
    held = {other: value for other, value in best.items() if _is_held(solved, fitted, other, value)}

    def without(x: float) -> Problem:
        return replace(solved.problem, shape=DerivedShape(kind, {**held, name: float(np.exp(x))}))

    return _followed(without, solved.delta, {})


def _followed(
    problem_at: Callable[[float], Problem], delta: float, ends: dict[float, Array]
) -> Callable[[float], float]:
    """The least objective of a problem that changes with x, as a function of x; ends: best parameters by x.

    Each search begins where the nearest before it ended; the first, with no end known, goes through the whole grid.
    """

    def least(x: float) -> float:
        problem = problem_at(x)
        every = np.ones((1, len(problem.rows)))
        if ends:
            begin = np.clip(ends[min(ends, key=lambda other: abs(other - x))], *problem.limits())
            solution = polish(problem, np.log(problem.rows.loss)[None], every, begin, delta, BESIDE)
        else:
            solution = solve(problem, every, delta)
        ends[x] = solution.theta
        return float(solution.objective[0])

    return least


@dataclass(frozen=True)
class _Held(Problem):
    """A problem with one parameter held."""

    place: int = 0
    """Which."""
    value: float = 0.0
    """Where."""

    def limits(self) -> tuple[Array, Array]:
        low, high = super().limits()
        low[self.place] = high[self.place] = self.value
        return low, high


def _least_of_one(solved: Estimate, number: int, name: str) -> Callable[[float], float]:
    """The same for E of one of the methods that share exponents: the parameter is its log, whatever is centred."""
    problem = solved.problem
    place = problem.shape.linear.index(name) * problem.groups + number

    def holding(x: float) -> Problem:
        return _Held(problem.shape, problem.rows, problem.groups, place, x)

    return _followed(holding, solved.delta, {float(solved.theta[0, place]): solved.theta})


def _is_held(solved: Estimate, fitted: set[str], name: str, value: float) -> bool:
    """Whether the fit held a coefficient itself: as asked, or because the runs have one size or one D."""
    shape = solved.problem.shape
    return name in shape.held if isinstance(shape, DerivedShape) else value == 0 and name not in fitted


def _end(excess: Callable[[float], float], start: float, limit: float) -> float | None:
    """Where the allowed rise is used up between the best value and a limit; None where it is not."""
    from scipy.optimize import brentq  # loading it takes as long as a fit

    inside, step = start, FIRST_STEP
    while inside != limit:
        further = start + float(np.sign(limit - start)) * min(step, abs(limit - start))
        further = limit if step >= abs(limit - start) else further
        if excess(further) > 0:
            # What is found from another start may be better than at the best value: then the rise there is 0.
            return float(brentq(excess, inside, further, xtol=PRECISION)) if excess(inside) < 0 else inside
        inside, step = further, 2 * step
    return None


def allowed_rise(solved: Estimate) -> float:
    """The rise of the Huber objective that the likelihood-ratio test of an M-estimate allows (Hampel et al. 1986, 7.2).

    Rows of one run count as one. The density of the residuals near 0 is counted over half their spread at least: within
    a small delta there are too few.
    """
    rows, size, delta = solved.problem.rows, solved.problem.size, solved.delta
    residuals, times = np.abs(solved.residuals), np.broadcast_to(rows.times, len(rows))
    free = max(len(rows) - size, 1)
    near = max(delta, solved.scatter.mad / 2)
    pulls = float(((times * np.minimum(residuals, delta)) ** 2).sum()) / free
    inside = max(float((times * (residuals <= near)).sum()) - size, 1.0) / free * delta / near
    together = len(rows) / len(np.unique(rows.run))
    return together * max(pulls, 1e-24) / inside * float(special.fdtri(1, free, SHARE)) / 2
