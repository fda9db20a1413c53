"""The conditions of a sweep side by side: what each setting changes at equal FLOPs, and the best of each condition."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from analysis.fitting.temperature_rules import BestTemperature, best_temperatures, temperature_rules
from analysis.tables.table import Table
from planner.law_book import LawBook, MethodLaw
from planner.temperature_rule import TemperatureRule
from sweeps.admission import MIN_STEPS
from sweeps.conditions import differing
from sweeps.support.text import table
from sweeps.trial import Training

OTHER_LOSSES = ("temperature",)  # settings of the held-out loss, where that has none of its own
PLACE = ["method", "model", "budget", "seed"]


@dataclass(frozen=True)
class Fitted:
    """One condition: its runs and its laws."""

    name: str
    """What sets it apart from the others."""
    training: Training
    """The condition."""
    runs: Table | None
    """The runs that enter; None where none can."""
    book: LawBook | None
    """Its laws; None where there are none."""
    why: str = ""
    """Why there are none."""

    def with_temperatures(self, rules: Mapping[str, TemperatureRule]) -> Fitted:
        """Its laws with the rule of temperatures of their method."""
        if self.book is None or not rules:
            return self
        laws = tuple(replace(law, temperature_rule=rules.get(law.label)) for law in self.book.laws)
        return replace(self, book=replace(self.book, laws=laws))

    def law(self, method: str) -> MethodLaw | None:
        laws = self.book.laws if self.book else ()
        return next((law for law in laws if law.label == method), None)


@dataclass(frozen=True)
class Effect:
    """What another value of a setting changes, everything else equal: method, model, budget, seed, other settings."""

    setting: str
    """Name of the setting."""
    value: Any
    """The value."""
    instead_of: Any
    """The value that it is held against."""
    pairs: int
    """Pairs of runs that differ in it alone."""
    loss: float | None
    """Mean change of the log loss; None where the two losses are not the same quantity."""
    loss_error: float | None
    """Its standard error; None for fewer than two pairs."""
    accuracy: float
    """Mean change of the accuracy, 0 to 1."""
    accuracy_error: float | None
    """Its standard error."""


@dataclass(frozen=True)
class Best:
    """The best run of a condition and method at the largest budget that all conditions reached."""

    condition: str
    """Name of the condition."""
    method: str
    """Label of the method."""
    runs: int
    """Runs that enter its law."""
    model: str
    """The model of the best run."""
    lr: float
    """Its learning rate, the best of those tried."""
    loss: float
    """Its held-out loss, nats per pair."""
    accuracy: float
    """Its accuracy, 0 to 1."""
    predicted: tuple[float, float, float] | None
    """Loss of its law there, with the 90 % interval of a run; None without a law."""
    why: str = ""
    """Why there is no law."""


@dataclass(frozen=True)
class SideBySide:
    """All conditions of a sweep."""

    name: str
    """Name of the results folder."""
    fits: tuple[Fitted, ...]
    """The conditions."""
    budget: float
    """The largest budget that all conditions reached, FLOPs; 0 where there is none."""
    temperatures: tuple[BestTemperature, ...] = ()
    """The best training temperature by method and measure, where several were tried and the loss is read at one."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Settings in which the conditions differ."""
        return differing([fit.training for fit in self.fits])

    @property
    def other_losses(self) -> tuple[str, ...]:
        """Settings in which the conditions differ, and their losses with them in what they measure."""
        measured_alike = all(fit.training.loss_temperature for fit in self.fits)
        return () if measured_alike else tuple(name for name in OTHER_LOSSES if name in self.settings)

    def bests(self) -> list[Best]:
        """The best run of each condition and method."""
        return [best for fit in self.fits for best in _bests(fit, self.budget)]

    def best(self) -> Fitted | None:
        """The condition with laws and the lowest loss at the largest budget, or the highest accuracy."""
        known = {fit.name: fit for fit in self.fits if fit.book}
        bests = [best for best in self.bests() if best.condition in known]
        order = (lambda best: -best.accuracy) if self.other_losses else (lambda best: best.loss)
        return known[min(bests, key=order).condition] if bests else next(iter(known.values()), None)

    def effects(self) -> list[Effect]:
        """Every value of every setting against its first one."""
        rows = pd.concat([_placed(fit, self.settings) for fit in self.fits if fit.runs], ignore_index=True)
        settings, other = self.settings, self.other_losses
        return [effect for name in settings for effect in _effects(rows, name, settings, name not in other)]


def side_by_side(name: str, fits: Sequence[Fitted]) -> SideBySide:
    """The conditions of the results folder of this name."""
    everything = [observation for fit in fits if fit.runs for observation in fit.runs.observations]
    best = best_temperatures(name, everything, MIN_STEPS)
    rules = temperature_rules(best)
    fits = [fit.with_temperatures(rules) for fit in fits]
    reached = [set(fit.runs.rows["budget"]) for fit in fits if fit.runs]
    return SideBySide(name, tuple(fits), max(set.intersection(*reached), default=0.0) if reached else 0.0, tuple(best))


def _bests(fit: Fitted, budget: float) -> Iterator[Best]:
    if fit.runs is None:
        return
    rows = fit.runs.rows
    for method, own in rows.groupby("method", sort=False):
        there = own[own["budget"] == budget]
        if there.empty:
            continue
        best, law = there.loc[there["loss"].idxmin()], fit.law(str(method))
        N, D, S, U = (float(best[name]) for name in ("params", "tokens", "share", "unique"))
        predicted = (law.law.at(N, D, S, U), *law.interval(N, D, S, U)) if law else None
        why = "" if law else fit.why or "its book names why"
        place = (fit.name, str(method), len(own), str(best["model"]), float(best["lr"]))
        yield Best(*place, float(best["loss"]), float(best["accuracy"]), predicted, why)


def _placed(fit: Fitted, settings: Sequence[str]) -> pd.DataFrame:
    """The runs of a condition with a column for each setting."""
    assert fit.runs
    return fit.runs.rows.assign(**{f"{name}=": _hashable(getattr(fit.training, name)) for name in settings})


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, tuple) else value


def _effects(rows: pd.DataFrame, name: str, settings: Sequence[str], same_loss: bool) -> Iterator[Effect]:
    others = [*PLACE, *(f"{other}=" for other in settings if other != name)]
    first, *rest = rows[f"{name}="].drop_duplicates()
    base = rows[rows[f"{name}="] == first]
    for value in rest:
        both = base.merge(rows[rows[f"{name}="] == value], on=others, suffixes=("_0", "_1"))
        changed = (both["loss_1"] / both["loss_0"]).map(math.log)
        gained = both["accuracy_1"] - both["accuracy_0"]
        alike = same_loss and not both.empty
        loss, error = (float(changed.mean()), _error(changed)) if alike else (None, None)
        yield Effect(name, value, first, len(both), loss, error, float(gained.mean()), _error(gained))


def _error(values: pd.Series) -> float | None:
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None


def text(compared: SideBySide) -> str:
    """Two tables: what each setting changes, and the best of each condition."""
    varied = " x ".join(compared.settings)
    parts = [
        f"{compared.name}: {len(compared.fits)} conditions of {varied}, each with laws of its own",
        "\n".join(
            [
                "each value compared with the first, at equal FLOPs and otherwise equal conditions",
                *_effect_table(compared),
            ]
        ),
    ]
    if compared.budget:
        head = f"the best run of each condition at {compared.budget:.3g} FLOPs, the largest budget that all reached"
        parts.append("\n".join([head, *_best_table(compared)]))
    if compared.temperatures:
        parts.append("\n".join(_temperatures(compared.temperatures)))
    if compared.other_losses:
        varied = " and ".join(compared.other_losses)
        parts.append(f"warning   losses at different {varied} are different quantities: compare conditions by accuracy")
    without = [f"warning   {fit.name}: no law: {fit.why}" for fit in compared.fits if not fit.book]
    return "\n\n".join([*parts, *(["\n".join(without)] if without else [])])


def _temperatures(best: Sequence[BestTemperature]) -> list[str]:
    """The best temperature at the smallest and the largest batch, by each measure; the regret of each one tried."""
    ends = best[0].rule.batches
    head = ["training temperature", "best by", *(part for size in ends for part in (f"at {size:g} pairs", "90 %"))]
    rows = [[*head, "power of B"]]
    for each in best:
        places = [each.rule.best(size) for size in ends]
        shown = [part for T, low, high in places for part in (f"{T:.3f}", f"{low:.3f} to {high:.3f}")]
        power = f"{each.rule.exponent:+.2f} ± {math.sqrt(each.rule.covariance[1][1]):.2f}"
        rows.append([f"  {each.method}", each.measure, *shown, power])
    lines = table(rows, numbers_right=False)
    for each in best:
        away = ", ".join(f"{T}: {100 * share:.1f} %" for T, share in each.rule.given_away.items())
        what = "loss" if each.measure == "loss" else f"1 - {each.measure}"
        lines.append(f"  {each.method}, {what} above that of the best one tried, by temperature: {away}")
    return lines


def _effect_table(compared: SideBySide) -> list[str]:
    rows = [["setting", "value", "instead of", "pairs", "loss", "accuracy"]]
    for effect in compared.effects():
        loss = (
            "another quantity"
            if effect.setting in compared.other_losses
            else _change(effect.loss, effect.loss_error, 100, " %")
        )
        gain = _change(effect.accuracy, effect.accuracy_error, 1, "") if effect.pairs else "no pairs"
        shown = [f"{value!r}" if isinstance(value, str) else f"{value}" for value in (effect.value, effect.instead_of)]
        rows.append([effect.setting, *shown, str(effect.pairs), loss, gain])
    return table(rows, numbers_right=False)


def _change(mean: float | None, error: float | None, times: float, unit: str) -> str:
    if mean is None:
        return "no pairs"
    digits = 1 if times == 100 else 3
    doubt = "" if error is None else f" ± {times * error:.{digits}f}"
    return f"{times * mean:+.{digits}f}{doubt}{unit}"


def _best_table(compared: SideBySide) -> list[str]:
    rows = [["condition", "method", "runs", "model", "lr", "loss", "by its law", "90 % interval", "accuracy"]]
    for best in compared.bests():
        law = (
            [f"{best.predicted[0]:.3f}", "{1:.3f} to {2:.3f}".format(*best.predicted)]
            if best.predicted
            else ["no law", ""]
        )
        place = [best.condition, best.method, str(best.runs), best.model, f"{best.lr:.3g}"]
        rows.append([*place, f"{best.loss:.3f}", *law, f"{best.accuracy:.3f}"])
    return table(rows, numbers_right=False)


def document(compared: SideBySide) -> dict[str, Any]:
    """The same for programs."""
    best = compared.best()
    return {
        "name": compared.name,
        "settings": compared.settings,
        "budget": compared.budget,
        "best": best.name if best else None,
        "temperatures": [asdict(best) for best in compared.temperatures],
        "effects": [asdict(effect) for effect in compared.effects()],
        "conditions": [
            {
                "name": fit.name,
                "settings": {name: getattr(fit.training, name) for name in compared.settings},
                "why": fit.why,
                "bests": [asdict(row) for row in compared.bests() if row.condition == fit.name],
            }
            for fit in compared.fits
        ],
    }
