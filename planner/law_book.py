"""The law book that `fit` writes and `plan` reads: every law of a sweep, and what they hold under."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from planner.laws import LAWS, Law
from planner.scores import ScoreLaw
from sweeps.flops import Work
from sweeps.methods import Method, make_method
from sweeps.support.checks import from_table
from sweeps.trial import Training

FORMAT = 1
NORMAL = 1.645  # 90 % of a normal lie within so many sd


@dataclass(frozen=True)
class Caveat:
    """Something that a reader of the laws must know."""

    code: str
    """Stable name for programs."""
    text: str
    """A sentence for people."""
    method: str = ""
    """Label of the tuning method that it is about; empty for all."""


@dataclass(frozen=True)
class MeasuredRange:
    """What the rows of a law cover: (lowest, highest) of each quantity."""

    flops: tuple[float, float]
    """Training FLOPs, the exact count."""
    params: tuple[float, float]
    """N: parameters outside the embedding tables."""
    tokens: tuple[float, float]
    """D: training tokens, repeats counted."""


@dataclass(frozen=True)
class MethodLaw:
    """The law of one tuning method, and how it was fitted."""

    settings: Mapping[str, Any]
    """The method's name under "name", and its options."""
    family: str
    """Name of the law's family in LAWS."""
    law: Law
    """The law with the fitted coefficients."""
    intervals: Mapping[str, tuple[float, float]]
    """Coefficient -> its 90 % interval."""
    draws: tuple[Law, ...]
    """The law refitted to bootstrap resamples; draw i of every method comes from the same resample."""
    noise: float
    """Standard deviation of the log loss of one run around the law."""
    rows: int
    """Runs that the law was fitted to; 0 for laws from published facts."""
    measured: MeasuredRange
    """What those runs cover."""
    objective: float = 0.0
    """Sum of the Huber losses of the log residuals."""
    delta: float | None = None
    """Log residual at which the Huber loss turns linear."""
    intervals_95: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Coefficient -> its 95 % interval, as published fits often state them."""
    backtest: Mapping[str, Any] = field(default_factory=dict)
    """How the family was chosen: errors on larger runs that the fit had not seen; empty where none was predicted."""
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    """Model -> best peak learning rate of those tried."""
    rates_from: str = ""
    """Where those rates come from, where not from the runs that the law was fitted to."""
    shared: tuple[str, ...] = ()
    """Exponents that all methods share."""
    variants: Mapping[str, Any] = field(default_factory=dict)
    """Objective and coefficients under the L1 and the L2 loss, and in the families that were not chosen."""
    isoflop: Mapping[str, Any] = field(default_factory=dict)
    """Compute-optimal exponents by parabolas at equal budgets, which know no law, beside the law's own."""

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
        self, N: float, D: float, S: float = 1.0, U: float = math.inf, run: bool = True, drift: Sequence[float] = ()
    ) -> tuple[float, float]:
        """90 % interval of the loss of one run (`run`), or of the law itself, nats per pair.

        Uncertainty of the law from the draws, each multiplied by its `drift` where there is one; a run's own noise adds
        to it in quadrature of the log half-widths.
        """
        centre = math.log(self.law.at(N, D, S, U))
        losses = [law.at(N, D, S, U) for law in self.draws]
        if drift:
            losses = [loss * factor for loss, factor in zip(losses, drift, strict=True)]
        drawn = sorted(math.log(loss) for loss in losses) or [centre]
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
            **({"rates_from": self.rates_from} if self.rates_from else {}),
            "shared": list(self.shared),
            "variants": dict(self.variants),
            "isoflop": dict(self.isoflop),
            "range": asdict(self.measured),
        }


@dataclass(frozen=True)
class LawBook:
    """All laws of one sweep and what they hold under."""

    laws: tuple[MethodLaw, ...]
    """One law a tuning method."""
    measured: MeasuredRange
    """What the runs of all methods cover."""
    models: tuple[str, ...] = ()
    """Names of the models that were trained, smallest first."""
    training: Training | None = None
    """The conditions that all runs share; None for runs from elsewhere."""
    pair: Work | None = None
    """Mean training pair, and the pairs in a batch; None for runs from elsewhere."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """Where the rows came from, their hash, the filters and the settings of the fit. "kind": "published" where they are
    facts from a paper, cited under "citation"."""
    excluded: tuple[tuple[str, str], ...] = ()
    """(row, reason) of every row that did not enter."""
    warnings: tuple[Caveat, ...] = ()
    """What the fit warned of."""
    created_by: str = ""
    """Program and version that fitted the laws."""
    scores: tuple[ScoreLaw, ...] = ()
    """How the score of each task of the sweep follows the loss; empty where no task was scored."""

    @property
    def name(self) -> str:
        """What the book is called: the folder of its sweep, or of its facts."""
        return str(self.source.get("name", "the laws"))

    @property
    def published(self) -> str:
        """The paper whose printed facts the laws come from; "" for laws of runs."""
        return str(self.source.get("citation", "")) if self.source.get("kind") == "published" else ""

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
            "warnings": [asdict(caveat) for caveat in self.warnings],
            **({"scores": [asdict(law) for law in self.scores]} if self.scores else {}),
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
        warnings=tuple(Caveat(**caveat) for caveat in content["warnings"]),
        created_by=content["created_by"],
        scores=tuple(_score_law(law) for law in content.get("scores", ())),
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
        rates_from=content.get("rates_from", ""),
        shared=tuple(content.get("shared", ())),
        variants=content.get("variants", {}),
        isoflop=content.get("isoflop", {}),
    )


def _score_law(content: Mapping[str, Any]) -> ScoreLaw:
    pairs = {name: tuple(content[name]) for name in ("losses", "params")}
    return ScoreLaw(**{**content, **pairs, "covariance": tuple(map(tuple, content["covariance"]))})


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
