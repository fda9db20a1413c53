"""The form of a family that nobody made one for, from its formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.shape import EXPONENT_RANGE, NEVER, START_EXPONENTS, Shape, Term
from analysis.tables.rows import Array, Rows
from planner.laws import Law

STEP = 1e-30  # of complex steps
Value = NDArray[Any]  # real, or complex where a step is taken
Values = Sequence[Value]


class DerivedShape(Shape):
    """The form of any family, from Law.loss and Law.factors: term k is the loss with factor k at 1 and the others at 0.

    Slopes by complex steps, exact to rounding (Squire and Trapp 1998). Coefficients in Law.ranges are solved for as
    logarithms. A fit with 1,000 resamples takes two to four times as long as with a form that was made by hand.
    """

    def __init__(self, law: type[Law]) -> None:
        self.law = law
        self.names = tuple(item.name for item in fields(law))  # type: ignore[arg-type]
        self.linear = law.factors
        self.curved = tuple(name for name in self.names if name not in law.factors)
        self.logs = [name in law.ranges for name in self.curved]
        self.usual = [np.array(0.4) for _ in self.curved]  # of what a term does not depend on
        sample = (np.array([1e6, 1e7]), np.array([1e8, 1e9]), np.array([0.3, 0.6]), np.array([1e7, 3e7]))
        self.depends = [
            [j for j in range(len(self.curved)) if self._log_term(k, _stepped(self.usual, j), sample).imag.any()]
            for k in range(len(self.linear))
        ]

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        return [self._term(k, v, rows) for k in range(len(self.linear))]

    def _term(self, k: int, v: list[Array], rows: Rows) -> Term:
        own = [x if j in self.depends[k] else self.usual[j] for j, x in enumerate(v)]
        inputs = (rows.N, rows.D, rows.S, rows.U)
        phi = self._log_term(k, own, inputs) - self._middle(k, own, rows)
        there = np.isfinite(phi)
        slopes = {}
        for j in self.depends[k]:
            stepped = _stepped(own, j)
            slope = (self._log_term(k, stepped, inputs) - self._middle(k, stepped, rows)).imag / STEP
            slopes[j] = np.where(there, slope, 0.0)
        return np.where(there, phi, NEVER), slopes

    def _log_term(self, k: int, v: Values, inputs: tuple[Array | float, ...]) -> Value:
        """ln of term k without its factor, at N, D, S and U; -inf where it is absent."""
        values = dict(zip(self.curved, self._values(v), strict=True))
        factors = {name: float(name == self.linear[k]) for name in self.linear}
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(np.asarray(self.law(**factors, **values).at(*inputs)))

    def _middle(self, k: int, v: Values, rows: Rows) -> Value:
        """ln of term k where ln N and ln D are at their means: what centring takes off it."""
        means = (np.exp(rows.centre[0]), np.exp(rows.centre[1]), float(rows.S.mean()), np.inf)
        middle = self._log_term(k, v, means)
        return np.where(np.isfinite(middle), middle, 0.0)

    def _values(self, v: Values) -> list[Value]:
        return [np.exp(x) if log else x for x, log in zip(v, self.logs, strict=True)]

    def grid(self, rows: Rows) -> list[Array]:
        points = {1: 48, 2: 48, 3: 14}.get(len(self.curved), 8)
        low, high = START_EXPONENTS[0], START_EXPONENTS[-1]
        return [
            np.linspace(*ends, points) if log else np.geomspace(low, high, points)
            for ends, log in zip(self.limits(rows), self.logs, strict=True)
        ]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        ranges = {name: (float(np.log(low)), float(np.log(high))) for name, (low, high) in self.law.ranges.items()}
        return [ranges.get(name, EXPONENT_RANGE) for name in self.curved]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        values = dict(zip(self.curved, self._values(v), strict=True))
        for k, name in enumerate(self.linear):
            values[name] = c[k] * np.exp(-self._middle(k, v, rows))
        return {name: values[name] for name in self.names}


def _stepped(v: Values, j: int) -> list[Value]:
    """The curved parameters with a complex step of the one at place j."""
    return [x + STEP * 1j if i == j else x for i, x in enumerate(v)]
