"""How each law family is solved: a sum of positive terms, linear in their factors, curved in a few exponents.

ln L = ln sum_k c_k exp(phi_k), with phi_k a function of the curved parameters and of ln N and ln D, both centred:
without centring the condition number of the problem is about 1e11. The form of a family follows from its formula
(DerivedShape); HAND_MADE lists forms of the families of planner.laws that `fit` tries by itself, solved faster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields

import numpy as np

from analysis.tables.rows import Array, Rows
from planner.laws import LAWS, Law

# A term: phi, and its derivative by each curved parameter that it holds (by position). Shapes broadcast to [..., rows].
Term = tuple[Array | float, dict[int, Array]]

START_EXPONENTS = np.geomspace(0.03, 2.0, 48)  # start grid; published ones lie between 0.05 and 1.5
COARSE_EXPONENTS = np.geomspace(0.03, 2.0, 14)  # where a third curved parameter makes the grid a cube
EXPONENT_RANGE = (0.005, 4.0)
STEP = 1e-30  # of complex steps
NEVER = -1e4  # ln of "this term is absent here": exp gives 0, times 0 stays 0


class Shape(ABC):
    """One family as the solver sees it. `curved`: names of its curved parameters; `linear`: of its positive factors."""

    linear: tuple[str, ...]
    curved: tuple[str, ...]

    @abstractmethod
    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        """The terms at curved parameters v, each [..., 1]."""

    @abstractmethod
    def grid(self, rows: Rows) -> list[Array]:
        """Start values of each curved parameter."""

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        """Lowest and highest value of each curved parameter."""
        return [EXPONENT_RANGE for _ in self.curved]

    @abstractmethod
    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        """The law's own coefficients from factors c and curved parameters v, arrays of any one shape."""

    @property
    def size(self) -> int:
        """How many coefficients are fitted."""
        return len(self.linear) + len(self.curved)


class ChinchillaShape(Shape):
    linear = ("E", "A", "B")
    curved = ("alpha", "beta")

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        alpha, beta = v
        return [(0.0, {}), (-alpha * rows.n, {0: -rows.n}), (-beta * rows.d, {1: -rows.d})]

    def grid(self, rows: Rows) -> list[Array]:
        return [START_EXPONENTS, START_EXPONENTS]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        (E, A, B), (alpha, beta) = c, v
        return {
            "E": E,
            "A": A * np.exp(alpha * centre[0]),
            "alpha": alpha,
            "B": B * np.exp(beta * centre[1]),
            "beta": beta,
        }


class TiedShape(Shape):
    linear = ("E", "A", "B")
    curved = ("alpha",)

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        return [(0.0, {}), (-v[0] * rows.n, {0: -rows.n}), (-v[0] * rows.d, {0: -rows.d})]

    def grid(self, rows: Rows) -> list[Array]:
        return [START_EXPONENTS]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        (E, A, B), (alpha,) = c, v
        return {"E": E, "A": A * np.exp(alpha * centre[0]), "B": B * np.exp(alpha * centre[1]), "alpha": alpha}


class PowerShape(Shape):
    linear: tuple[str, ...] = ("A",)
    curved = ("alpha", "beta")

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        return [(-v[0] * rows.n - v[1] * rows.d, {0: -rows.n, 1: -rows.d})]

    def grid(self, rows: Rows) -> list[Array]:
        return [START_EXPONENTS, START_EXPONENTS]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        alpha, beta = v
        return {"A": c[0] * np.exp(alpha * centre[0] + beta * centre[1]), "alpha": alpha, "beta": beta}


class MultiplicativeShape(PowerShape):
    linear = ("E", "A")

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        return [(0.0, {}), *super().terms(v, rows)]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        return {"E": c[0], **super().coefficients(c[1:], v, centre, rows)}


def _rectified(beta: Array, held: Array, d: Array, first: int) -> Term:
    """1 / (D_l + D**beta) with held = ln D_l - beta * mean ln D; `first` is beta's position among the curved."""
    share = 1 / (1 + np.exp(held - beta * d))  # of D**beta in the sum
    return -np.logaddexp(held, beta * d), {first: -share * d, first + 1: share - 1}


def _held_limits(rows: Rows) -> tuple[float, float]:
    """ln D_l in centred units: from nothing beside the smallest D to everything beside the largest."""
    reach = max(float(np.ptp(rows.d)), 1.0)
    return -4 * reach, 4 * reach


class RectifiedShape(Shape):
    linear = ("E", "A", "B")
    curved = ("alpha", "beta", "D_l")

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        alpha, beta, held = v
        return [(0.0, {}), (-alpha * rows.n, {0: -rows.n}), _rectified(beta, held, rows.d, first=1)]

    def grid(self, rows: Rows) -> list[Array]:
        return [COARSE_EXPONENTS, COARSE_EXPONENTS, np.linspace(*_held_limits(rows), 13) / 2]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return [EXPONENT_RANGE, EXPONENT_RANGE, _held_limits(rows)]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        (E, A, B), (alpha, beta, held) = c, v
        unit = np.exp(beta * centre[1])
        A = A * np.exp(alpha * centre[0])
        return {"E": E, "A": A, "alpha": alpha, "B": B * unit, "beta": beta, "D_l": np.exp(held) * unit}


class TrainableShape(Shape):
    """a_d ln D + b_d is carried as two positive heights, at the smallest and at the largest D."""

    linear = ("E", "low", "high", "a_s", "c_s")
    curved = ("alpha", "beta", "b_s")

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        alpha, beta, b_s = v
        place = np.clip((rows.d - rows.d.min()) / np.ptp(rows.d), 1e-12, 1 - 1e-12)
        frozen = np.log(np.maximum(1 - rows.S, 1e-300))
        some = np.where(rows.S < 1, b_s * frozen, NEVER)
        return [
            (0.0, {}),
            (np.log1p(-place) - alpha * rows.n, {0: -rows.n}),
            (np.log(place) - alpha * rows.n, {0: -rows.n}),
            (some - beta * rows.d, {1: -rows.d, 2: np.where(rows.S < 1, frozen, 0.0)}),
            (-beta * rows.d, {1: -rows.d}),
        ]

    def grid(self, rows: Rows) -> list[Array]:
        return [COARSE_EXPONENTS, COARSE_EXPONENTS, np.array([0.5, 1.0, 2.0, 4.0])]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return [EXPONENT_RANGE, EXPONENT_RANGE, (0.05, 20.0)]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        (E, low, high, a_s, c_s), (alpha, beta, b_s) = c, v
        unit, size = np.exp(beta * centre[1]), np.exp(alpha * centre[0])
        first = np.log(rows.D).min()
        slope = (high - low) / np.ptp(rows.d)
        near = {"E": E, "a_d": slope * size, "b_d": (low - slope * first) * size, "alpha": alpha}
        return {**near, "a_s": a_s * unit, "b_s": b_s, "c_s": c_s * unit, "beta": beta}


class OneSizeShape(Shape):
    """The plain law where all rows have one N: its term cannot be told from E and goes into it (A = 0)."""

    linear = ("E", "B")
    curved = ("beta",)

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        return [(0.0, {}), (-v[0] * rows.d, {0: -rows.d})]

    def grid(self, rows: Rows) -> list[Array]:
        return [START_EXPONENTS]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        none = np.zeros_like(c[0])
        return {"E": c[0], "A": none, "alpha": none, "B": c[1] * np.exp(v[0] * centre[1]), "beta": v[0]}


class OneSizeRectifiedShape(Shape):
    """The rectified law where all rows have one N (A = 0, as above)."""

    linear = ("E", "B")
    curved = ("beta", "D_l")

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        return [(0.0, {}), _rectified(v[0], v[1], rows.d, first=0)]

    def grid(self, rows: Rows) -> list[Array]:
        return [START_EXPONENTS, np.linspace(*_held_limits(rows), 49) / 2]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return [EXPONENT_RANGE, _held_limits(rows)]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        none, unit = np.zeros_like(c[0]), np.exp(v[0] * centre[1])
        return {"E": c[0], "A": none, "alpha": none, "B": c[1] * unit, "beta": v[0], "D_l": np.exp(v[1]) * unit}


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

    def _log_term(self, k: int, v: list[Array], inputs: tuple[Array | float, ...]) -> Array:
        """ln of term k without its factor, at N, D, S and U; -inf where it is absent."""
        values = dict(zip(self.curved, self._values(v), strict=True))
        factors = {name: float(name == self.linear[k]) for name in self.linear}
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(np.asarray(self.law(**factors, **values).at(*inputs)))

    def _middle(self, k: int, v: list[Array], rows: Rows) -> Array:
        """ln of term k where ln N and ln D are at their means: what centring takes off it."""
        means = (np.exp(rows.centre[0]), np.exp(rows.centre[1]), float(rows.S.mean()), np.inf)
        middle = self._log_term(k, v, means)
        return np.where(np.isfinite(middle), middle, 0.0)

    def _values(self, v: list[Array]) -> list[Array]:
        return [np.exp(x) if log else x for x, log in zip(v, self.logs, strict=True)]

    def grid(self, rows: Rows) -> list[Array]:
        points = {1: 48, 2: 48, 3: 14}.get(len(self.curved), 8)
        exponents = np.geomspace(START_EXPONENTS[0], START_EXPONENTS[-1], points)
        ends = zip(self.limits(rows), self.logs, strict=True)
        return [np.linspace(low, high, points) if log else exponents for (low, high), log in ends]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        ranges = {name: (float(np.log(low)), float(np.log(high))) for name, (low, high) in self.law.ranges.items()}
        return [ranges.get(name, EXPONENT_RANGE) for name in self.curved]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        values = dict(zip(self.curved, self._values(v), strict=True))
        for k, name in enumerate(self.linear):
            values[name] = c[k] * np.exp(-self._middle(k, v, rows))
        return {name: values[name] for name in self.names}


def _stepped(v: list[Array], j: int) -> list[Array]:
    return [x + STEP * 1j if i == j else x for i, x in enumerate(v)]  # type: ignore[misc]  # complex for one step


HAND_MADE: dict[str, Shape] = {
    "power": PowerShape(),
    "multiplicative": MultiplicativeShape(),
    "tied": TiedShape(),
    "chinchilla": ChinchillaShape(),
    "rectified": RectifiedShape(),
    "trainable": TrainableShape(),
}
SHAPES: dict[str, Shape] = {**HAND_MADE, **{n: DerivedShape(law) for n, law in LAWS.items() if n not in HAND_MADE}}
ONE_SIZE_SHAPES: dict[str, Shape] = {"chinchilla": OneSizeShape(), "rectified": OneSizeRectifiedShape()}
