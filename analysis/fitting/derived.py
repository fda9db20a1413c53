"""The form of a family that nobody made one for, from its formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """The form of any family, from Law.loss and Law.factors: a term is the loss with its factor at 1, the others at 0.

    Slopes by complex steps, exact to rounding (Squire and Trapp 1998). Coefficients in Law.ranges are solved for as
    logarithms. A fit with 1,000 resamples takes two to four times as long as with a form that was made by hand.
    """

    def __init__(self, law: type[Law], held: Mapping[str, float] | None = None) -> None:
        """held: coefficients that are not fitted, with their values; a factor of 0 takes its term away."""
        self.law, self.held = law, dict(held or {})
        self.names = tuple(item.name for item in fields(law))  # type: ignore[arg-type]
        self.linear = tuple(name for name in law.factors if name not in self.held)
        self.curved = tuple(name for name in self.names if name not in (*law.factors, *self.held))
        self.logs = [name in law.ranges for name in self.curved]
        self.usual = [np.array(0.4) for _ in self.curved]  # of what a term does not depend on
        sample = (np.array([1e6, 1e7]), np.array([1e8, 1e9]), np.array([0.3, 0.6]), np.array([1e7, 3e7]))
        self.depends = {
            name: [
                j for j in range(len(self.curved)) if self._log_term(name, _stepped(self.usual, j), sample).imag.any()
            ]
            for name in law.factors
        }

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        return [self._term(name, v, rows, centred=True) for name in self.linear]

    def known(self, v: list[Array], rows: Rows) -> list[Term]:
        factors = {name: self.held[name] for name in self.law.factors if self.held.get(name)}
        terms = {name: self._term(name, v, rows, centred=False) for name in factors}
        return [(phi + np.log(factors[name]), slopes) for name, (phi, slopes) in terms.items()]

    def _term(self, name: str, v: list[Array], rows: Rows, centred: bool) -> Term:
        own = [x if j in self.depends[name] else self.usual[j] for j, x in enumerate(v)]

        def height(values: Values) -> Value:
            middle = self._middle(name, values, rows) if centred else 0.0
            return np.asarray(self._log_term(name, values, (rows.N, rows.D, rows.S, rows.U)) - middle)

        phi = height(own)
        there = np.isfinite(phi)
        slopes = {j: np.where(there, height(_stepped(own, j)).imag / STEP, 0.0) for j in self.depends[name]}
        return np.where(there, phi, NEVER), slopes

    def _log_term(self, name: str, v: Values, inputs: tuple[Array | float, ...]) -> Value:
        """ln of the term of a factor, without it, at N, D, S and U; -inf where it is absent."""
        values = {**self.held, **dict(zip(self.curved, self._values(v), strict=True))}
        factors = {factor: float(factor == name) for factor in self.law.factors}
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(np.asarray(self.law(**{**values, **factors}).at(*inputs)))

    def _middle(self, name: str, v: Values, rows: Rows) -> Value:
        """ln of that term where ln N and ln D are at their means: what centring takes off it."""
        means = (np.exp(rows.centre[0]), np.exp(rows.centre[1]), float(rows.S.mean()), np.inf)
        middle = self._log_term(name, v, means)
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
        values = {name: np.full_like(c[0], value) for name, value in self.held.items()}
        values |= dict(zip(self.curved, self._values(v), strict=True))
        for k, name in enumerate(self.linear):
            values[name] = c[k] * np.exp(-self._middle(name, v, rows))
        return {name: values[name] for name in self.names}


def _stepped(v: Values, j: int) -> list[Value]:
    """The curved parameters with a complex step of the one at place j."""
    return [x + STEP * 1j if i == j else x for i, x in enumerate(v)]
