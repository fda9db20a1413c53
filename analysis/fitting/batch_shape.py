"""Law families in which batch size counts, as the solver sees them: a family of N and D, asked for D share(D, B).

BATCH_FORMS lists what the share may be: the forms of planner.batch_law, which have a best batch size, and rivals that
the backtest holds against them and no plan could use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.shape import Shape, Term
from analysis.tables.rows import Array, Rows
from planner.batch_law import TERMS, BatchTerm

STEP = 1e-30  # of complex steps, exact to rounding (Squire and Trapp 1998)
NUDGE = 1e-5  # of ln D, for the slope of a term by it
Value = NDArray[Any]  # real, or complex where a step is taken


class BatchForm(ABC):
    """What batch size does to a law, in parameters that the solver can search."""

    names: tuple[str, ...]
    """Of its parameters."""

    @abstractmethod
    def log_share(self, v: Sequence[Value], d: Array, b: Array) -> Value:
        """ln of the share. v: parameters, each [..., 1]; d: ln D about its mean [rows]; b: ln B [rows]."""

    @abstractmethod
    def grid(self, rows: Rows) -> list[Array]:
        """Start values of each parameter."""

    @abstractmethod
    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        """Lowest and highest value of each."""


def starts(rows: Rows) -> list[Array]:
    """Start values of ln k, the best batch or the critical one at the mean of ln D, and of q."""
    low, high = np.log(rows.B).min(), np.log(rows.B).max()
    return [np.linspace(low, high, 3), np.array([0.3])]


def bounds(rows: Rows) -> list[tuple[float, float]]:
    """Lowest and highest ln k, q and ln s."""
    low, high = np.log(rows.B).min(), np.log(rows.B).max()
    # The share of a small batch falls as D**-q: at 1 more of its tokens would not be worth more.
    return [(low - 5.0, high + 5.0), (-0.5, 0.9), (-9.0, 9.0)]


class OfPlanner(BatchForm):
    """A form of planner.batch_law: ln k at the mean of ln D, q, ln s."""

    names = ("k", "q", "s")

    def __init__(self, kind: type[BatchTerm], widths: Sequence[float]) -> None:
        """widths: values of s to start from."""
        self.kind, self.widths = kind, np.log(np.array(widths))

    def log_share(self, v: Sequence[Value], d: Array, b: Array) -> Value:
        k, q, s = v
        term = self.kind(np.exp(k), q, np.exp(s))  # type: ignore[call-arg]  # every form has these three
        return np.asarray(np.log(term.share(np.exp(d), np.exp(b))))

    def grid(self, rows: Rows) -> list[Array]:
        return [*starts(rows), self.widths]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return bounds(rows)

    def terms(self, v: Sequence[Array], centre: float) -> dict[str, Array]:
        """Coefficients of the planner's term; centre: mean of ln D."""
        k, q, s = v
        return {"k": np.exp(k - q * centre), "q": q, "s": np.exp(s)}


class LogQuadratic(BatchForm):
    """A parabola in ln B about ln B*, a power of D."""

    names = ("k", "q", "s")

    def log_share(self, v: Sequence[Value], d: Array, b: Array) -> Value:
        k, q, s = v
        return np.asarray(-np.exp(s) * (b - k - q * d) ** 2)

    def grid(self, rows: Rows) -> list[Array]:
        return [*starts(rows), np.log([0.05, 0.3])]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return bounds(rows)


class Critical(BatchForm):
    """1 / (1 + B / Bc) with Bc a power of D: the critical batch alone, so that the smallest batch is the best."""

    names = ("k", "q")

    def log_share(self, v: Sequence[Value], d: Array, b: Array) -> Value:
        return np.asarray(-np.log(1 + np.exp(b - v[0] - v[1] * d)))

    def grid(self, rows: Rows) -> list[Array]:
        return starts(rows)

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return bounds(rows)[:2]


class Power(BatchForm):
    """B to a given power. -1: steps carry over between batch sizes, and not tokens (Ziarko et al. 2024, appendix G). 0:
    batch size does not matter at equal tokens."""

    names = ()

    def __init__(self, power: float) -> None:
        self.power = power

    def log_share(self, v: Sequence[Value], d: Array, b: Array) -> Value:
        return np.asarray(self.power * (b - np.log(np.mean(np.exp(b)))))

    def grid(self, rows: Rows) -> list[Array]:
        return []

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return []


BATCH_FORMS: dict[str, BatchForm] = {
    "balanced": OfPlanner(TERMS["balanced"], [0.03, 0.2]),
    "two-sided": OfPlanner(TERMS["two-sided"], [2.0, 20.0]),
    "log-quadratic": LogQuadratic(),
    "critical": Critical(),
    "steps": Power(-1.0),
    "ignored": Power(0.0),
}


class _Moved(Rows):
    """Rows whose tokens are worth more or fewer; what they are centred about stays."""

    def __init__(self, rows: Rows, by: Array) -> None:
        """by: added to ln D [..., rows]."""
        d = rows.d + by
        kept = {name: getattr(rows, name) for name in (*rows.__dataclass_fields__, "n", "centre")}
        self.__dict__.update(kept, d=d, D=np.exp(d + rows.centre[1]))


class BatchShape(Shape):
    """A family of N and D with a form of what batch size does; its parameters stand behind the family's curved ones."""

    def __init__(self, family: Shape, name: str) -> None:
        """name: of the form in BATCH_FORMS."""
        self.family, self.form, self.batch_form = family, BATCH_FORMS[name], name
        self.linear = family.linear
        self.curved = (*family.curved, *(f"batch {each}" for each in self.form.names))

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        return self._with_batch(v, rows, self.family.terms)

    def known(self, v: list[Array], rows: Rows) -> list[Term]:
        return self._with_batch(v, rows, self.family.known)

    def _with_batch(self, v: list[Array], rows: Rows, terms: Any) -> list[Term]:
        own, ours = self._split(v)
        log_share = self._log_share(ours, rows)
        here, below, above = (terms(own, _Moved(rows, log_share + by)) for by in (0.0, -NUDGE, NUDGE))
        slopes = [self._log_share(_stepped(ours, j), rows).imag / STEP for j in range(len(ours))]
        found = []
        for (phi, by_own), (low, _), (high, _) in zip(here, below, above, strict=True):
            by_tokens = (np.asarray(high) - np.asarray(low)) / (2 * NUDGE)
            by_form = {len(own) + j: by_tokens * slope for j, slope in enumerate(slopes)} if by_tokens.any() else {}
            found.append((phi, {**by_own, **by_form}))
        return found

    def grid_terms(self, v: list[Array], rows: Rows) -> list[Array | float]:
        own, ours = self._split(v)
        return self.family.grid_terms(own, _Moved(rows, self._log_share(ours, rows)))

    def grid(self, rows: Rows) -> list[Array]:
        return [*self.family.grid(rows), *self.form.grid(rows)]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return [*self.family.limits(rows), *self.form.limits(rows)]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        """Those of the family alone; `batch_terms` has the others."""
        return self.family.coefficients(c, self._split(v)[0], centre, rows)

    def batch_terms(self, v: list[Array], rows: Rows) -> dict[str, Array]:
        """Coefficients of the planner's term; none of a rival, which no plan uses."""
        return self.form.terms(self._split(v)[1], rows.centre[1]) if isinstance(self.form, OfPlanner) else {}

    def _split(self, v: list[Array]) -> tuple[list[Array], list[Array]]:
        own = len(self.family.curved)
        return v[:own], v[own:]

    def _log_share(self, ours: Sequence[Value], rows: Rows) -> Value:
        return self.form.log_share(ours, rows.d, np.log(np.broadcast_to(rows.B, rows.D.shape)))


class NegativesShape(Shape):
    """A family with a term G / B**gamma beside it: negatives alone, so that the largest batch is the best. A rival."""

    def __init__(self, family: Shape) -> None:
        self.family = family
        self.linear, self.curved = (*family.linear, "G"), (*family.curved, "gamma")

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        b = np.log(rows.B) - np.log(rows.B).mean()
        return [*self.family.terms(v[:-1], rows), (-v[-1] * b, {len(v) - 1: -b})]

    def grid(self, rows: Rows) -> list[Array]:
        return [*self.family.grid(rows), np.array([0.1, 0.4, 1.0])]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return [*self.family.limits(rows), (0.005, 4.0)]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        return self.family.coefficients(c[:-1], v[:-1], centre, rows)


def _stepped(v: Sequence[Array], j: int) -> list[Value]:
    """The parameters with a complex step of the one at place j."""
    return [x + STEP * 1j if i == j else x for i, x in enumerate(v)]
