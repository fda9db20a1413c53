"""Loss laws: families with named coefficients, and the law book that `fit` writes and `plan` reads. LAWS lists them.

Losses are held-out nats per pair; N: parameters outside the embedding tables; D: real training tokens. Formulas use
operators only, so that they take floats and numpy arrays alike.

A family is a class and its line in LAWS: the fit derives the form that it solves from `loss` and `factors`.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from sweeps.flops import Work
from sweeps.methods import Method, make_method
from sweeps.support.checks import from_table
from sweeps.trial import Training

FORMAT = 1


class Law(ABC):
    """Expected held-out loss as a function of what was spent: a sum of positive terms.

    N: parameters. D: training tokens, repeats counted. S: share of the parameters that is trained. U: unique tokens.
    """

    inputs: ClassVar[tuple[str, ...]] = ("N", "D")
    """The arguments of `loss`, in order."""
    factors: ClassVar[tuple[str, ...]]
    """Coefficients that the loss is linear in, 0 or more, one a term; the others are exponents between 0.005 and 4."""
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
        return dict(asdict(self))  # type: ignore[call-overload]


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
class TrainableShare(Law):
    """L = E + (a_d ln D + b_d) / N**alpha + (a_s (1 - S)**b_s + c_s) / D**beta (Ziarko et al. 2024, section 4.3)."""

    inputs: ClassVar[tuple[str, ...]] = ("N", "D", "S")
    factors: ClassVar[tuple[str, ...]] = ("E", "a_d", "b_d", "a_s", "c_s")
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
        size = (self.a_d * _log(D) + self.b_d) / N**self.alpha
        return self.E + size + (self.a_s * (1 - S) ** self.b_s + self.c_s) / D**self.beta


@dataclass(frozen=True)
class Repeated(Law):
    """The plain law in D' tokens, what D tokens over U unique ones are worth (Muennighoff et al. 2023, section 3).

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
    "trainable": TrainableShare,
    "repeated": Repeated,
}


@dataclass(frozen=True)
class Caveat:
    """Something a reader of the laws must know: a stable code for programs, a sentence for people."""

    code: str
    text: str
    method: str = ""


@dataclass(frozen=True)
class MeasuredRange:
    """The evidence of a law: lowest and highest FLOPs, parameters and tokens among its rows."""

    flops: tuple[float, float]
    params: tuple[float, float]
    tokens: tuple[float, float]


NORMAL = 1.645  # 90 % of a normal lie within so many sd


@dataclass(frozen=True)
class MethodLaw:
    """The law of one tuning method.

    settings: the method's name under "name", and its options. intervals, intervals_95: per coefficient, 90 % and, as
    published fits often state them, 95 %. draws: the law refitted to bootstrap resamples. noise: sd of the log loss of
    one run around the law. objective: sum of the Huber losses of the log residuals; delta: where they turn linear.
    learning_rates: best tried one per model. shared: curved coefficients that all methods share.
    variants: objective and coefficients under the L1 and the L2 loss, and in the families that were not chosen.
    isoflop: compute-optimal exponents by parabolas at equal budgets, which know no law, beside the law's own.
    """

    settings: Mapping[str, Any]
    family: str
    law: Law
    intervals: Mapping[str, tuple[float, float]]
    draws: tuple[Law, ...]
    noise: float
    rows: int
    measured: MeasuredRange
    objective: float = 0.0
    delta: float | None = None
    intervals_95: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    backtest: Mapping[str, Any] = field(default_factory=dict)
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    variants: Mapping[str, Any] = field(default_factory=dict)
    isoflop: Mapping[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> Method:
        """The tuning method. Raises ValueError where the law is of somebody else's method."""
        options = {key: value for key, value in self.settings.items() if key != "name"}
        return make_method(str(self.settings["name"]), options)

    @property
    def label(self) -> str:
        """Name and settings, as Method.label prints them."""
        options = {key: value for key, value in self.settings.items() if key != "name"}
        shown = (f"{key} {value if isinstance(value, str) else f'{value:g}'}" for key, value in options.items())
        return " ".join([str(self.settings["name"]), *shown])

    def interval(
        self, N: float, D: float, S: float = 1.0, U: float = math.inf, run: bool = True
    ) -> tuple[float, float]:
        """90 % interval of the loss of one run (`run`), or of the law itself, nats per pair.

        Parameter uncertainty from the draws; a run's own noise adds to it in quadrature of the log half-widths.
        """
        centre = math.log(self.law.at(N, D, S, U))
        drawn = sorted(math.log(law.at(N, D, S, U)) for law in self.draws) or [centre]
        noise = NORMAL * self.noise if run else 0.0
        below = math.hypot(max(centre - quantile(drawn, 0.05), 0.0), noise)
        above = math.hypot(max(quantile(drawn, 0.95) - centre, 0.0), noise)
        return math.exp(centre - below), math.exp(centre + above)

    def to_json(self) -> dict[str, Any]:
        names = list(self.law.coefficients)
        return {
            "method": dict(self.settings),
            "family": self.family,
            "coefficients": self.law.coefficients,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "intervals_95": {name: list(ends) for name, ends in self.intervals_95.items()},
            "draws": {name: [getattr(draw, name) for draw in self.draws] for name in names},
            "noise": self.noise,
            "rows": self.rows,
            "objective": self.objective,
            "delta": self.delta,
            "backtest": dict(self.backtest),
            "learning_rates": dict(self.learning_rates),
            "shared": list(self.shared),
            "variants": dict(self.variants),
            "isoflop": dict(self.isoflop),
            "range": asdict(self.measured),
        }


@dataclass(frozen=True)
class LawBook:
    """All laws of one sweep and what they hold under.

    training, pair: conditions and mean pair of our own sweeps; None for runs from elsewhere. source: where the
    rows came from, their hash, the filters. excluded: (row, reason) of every row that did not enter.
    """

    laws: tuple[MethodLaw, ...]
    measured: MeasuredRange
    models: tuple[str, ...] = ()
    training: Training | None = None
    pair: Work | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    excluded: tuple[tuple[str, str], ...] = ()
    warnings: tuple[Caveat, ...] = ()
    created_by: str = ""

    @property
    def measure(self) -> str:
        """What the laws predict: the loss, or 1 less a score."""
        return str(self.source.get("measure", "loss"))

    def to_json(self) -> dict[str, Any]:
        pair = {"tokens": self.pair.tokens, "squares": self.pair.sum_sq_lengths} if self.pair else None
        return {
            "format": FORMAT,
            "created_by": self.created_by,
            "training": asdict(self.training) if self.training else None,
            "pair": pair,
            "source": dict(self.source),
            "range": asdict(self.measured),
            "models": list(self.models),
            "laws": [law.to_json() for law in self.laws],
            "excluded": [{"key": key, "reason": reason} for key, reason in self.excluded],
            "warnings": [asdict(notice) for notice in self.warnings],
        }


def read_laws(path: Path) -> LawBook:
    """The law book written by `fit`. Raises ValueError naming the file and the place, or FileNotFoundError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict) or "laws" not in content:
        raise ValueError(f"{path}: no laws inside; expected the laws.json that `fit` writes")
    if content.get("format") != FORMAT:
        raise ValueError(f"{path}: format is {content.get('format')!r}; known: {FORMAT}")
    try:
        return _book(content)
    except KeyError as error:
        raise ValueError(f"{path}: has no {error.args[0]!r}") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _book(content: Mapping[str, Any]) -> LawBook:
    if not content["laws"]:
        raise ValueError("holds no law; every method was refused, see its warnings")
    training = from_table(Training, content["training"], "training") if content["training"] else None
    pair = content["pair"]
    work = Work(1, pair["tokens"], pair["squares"], training.batch_size) if pair and training else None
    return LawBook(
        laws=tuple(_method_law(law, f"laws[{i}]") for i, law in enumerate(content["laws"])),
        measured=_measured(content["range"]),
        models=tuple(content["models"]),
        training=training,
        pair=work,
        source=content["source"],
        excluded=tuple((row["key"], row["reason"]) for row in content["excluded"]),
        warnings=tuple(Caveat(**notice) for notice in content["warnings"]),
        created_by=content["created_by"],
    )


def _method_law(content: Mapping[str, Any], where: str) -> MethodLaw:
    family, draws = content["family"], content["draws"]
    if family not in LAWS:
        raise ValueError(f"{where}.family is {family!r}; known: {', '.join(LAWS)}")
    law = _law(family, content["coefficients"], f"{where}.coefficients")
    names, columns = list(draws), list(draws.values())
    return MethodLaw(
        settings=content["method"],
        family=family,
        law=law,
        intervals=_intervals(content["intervals"]),
        draws=tuple(
            _law(family, dict(zip(names, row, strict=True)), f"{where}.draws") for row in zip(*columns, strict=True)
        ),
        noise=content["noise"],
        rows=content["rows"],
        measured=_measured(content["range"]),
        objective=content["objective"],
        delta=content.get("delta"),
        intervals_95=_intervals(content.get("intervals_95", {})),
        backtest=content["backtest"],
        learning_rates=content["learning_rates"],
        shared=tuple(content.get("shared", ())),
        variants=content.get("variants", {}),
        isoflop=content.get("isoflop", {}),
    )


def _intervals(content: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    return {name: (ends[0], ends[1]) for name, ends in content.items()}


def _law(family: str, coefficients: Mapping[str, float], where: str) -> Law:
    known = [item.name for item in fields(LAWS[family])]  # type: ignore[arg-type]
    if sorted(coefficients) != sorted(known):
        raise ValueError(f"{where} are {', '.join(coefficients)}; {family} has {', '.join(known)}")
    for name, value in coefficients.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{where}.{name} is {value!r}; it must be a finite number")
    return LAWS[family](**coefficients)


def _measured(content: Mapping[str, Any]) -> MeasuredRange:
    return MeasuredRange(**{name: (content[name][0], content[name][1]) for name in ("flops", "params", "tokens")})


def quantile(ordered: list[float], share: float) -> float:
    """Linear quantile of a sorted list, as numpy.quantile gives it."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
