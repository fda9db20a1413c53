"""Forms made by hand of the families that `fit` tries by itself: solved faster than those that follow by themselves."""

from __future__ import annotations

import numpy as np

from analysis.fitting.shape import COARSE_EXPONENTS, EXPONENT_RANGE, NEVER, START_EXPONENTS, Shape, Term
from analysis.tables.rows import Array, Rows
from planner.laws import LAWS, worth


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


class JoinedShape(Shape):
    linear = ("E", "A")
    curved = ("alpha", "beta", "k", "r")

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        alpha, beta, k, log_r = v
        size, data = -alpha * rows.n / k, log_r - beta * rows.d / k
        both = np.logaddexp(size, data)
        share = np.exp(data - both)  # of the data in the sum
        bend = both - (1 - share) * size - share * (data - log_r)
        slopes = {0: -rows.n * (1 - share), 1: -rows.d * share, 2: bend, 3: k * share}
        return [(0.0, {}), (k * both, slopes)]

    def grid_terms(self, v: list[Array], rows: Rows) -> list[Array | float]:
        alpha, beta, k, log_r = v
        return [0.0, k * np.logaddexp(-alpha * rows.n / k, log_r - beta * rows.d / k)]

    def grid(self, rows: Rows) -> list[Array]:
        exponents = np.geomspace(0.05, 1.2, 9)
        return [exponents, exponents, np.array([0.3, 0.5, 0.7, 1.0, 1.6]), np.linspace(-3, 3, 5)]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return [EXPONENT_RANGE, EXPONENT_RANGE, LAWS["joined"].ranges["k"], (-12.0, 12.0)]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        (E, A), (alpha, beta, k, log_r) = c, v
        r = np.exp(log_r + (beta * centre[1] - alpha * centre[0]) / k)
        return {"E": E, "A": A * np.exp(alpha * centre[0]), "alpha": alpha, "beta": beta, "k": k, "r": r}


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


class RepeatedShape(Shape):
    linear = ("E", "A", "B")
    curved = ("alpha", "beta", "repeats")

    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        alpha, beta, log_repeats = v
        repeats = np.exp(log_repeats)
        tokens = np.log(worth(rows.D, rows.U, repeats)) - rows.centre[1]
        rounds = np.maximum(rows.D / rows.U - 1, 0) / repeats
        kept = np.exp(-rounds)
        gain = repeats * (1 - kept - rounds * kept) / (1 + repeats * (1 - kept))  # d ln D' / d ln repeats
        data = (-beta * tokens, {1: -tokens, 2: -beta * gain})
        return [(0.0, {}), (-alpha * rows.n, {0: -rows.n}), data]

    def grid(self, rows: Rows) -> list[Array]:
        return [COARSE_EXPONENTS, COARSE_EXPONENTS, np.log(np.geomspace(0.5, 100, 8))]

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        return [EXPONENT_RANGE, EXPONENT_RANGE, (np.log(0.05), np.log(1000.0))]

    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        plain = ChinchillaShape().coefficients(c, v[:2], centre, rows)
        return {**plain, "repeats": np.exp(v[2])}


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


HAND_MADE: dict[str, Shape] = {
    "power": PowerShape(),
    "multiplicative": MultiplicativeShape(),
    "tied": TiedShape(),
    "chinchilla": ChinchillaShape(),
    "rectified": RectifiedShape(),
    "joined": JoinedShape(),
    "trainable": TrainableShape(),
    "repeated": RepeatedShape(),
}
ONE_SIZE_SHAPES: dict[str, Shape] = {"chinchilla": OneSizeShape(), "rectified": OneSizeRectifiedShape()}
