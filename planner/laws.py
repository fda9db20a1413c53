"""Loss laws: families with named coefficients. LAWS lists them.

Losses are held-out nats per pair; N: parameters outside the embedding tables; D: real training tokens. Formulas use
operators only, so that they take floats and numpy arrays alike.

A family is a class and its line in LAWS: the fit derives the form that it solves from `loss` and `factors`. `Weighted`
is no family but a mean of laws of several.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

ROUNDING = 1e-6  # by which weights may miss a sum of 1


class Law(ABC):
    """Expected held-out loss as a function of what was spent: a sum of positive terms.

    N: parameters. D: training tokens, repeats counted. S: share of the parameters that is trained. U: unique tokens.
    """

    inputs: ClassVar[tuple[str, ...]] = ("N", "D")
    """The arguments of `loss`, in order."""
    factors: ClassVar[tuple[str, ...]]
    """Coefficients that the loss is linear in, 0 or more, one a term; the others are exponents between 0.005 and 4."""
    signed: ClassVar[tuple[str, ...]] = ()
    """Factors that may be below 0, since others hold their term above it."""
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Lowest and highest value, above 0, of coefficients that are neither: where a fit looks for them."""

    @abstractmethod
    def loss(self, N: Any, D: Any) -> Any:
        """Predicted loss, nats per pair."""

    def at(self, N: Any, D: Any, S: Any = 1.0, U: Any = math.inf) -> Any:
        """`loss` with whichever of the four the formula needs, so that callers need not know the family."""
        given = {"N": N, "D": D, "S": S, "U": U}
        return self.loss(*(given[name] for name in self.inputs))

    @property
    def knows_repetition(self) -> bool:
        """Whether the formula itself tells what repeated tokens are worth."""
        return "U" in self.inputs

    @property
    def coefficients(self) -> dict[str, float]:
        # Thousands of draws are asked: dataclasses.asdict would copy every number deeply.
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Chinchilla(Law):
    """L = E + A / N**alpha + B / D**beta (Hoffmann et al. 2022, section 3.3). E is the irreducible loss."""

    factors: ClassVar[tuple[str, ...]] = ("E", "A", "B")
    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def loss(self, N: Any, D: Any) -> Any:
        return self.E + self.A / N**self.alpha + self.B / D**self.beta


@dataclass(frozen=True)
class Tied(Law):
    """L = E + A / N**alpha + B / D**alpha: the plain law with one exponent."""

    factors: ClassVar[tuple[str, ...]] = ("E", "A", "B")
    E: float
    A: float
    B: float
    alpha: float

    def loss(self, N: Any, D: Any) -> Any:
        return self.E + self.A / N**self.alpha + self.B / D**self.alpha


@dataclass(frozen=True)
class Multiplicative(Law):
    """L = E + A / (N**alpha * D**beta) (Zhang et al. 2024, fine-tuning)."""

    factors: ClassVar[tuple[str, ...]] = ("E", "A")
    E: float
    A: float
    alpha: float
    beta: float

    def loss(self, N: Any, D: Any) -> Any:
        return self.E + self.A / (N**self.alpha * D**self.beta)


@dataclass(frozen=True)
class Power(Law):
    """L = A / (N**alpha * D**beta): no irreducible loss; for sweeps too small to tell one."""

    factors: ClassVar[tuple[str, ...]] = ("A",)
    A: float
    alpha: float
    beta: float

    def loss(self, N: Any, D: Any) -> Any:
        return self.A / (N**self.alpha * D**self.beta)


@dataclass(frozen=True)
class Rectified(Law):
    """L = E + A / N**alpha + B / (D_l + D**beta): D_l is what pretraining was already worth (Lin et al. 2024)."""

    factors: ClassVar[tuple[str, ...]] = ("E", "A", "B")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"D_l": (1e-3, 1e6)}
    E: float
    A: float
    alpha: float
    B: float
    beta: float
    D_l: float

    def loss(self, N: Any, D: Any) -> Any:
        return self.E + self.A / N**self.alpha + self.B / (self.D_l + D**self.beta)


@dataclass(frozen=True)
class Joined(Law):
    """L = E + A (N**(-alpha/k) + r D**(-beta/k))**k: N and D interact (Kaplan et al. 2020, equation 1.5, with E).

    With k = 1 the plain law, B = A r. Below 1 the scarcer of the two decides more; above 1 the law leans towards the
    product of both. On public isoFLOP sweeps k is 0.6 to 0.9, where additive laws miss all large runs on one side.
    """

    factors: ClassVar[tuple[str, ...]] = ("E", "A")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"k": (0.3, 2.0), "r": (1e-15, 1e15)}
    E: float
    A: float
    alpha: float
    beta: float
    k: float
    r: float

    def loss(self, N: Any, D: Any) -> Any:
        k = self.k
        # Negative powers: with a small k they vanish where the positive ones would be too large for a float.
        return self.E + self.A * (N ** (-self.alpha / k) + self.r * D ** (-self.beta / k)) ** k


@dataclass(frozen=True)
class TrainableShare(Law):
    """L = E + (a_d ln D + b_d) / N**alpha + (a_s (1 - S)**b_s + c_s) / D**beta (Ziarko et al. 2024, section 4.3).

    The first bracket is above 0 at the tokens of the runs, and never below 0 beyond them.
    """

    inputs: ClassVar[tuple[str, ...]] = ("N", "D", "S")
    factors: ClassVar[tuple[str, ...]] = ("E", "a_d", "b_d", "a_s", "c_s")
    signed: ClassVar[tuple[str, ...]] = ("a_d", "b_d")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"b_s": (0.05, 20.0)}
    E: float
    a_d: float
    b_d: float
    alpha: float
    a_s: float
    b_s: float
    c_s: float
    beta: float

    def loss(self, N: Any, D: Any, S: Any = 1.0) -> Any:
        height = self.a_d * _log(D) + self.b_d
        return (
            self.E + height * (height > 0) / N**self.alpha + (self.a_s * (1 - S) ** self.b_s + self.c_s) / D**self.beta
        )


@dataclass(frozen=True)
class Repeated(Law):
    """L = E + A / N**alpha + B / D'**beta: D' is what D tokens over U unique ones are worth (Muennighoff et al. 2023).

    repeats: passes after the first that keep most of their value, R* there (15.4 for pretraining).
    """

    inputs: ClassVar[tuple[str, ...]] = ("N", "D", "U")
    factors: ClassVar[tuple[str, ...]] = ("E", "A", "B")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"repeats": (0.05, 1000.0)}
    E: float
    A: float
    alpha: float
    B: float
    beta: float
    repeats: float

    def loss(self, N: Any, D: Any, U: Any = math.inf) -> Any:
        return self.E + self.A / N**self.alpha + self.B / worth(D, U, self.repeats) ** self.beta


@dataclass(frozen=True)
class Weighted(Law):
    """The mean of laws of several families: no run says which of them is true, so none of them decides alone."""

    factors: ClassVar[tuple[str, ...]] = ()
    parts: tuple[Law, ...]
    """Laws of different families, each a function of N and D alone."""
    weights: tuple[float, ...]
    """What each counts: above 0, the largest first, 1 together."""

    def __post_init__(self) -> None:
        names = [family_of(part) for part in self.parts]
        if len(names) != len(self.weights) or len(set(names)) != len(names):
            raise ValueError(f"weights {self.weights} of {', '.join(names)}: one weight a family, each family once")
        if min(self.weights, default=0) <= 0 or abs(sum(self.weights) - 1) > ROUNDING:
            raise ValueError(f"weights are {self.weights}; they must be above 0, and 1 together")
        if list(self.weights) != sorted(self.weights, reverse=True):
            raise ValueError(f"weights are {self.weights}; they must be the largest first")
        for name, part in zip(names, self.parts, strict=True):
            if part.inputs != self.inputs:
                raise ValueError(f"{name} takes {', '.join(part.inputs)}; a mean takes laws in N and D alone")

    def loss(self, N: Any, D: Any) -> Any:
        total = 0.0  # not sum(): it rounds otherwise than the page's
        for part, weight in zip(self.parts, self.weights, strict=True):
            total = total + weight * part.loss(N, D)
        return total

    @property
    def coefficients(self) -> dict[str, float]:
        """Those of all parts, each under "family.name"."""
        every = [(family_of(part), part.coefficients) for part in self.parts]
        return {f"{family}.{name}": value for family, own in every for name, value in own.items()}


def mean_law(laws: Mapping[str, Law], weights: Mapping[str, float]) -> Law:
    """The mean of laws by family, those of weight 0 left out; the law itself where one family has all the weight."""
    order = sorted((name for name in laws if weights[name] > 0), key=lambda name: -weights[name])
    if len(order) == 1:
        return laws[order[0]]
    return Weighted(tuple(laws[name] for name in order), tuple(weights[name] for name in order))


def family_of(law: Law) -> str:
    """Name of a law's family in LAWS; of a mean, that of the family with the largest weight."""
    first = law.parts[0] if isinstance(law, Weighted) else law
    for name, kind in LAWS.items():
        if isinstance(first, kind):
            return name
    raise ValueError(f"{law} is of no family in LAWS")


def coefficients_of(kind: type[Law]) -> tuple[str, ...]:
    """Names of the coefficients of a family, in the order of its formula."""
    return tuple(item.name for item in fields(kind))  # type: ignore[arg-type]


def scaled(law: Law, factors: Mapping[str, float]) -> Law:
    """The law with some of its coefficients multiplied."""
    return type(law)(**{name: value * factors.get(name, 1.0) for name, value in law.coefficients.items()})


def worth(tokens: Any, unique: Any, repeats: Any) -> Any:
    """Fresh tokens that `tokens` over `unique` ones are worth; `repeats` as in Repeated. Floats or arrays."""
    rounds = tokens / unique - 1
    rounds = rounds * (rounds > 0)
    fresh = tokens / (1 + rounds)
    return fresh * (1 + repeats * (1 - math.e ** (-rounds / repeats)))


def _log(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return math.log(value)
    import numpy  # arrays come from the fitter only; the planner must start without numpy

    return numpy.log(value)


LAWS: dict[str, type[Law]] = {
    "chinchilla": Chinchilla,
    "tied": Tied,
    "multiplicative": Multiplicative,
    "power": Power,
    "rectified": Rectified,
    "joined": Joined,
    "trainable": TrainableShare,
    "repeated": Repeated,
}
