"""The law book that `fit` writes and `plan` reads: every law of a sweep, and what they hold under."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from planner.isoflop import check_isoflop
from planner.laws import LAWS, ROUNDING, Law, Weighted, family_of, mean_law
from planner.scores import ScoreLaw
from sweeps.flops import Work
from sweeps.methods import Method, make_method
from sweeps.support.checks import (
    LARGEST,
    all_numbers,
    brief,
    check_fields,
    choice,
    distinct,
    from_table,
    is_number,
    number,
    require,
    strings,
    tables,
    whole,
    within,
)
from sweeps.support.checksum import NAME, refuse_changed
from sweeps.support.json_io import json_of, read_bytes
from sweeps.support.paths import folder_of
from sweeps.trial import Training

FORMAT = 2  # that is written; docs/laws-json.md
READABLE = (1, 2)  # 1: a law is of one family, whose name stands nowhere but under "family"
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


Intervals = Mapping[str, Mapping[str, tuple[float, float]]]


@dataclass(frozen=True)
class MethodLaw:
    """The law of one tuning method, and how it was fitted."""

    settings: Mapping[str, Any]
    """The method's name under "name", and its options."""
    family: str
    """Name of the law's family in LAWS; of a mean, that of the family with the largest weight."""
    law: Law
    """The law with the fitted coefficients: of one family, or the mean of several."""
    intervals: Intervals
    """Family -> coefficient -> its 90 % interval."""
    draws: tuple[Law, ...]
    """The law refitted to bootstrap resamples, each draw of one family, as often as its weight says. Draw i of every
    method comes from the same resample and is of the same family."""
    noise: float
    """Standard deviation of the log loss of one run around the law."""
    rows: int
    """Runs that the law was fitted to; 0 for laws from published facts."""
    measured: MeasuredRange
    """What those runs cover."""
    objective: float = 0.0
    """Sum of the Huber losses of the log residuals; of a mean, those of the family with the largest weight."""
    delta: float | None = None
    """Log residual at which the Huber loss turns linear."""
    intervals_95: Intervals = field(default_factory=dict)
    """Family -> coefficient -> its 95 % interval, as published fits often state them."""
    backtest: Mapping[str, Any] = field(default_factory=dict)
    """Errors of the law and of every family on larger runs that a fit had not seen; empty where none was predicted."""
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    """Model -> best peak learning rate of those tried."""
    rates_from: str = ""
    """Where those rates come from, where not from the runs that the law was fitted to."""
    shared: tuple[str, ...] = ()
    """Exponents that all methods share."""
    variants: Mapping[str, Any] = field(default_factory=dict)
    """Objective and coefficients under the L1 and the L2 loss, and in the families that were not chosen."""
    isoflop: Mapping[str, Any] = field(default_factory=dict)
    """isoFLOP minima, which know no law, beside the law's: "bottoms" at each budget, "exponents", the "line" N*(C)
    through them with its draws, "decisions" of both rules at unseen budgets and the "verdict" on these."""
    profiles: Mapping[str, Any] = field(default_factory=dict)
    """Coefficient of `family` -> its profile, where one was asked for: best, low, high and points."""
    noise_slope: float = 0.0
    """By which power of the tokens the noise falls, where repeats of runs tell: see `noise_at`."""
    scatter: Mapping[str, float] = field(default_factory=dict)
    """The noise otherwise: "rms" of all runs, "mad" by the median residual; empty for laws from published facts."""
    drift: float | None = None
    """Model error: sd of the log loss for every decade beyond the measured range, learnt from runs that a fit had not
    seen; None where it was not learnt, and the planner assumes one."""

    @property
    def weights(self) -> dict[str, float]:
        """Family -> its weight in the law, the largest first."""
        if isinstance(self.law, Weighted):
            return {family_of(part): weight for part, weight in zip(self.law.parts, self.law.weights, strict=True)}
        return {self.family: 1.0}

    @property
    def parts(self) -> dict[str, Law]:
        """Family -> its law, that with the largest weight first."""
        if isinstance(self.law, Weighted):
            return {family_of(part): part for part in self.law.parts}
        return {self.family: self.law}

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

    def noise_at(self, tokens: float) -> float:
        """Sd of the log loss of one run of so many tokens.

        `noise` is that in the geometric middle of the measured tokens; beyond these it stays as it is at their end.
        """
        low, high = self.measured.tokens
        within = min(max(tokens, low), high) / math.sqrt(low * high)
        return self.noise * within**-self.noise_slope if self.noise_slope else self.noise

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
        noise = NORMAL * self.noise_at(D) if run else 0.0
        below = math.hypot(max(centre - quantile(drawn, 0.05), 0.0), noise)
        above = math.hypot(max(quantile(drawn, 0.95) - centre, 0.0), noise)
        return math.exp(centre - below), math.exp(centre + above)

    def to_json(self) -> dict[str, Any]:
        return {
            "method": dict(self.settings),
            "family": self.family,
            "weights": self.weights,
            "coefficients": {family: part.coefficients for family, part in self.parts.items()},
            "intervals": _intervals_json(self.intervals),
            "intervals_95": _intervals_json(self.intervals_95),
            "draws": dict(zip(("families", "coefficients"), columns_of(self.draws), strict=True)),
            "noise": self.noise,
            "noise_slope": self.noise_slope,
            "scatter": dict(self.scatter),
            "drift": self.drift,
            "rows": self.rows,
            "objective": self.objective,
            "delta": self.delta,
            "backtest": dict(self.backtest),
            "learning_rates": dict(self.learning_rates),
            **({"rates_from": self.rates_from} if self.rates_from else {}),
            "shared": list(self.shared),
            "variants": dict(self.variants),
            "isoflop": dict(self.isoflop),
            **({"profiles": dict(self.profiles)} if self.profiles else {}),
            "range": asdict(self.measured),
        }


def _intervals_json(intervals: Intervals) -> dict[str, Any]:
    return {family: {name: list(ends) for name, ends in own.items()} for family, own in intervals.items()}


def columns_of(draws: Sequence[Law]) -> tuple[list[str], dict[str, dict[str, list[float]]]]:
    """The family of every draw; and family -> coefficient -> its values, in the order of the draws of that family."""
    families = [family_of(draw) for draw in draws]
    columns: dict[str, dict[str, list[float]]] = {}
    for family, draw in zip(families, draws, strict=True):
        own = columns.setdefault(family, {name: [] for name in draw.coefficients})
        for name, value in draw.coefficients.items():
            own[name].append(value)
    return families, columns


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
    folder: Path | None = None
    """The folder that relative paths of its data and models are written for; None: the current one."""

    @property
    def name(self) -> str:
        """What the book is called: the folder of its sweep, or of its facts."""
        return str(self.source.get("name", "the laws"))

    @property
    def published(self) -> str:
        """The paper whose printed facts the laws come from; "" for laws of runs."""
        return str(self.source.get("citation", "")) if self.source.get("kind") == "published" else ""

    @property
    def weighed_by(self) -> str:
        """The sweep whose runs weighed the draws of published facts; "" where none did."""
        return str(self.source.get("weighed", {}).get("runs", ""))

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


MOST_BYTES = 50_000_000  # of a law book
RATE = (1e-12, 100.0)  # plausible peak learning rates of AdamW
# Draws of a few runs go far: what is refused is what no fit can leave.
EXPONENT = (0.0, 50.0)  # 0 beside a factor of 0: a law that lacks N or D
FACTOR = (0.0, 1e100)
OTHER = (1e-30, 1e60)
# Fields of a law and of a book -> lowest and highest value.
LIMITS = {
    "noise": (0.0, 10.0),  # of a log
    "noise_slope": (-5.0, 5.0),
    "scatter": (0.0, 1e3),  # of a log
    "rows": (0, 1e9),
    "objective": (0.0, 1e12),
    "delta": (0.0, 1e6),
    "drift": (0.0, 10.0),  # of a log
    "learning_rates": RATE,
}
MEAN_PAIR = {"tokens": (1e-3, 1e9), "squares": (1e-3, 1e18)}
SPAN = (1e-9, 1e40)  # of what runs cover


def read_laws(path: Path) -> LawBook:
    """The law book written by `fit`. Raises ValueError naming the file and the place, or OSError without a file."""
    text = read_bytes(path, MOST_BYTES)
    content = json_of(text, path)
    if not isinstance(content, dict) or "laws" not in content:
        raise ValueError(f"{path}: no laws inside; expected the laws.json that `fit` writes")
    version = content.get("format")
    if type(version) is not int or version not in READABLE:
        raise ValueError(f"{path}: format is {brief(version)}; known: {' and '.join(map(str, READABLE))}")
    try:
        book = _book(content, version)  # which says best what is wrong
        refuse_changed(text, content.get(NAME))
        beside = path.parent / "sweep.toml"
        return replace(book, folder=folder_of(beside)) if beside.is_file() else book
    except KeyError as error:
        raise ValueError(f"{path}: has no {error.args[0]!r}") from None
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from None


def _book(content: Mapping[str, Any], version: int) -> LawBook:
    laws = tables(content["laws"], 0, "laws must be a list of objects")
    if not laws:
        raise ValueError("holds no law; every method was refused, see its warnings")
    training = from_table(Training, content["training"], "training") if content["training"] else None
    excluded = tables(content["excluded"], 0, "excluded must be a list of objects")
    caveats = tables(content["warnings"], 0, "warnings must be a list of objects")
    _check_source(content["source"])
    read = tuple(_method_law(law, f"laws[{i}]", version) for i, law in enumerate(laws))
    labels = [law.label for law in read]
    distinct("laws", labels, labels)
    return LawBook(
        laws=read,
        measured=_measured(content["range"], "range"),
        models=strings("models", content["models"]),
        training=training,
        pair=_mean_pair(content["pair"], training),
        source=content["source"],
        excluded=tuple((_string(row, "key"), _string(row, "reason")) for row in excluded),
        warnings=tuple(from_table(Caveat, caveat, f"warnings[{i}]") for i, caveat in enumerate(caveats)),
        created_by=_string(content, "created_by"),
        scores=tuple(
            _score_law(law, f"scores[{i}]")
            for i, law in enumerate(tables(content.get("scores", []), 0, "scores must be a list of objects"))
        ),
    )


def _check_source(content: Any) -> None:
    """Refuse what the planner could not tell of where the laws come from."""
    require("source", content, isinstance(content, dict), "an object")
    for name in ("name", "citation", "measure", "kind", "rows_hash"):
        require(f"source.{name}", content.get(name), isinstance(content.get(name, ""), str), "a string")
    if (unique := content.get("unique_tokens")) is not None:
        require("source.unique_tokens", unique, is_number(unique) and 0 <= unique <= SPAN[1], "a number of tokens")
    if (shared := content.get("with")) is not None:
        require("source.with", shared, isinstance(shared, dict), "an object")
        require("source.with.name", shared["name"], isinstance(shared["name"], str), "a string")
        whole("source.with.observations", shared["observations"], 0)
        for name in ("shared", "own"):
            strings(f"source.with.{name}", shared[name])


def _mean_pair(content: Any, training: Training | None) -> Work | None:
    if not content or not training:
        return None
    require("pair", content, isinstance(content, dict), "an object")
    for name, limits in MEAN_PAIR.items():
        within(f"pair.{name}", number(f"pair.{name}", content[name]), limits)
    return Work(1, content["tokens"], content["squares"], training.batch_size)


def _string(content: Mapping[str, Any], name: str) -> str:
    require(name, content[name], isinstance(content[name], str), "a string")
    return str(content[name])


def _method_law(content: Mapping[str, Any], where: str, version: int) -> MethodLaw:
    family, settings = content["family"], content["method"]
    choice(f"{where}.family", family, list(LAWS))
    named = isinstance(settings, dict) and isinstance(settings.get("name"), str) and settings["name"] != ""
    require(f"{where}.method", settings, named, "named")
    content = content if version > 1 else _of_one_family(content)
    weights = _weights(content["weights"], family, f"{where}.weights")
    laws = {
        name: _law(name, own, f"{where}.coefficients.{name}")
        for name, own in _by_family(content["coefficients"], weights, f"{where}.coefficients").items()
    }
    check_isoflop(content.get("isoflop", {}), f"{where}.isoflop")
    made = {
        "settings": settings,
        "law": mean_law(laws, weights),
        "draws": _draws(content["draws"], weights, f"{where}.draws"),
        "measured": _measured(content["range"], f"{where}.range"),
        "intervals": _intervals(content.get("intervals", {}), weights, f"{where}.intervals"),
        "intervals_95": _intervals(content.get("intervals_95", {}), weights, f"{where}.intervals_95"),
        "shared": strings(f"{where}.shared", content.get("shared", ())),
    }
    known = {item.name for item in fields(MethodLaw)} - set(made)
    given = {name: value for name, value in content.items() if name in known}
    check_fields(MethodLaw, {**given, **made}, where, LIMITS)
    return MethodLaw(**given, **made)


def _of_one_family(content: Mapping[str, Any]) -> dict[str, Any]:
    """A law of format 1, as format 2 says it."""
    family, columns = content["family"], content["draws"]
    require(
        "draws", columns, isinstance(columns, dict) and all(isinstance(x, list) for x in columns.values()), "columns"
    )
    return {
        **content,
        "weights": {family: 1.0},
        **{name: {family: content[name]} for name in ("coefficients", "intervals", "intervals_95") if name in content},
        "draws": {
            "families": [family] * max(map(len, columns.values()), default=0),
            "coefficients": {family: columns} if any(columns.values()) else {},
        },
    }


def _weights(content: Any, family: str, where: str) -> dict[str, float]:
    """Family -> weight, the largest first."""
    require(where, content, isinstance(content, dict) and content != {}, "an object of numbers, not empty")
    for name, weight in content.items():
        choice(f"{where}, a name in which", name, list(LAWS))
        require(f"{where}.{name}", weight, is_number(weight) and weight > 0, "a number above 0")
        if len(content) > 1 and LAWS[name].inputs != Law.inputs:
            raise ValueError(f"{where} name {name}, a law in {', '.join(LAWS[name].inputs)}, which stands alone")
    total = math.fsum(content.values())
    require(f"{where}, the sum of which", total, abs(total - 1) <= ROUNDING, "1")
    order = sorted(content, key=lambda name: (-content[name], name != family))
    require(f"{where}, the largest of which", order[0], order[0] == family, f"of the law's `family`, {family}")
    return {name: content[name] for name in order}


def _by_family(content: Any, weights: Mapping[str, float], where: str, every: bool = True) -> dict[str, Any]:
    """What a law says of each of its families, or of some of them."""
    require(where, content, isinstance(content, dict), "an object with a part for each family")
    for name in content:
        choice(f"{where}, a name in which", name, list(weights))
    if missing := [name for name in weights if every and name not in content]:
        raise ValueError(f"{where} has no {' and no '.join(missing)}")
    return content


SCORES = {
    "lowest": (-1.0, 1.0),
    **dict.fromkeys(("a", "b", "c"), (-1e6, 1e6)),
    "noise": (0.0, 1e3),
    "width": (0.0, 1e3),
    "rows": (0, 1e9),
    "correlation": (-1.0, 1.0),
}


def _score_law(content: Any, where: str) -> ScoreLaw:
    check_fields(ScoreLaw, content, where, SCORES)
    rows = content["covariance"]
    square = isinstance(rows, list) and len(rows) == 3 and all(isinstance(row, list) and len(row) == 3 for row in rows)
    require(f"{where}.covariance", rows, square, "three rows of three numbers")
    all_numbers(f"{where}.covariance", [value for row in rows for value in row])
    pairs = {name: _pair(content[name], f"{where}.{name}", SPAN) for name in ("losses", "params")}
    return ScoreLaw(**{**content, **pairs, "covariance": tuple(map(tuple, rows))})


def _draws(content: Any, weights: Mapping[str, float], where: str) -> tuple[Law, ...]:
    """The law of every draw, from the family of each, and of each family the columns of its coefficients."""
    require(where, content, isinstance(content, dict), "an object of families and coefficients")
    families, parts = content["families"], content["coefficients"]
    require(f"{where}.families", families, isinstance(families, list), "a list of names")
    for i, family in enumerate(families):
        if not isinstance(family, str) or family not in weights:
            choice(f"{where}.families[{i}]", family, list(weights))
    drawn = {name: families.count(name) for name in weights if name in families}
    columns = _by_family(parts, drawn, f"{where}.coefficients")
    laws = {name: iter(_columns(name, columns[name], drawn[name], f"{where}.coefficients.{name}")) for name in drawn}
    return tuple(next(laws[family]) for family in families)


def _columns(family: str, columns: Any, count: int, where: str) -> list[Law]:
    """The draws of one family. columns: coefficient -> its value in each."""
    require(where, columns, isinstance(columns, dict) and all(isinstance(x, list) for x in columns.values()), "columns")
    _known_coefficients(family, columns, where)
    for name, column in columns.items():
        lengths = f"{count} numbers, one for every draw of the family"
        require(f"{where}.{name}, the length of which", len(column), len(column) == count, lengths)
        all_numbers(f"{where}.{name}", column)
        within(f"{where}.{name}", column, coefficient_limits(family, name))
    names = list(columns)
    return [LAWS[family](**dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _intervals(content: Any, weights: Mapping[str, float], where: str) -> dict[str, dict[str, tuple[float, float]]]:
    read = {}
    for family, own in _by_family(content, weights, where, every=False).items():
        require(f"{where}.{family}", own, isinstance(own, dict), "an object")
        read[family] = {
            name: _pair(ends, f"{where}.{family}.{name}", (-LARGEST, LARGEST)) for name, ends in own.items()
        }
    return read


def _pair(ends: Any, where: str, limits: tuple[float, float]) -> tuple[float, float]:
    """A lower and an upper end."""
    fits = isinstance(ends, list) and len(ends) == 2 and all(map(is_number, ends))
    require(where, ends, fits and ends[0] <= ends[1], "two numbers, the lower first")
    within(where, ends, limits)
    return ends[0], ends[1]


def _law(family: str, coefficients: Any, where: str) -> Law:
    require(where, coefficients, isinstance(coefficients, dict), "an object of numbers")
    _known_coefficients(family, coefficients, where)
    for name, value in coefficients.items():
        require(f"{where}.{name}", value, is_number(value), "a finite number")
        within(f"{where}.{name}", value, coefficient_limits(family, name))
    law = LAWS[family](**coefficients)
    require(where, coefficients, any(getattr(law, name) for name in LAWS[family].factors), "factors that are not all 0")
    return law


def _known_coefficients(family: str, coefficients: Mapping[str, Any], where: str) -> None:
    known = [item.name for item in fields(LAWS[family])]  # type: ignore[arg-type]
    if sorted(coefficients) != sorted(known):
        raise ValueError(f"{where} are {', '.join(coefficients)}; {family} has {', '.join(known)}")


def coefficient_limits(family: str, name: str) -> tuple[float, float]:
    """The lowest and the highest value of a coefficient that is plausible."""
    kind = LAWS[family]
    return FACTOR if name in kind.factors else OTHER if name in kind.ranges else EXPONENT


def _measured(content: Any, where: str) -> MeasuredRange:
    require(where, content, isinstance(content, dict), "an object")
    names = [item.name for item in fields(MeasuredRange)]
    return MeasuredRange(**{name: _pair(content[name], f"{where}.{name}", SPAN) for name in names})


def quantile(ordered: list[float], share: float) -> float:
    """Linear quantile of a sorted list, as numpy.quantile gives it."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
