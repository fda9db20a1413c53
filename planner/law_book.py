"""The law book that `fit` writes and `plan` reads: every law of a sweep, and what they hold under."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from planner.batch_law import AtBatch, BatchLaw
from planner.laws import Law, Weighted, family_of
from planner.palette import looks
from planner.plots import Line, draw_lines
from planner.quantiles import quantile
from planner.quantities import short
from planner.rate_rule import RateRule
from planner.scores import ScoreLaw
from planner.temperature_rule import TemperatureRule
from sweeps.flops import Work
from sweeps.methods import Method, label_of, make_method
from sweeps.models import find_model
from sweeps.support.frames import data_frame, html_table
from sweeps.trial import Training

FORMAT, BATCH_FORMAT = 2, 3  # that are written, the later one of laws with a batch size in them; docs/laws-json.md
POINTS = 40  # of a curve that is drawn
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
    rates_batch: int | None = None
    """Text pairs in a step of the runs behind those rates; None where that is not known."""
    rate_rule: RateRule | None = None
    """The best rate as a power law in N, batch size and rank; None where no rate was searched."""
    temperature_rule: TemperatureRule | None = None
    """The best training temperature by batch size; None where one temperature was tried."""
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
    batch: BatchLaw | None = None
    """What batch size is worth, where runs of several were fitted together: `law` then is that of the best batch size
    for every D. None: all runs had that of LawBook.training."""

    @property
    def any_batch(self) -> Law:
        """The law without a batch size put in: of its own one, or of the best for every D."""
        return self.law.law if isinstance(self.law, AtBatch) else self.law

    def at_batch(self, size: int) -> MethodLaw:
        """The law as it is for batches of so many pairs; itself where batch size is not in it."""
        batch = self.batch
        if batch is None or isinstance(self.law, AtBatch):
            return self
        draws = [AtBatch(draw, batch.term_of(place), size, batch.own) for place, draw in enumerate(self.draws)]
        return replace(self, law=AtBatch(self.law, batch.term, size, batch.own), draws=tuple(draws))

    @property
    def weights(self) -> dict[str, float]:
        """Family -> its weight in the law, the largest first."""
        whole = self.any_batch
        if isinstance(whole, Weighted):
            return {family_of(part): weight for part, weight in zip(whole.parts, whole.weights, strict=True)}
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
        return label_of(self.settings)

    def rows_of_coefficients(self) -> list[dict[str, Any]]:
        """A row for each coefficient of each family: its weight in the law, its value and its 90 % interval."""
        return [
            {
                "method": self.label,
                "family": family,
                "weight": self.weights[family],
                "coefficient": name,
                "value": value,
                "low": low,
                "high": high,
            }
            for family, part in self.parts.items()
            for name, value in part.coefficients.items()
            for low, high in [self.intervals.get(family, {}).get(name, (math.nan, math.nan))]
        ]

    def __repr__(self) -> str:
        weights = ", ".join(f"{family} {weight:.2f}" for family, weight in self.weights.items())
        return f"MethodLaw({self.label}: {weights}; {self.rows} runs, {len(self.draws)} draws, noise {self.noise:.2g})"

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
            **({"rates_batch": self.rates_batch} if self.rates_batch else {}),
            **({"rate_rule": self.rate_rule.to_json()} if self.rate_rule else {}),
            **({"temperature_rule": self.temperature_rule.to_json()} if self.temperature_rule else {}),
            "shared": list(self.shared),
            "variants": dict(self.variants),
            "isoflop": dict(self.isoflop),
            **({"profiles": dict(self.profiles)} if self.profiles else {}),
            "range": asdict(self.measured),
            **({"batch": self.batch.to_json()} if self.batch else {}),
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

    def to_frame(self) -> Any:
        """The laws as a pandas.DataFrame: a row for each coefficient of each family of each method.

        Columns: method, family, weight in the law, coefficient, value, and low and high of its 90 % interval.
        """
        return data_frame(row for law in self.laws for row in law.rows_of_coefficients())

    def plot(self, model: str = "", axes: Any = None) -> Any:
        """Draws the loss that each method's law predicts for one model against training tokens; returns the axes.

        model: name of one of the measured models, by default the middle one. axes: of matplotlib to draw on; None for
        new ones. Bands are 90 % intervals of the laws, over the measured tokens, each seen once. Raises ValueError for
        a model that is none of those, and for laws of runs that name no models.
        """
        if not self.models:
            raise ValueError(f"the laws of {self.name} name no models, and their curves are of one")
        if model and model not in self.models:
            raise ValueError(f"`model` is {model!r}; measured: {', '.join(self.models)}")
        spec = find_model(model or self.models[len(self.models) // 2])
        drawn = looks({law.label: law.settings for law in self.laws})
        lines = []
        for law in self.laws:
            low, high = law.measured.tokens
            tokens = [low * (high / low) ** (place / (POINTS - 1)) for place in range(POINTS)]
            share = law.method.trainable(spec) / spec.params
            losses = tuple(law.law.at(spec.params, D, share) for D in tokens)
            ends = tuple(law.interval(spec.params, D, share, run=False) for D in tokens)
            lines.append(Line(law.label, drawn[law.label], tuple(tokens), losses, ends))
        measure = "held-out loss, nats per pair" if self.measure == "loss" else self.measure
        title = f"Laws of {self.name} at {model or spec.name}, N = {short(spec.params)}"
        return draw_lines(lines, title, "training tokens D", measure, axes)

    def __repr__(self) -> str:
        runs = sum(law.rows for law in self.laws)
        labels = ", ".join(law.label for law in self.laws)
        low, high = self.measured.flops
        source = self.published or f"{runs} runs"
        return f"LawBook({self.name}: {labels}; {source}, {low:.2g} to {high:.2g} FLOP)"

    def _repr_html_(self) -> str:
        rows = []
        for law in self.laws:
            weights = ", ".join(f"{family} {weight:.2f}" for family, weight in law.weights.items())
            covered = [law.measured.params, law.measured.tokens, law.measured.flops]
            ranges = [f"{short(low)} to {short(high)}" for low, high in covered]
            rows.append((law.label, law.rows, weights, f"{law.noise:.2g}", *ranges))
        head = ("method", "runs", "families and weights", "noise", "N", "D", "C")
        return html_table(f"laws of {self.name}", head, rows, [f"Note: {each.text}." for each in self.warnings[:3]])

    def to_json(self) -> dict[str, Any]:
        pair = {"tokens": self.pair.tokens, "squares": self.pair.sum_sq_lengths} if self.pair else None
        return {
            "format": BATCH_FORMAT if any(law.batch for law in self.laws) else FORMAT,
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
