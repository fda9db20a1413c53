"""Which families the laws of some methods are of, with what weights, and whether they share exponents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from analysis.fitting.backtest import Backtest, FamilyChoice, score, testable
from analysis.fitting.estimate import Settings
from analysis.fitting.forms import one_size, shapes_of
from analysis.fitting.model_error import USUAL, coverage, drift_of, learnt
from analysis.fitting.noise import normal_sd
from analysis.fitting.shape import Shape
from analysis.fitting.sharing import contradiction
from analysis.fitting.stacking import shares_exponents, weigh
from analysis.tables.rows import Array, Rows
from planner.law_book import Caveat
from planner.laws import LAWS

# Weighed by themselves. Where runs repeat their data, repeated stands beside their mean; power is for those who ask for
# it and for sweeps too small for any of these; trainable is for those who ask for it.
AUTO = ("multiplicative", "tied", "chinchilla", "rectified", "joined")
SMALLEST = "power"
EPOCHS = 1.5  # beyond which a run repeats its data
REPEATING = 3  # runs that must, for a family that tells what repeats are worth


@dataclass(frozen=True)
class ChosenFamily:
    """The families of a law with their weights, and how these were found."""

    weights: Mapping[FamilyChoice, float]
    """What each counts, largest first, 1 together; one of 1 where a family was asked for or the runs are too few."""
    tested: list[FamilyChoice]
    """What the backtest compared."""
    backtest: Backtest | None
    """How they did; None where the runs are too few to leave any out."""
    caveats: list[Caveat]
    """What to say of them."""

    @property
    def choice(self) -> FamilyChoice:
        """The one with the largest weight."""
        return next(iter(self.weights))

    @cached_property
    def predicted(self) -> Array:
        """ln loss that the windows of the backtest predict by the mean [windows, rows]."""
        assert self.backtest
        return self.backtest.mean(self._by_label)

    @property
    def _by_label(self) -> dict[str, float]:
        return {choice.label: weight for choice, weight in self.weights.items()}

    @cached_property
    def _noise(self) -> float:
        """Sd of the log loss of a run about the mean, by the median residual."""
        assert self.backtest
        return normal_sd(self.backtest.measured - self.backtest.fitted_mean(self._by_label))

    @cached_property
    def _missed(self) -> float | None:
        """Sd of the log loss a decade that the windows missed; None where they predict nothing beyond their runs."""
        assert self.backtest
        return learnt(self.backtest, self.predicted, self._noise)

    @cached_property
    def drift(self) -> float | None:
        """Model error: sd of the log loss a decade beyond the runs; None without a backtest."""
        return drift_of(self._missed) if self.backtest else None

    def record(self) -> dict[str, Any]:
        """The backtest for the law file; empty without one."""
        if not self.backtest:
            return {}
        error, se = self.backtest.summary(self.backtest.error_of(self.predicted))
        return {
            "error": error,
            "se": se,
            "predicted": self.backtest.rows,
            "coverage": self._coverage(self.predicted),
            "chosen": self.choice.label,
            "tried": {choice.label: self._tried(choice) for choice in self.tested},
        }

    def _tried(self, choice: FamilyChoice) -> dict[str, float]:
        assert self.backtest
        error, se = self.backtest.error(choice.label)
        weight = self.weights.get(choice, 0.0)
        return {
            "error": error,
            "se": se,
            "weight": weight,
            "coverage": self._coverage(self.backtest.predicted[choice.label]),
        }

    def _coverage(self, predicted: Array) -> float:
        assert self.backtest
        missed = USUAL if self._missed is None else self._missed
        return coverage(self.backtest, predicted, self._noise, missed)


def choose_family(rows: Rows, methods: Sequence[str], settings: Settings) -> ChosenFamily:
    """The families of the laws of these methods, weighed. Raises ValueError where none can be fitted."""
    shapes = shapes_of(rows, settings.fixed, settings.batch_form)
    names = _names(rows, settings.family, shapes)
    sharing = [settings.shared] if settings.shared is not None else [False, True]
    alone = len(methods) == 1 or one_size(rows) or takes(settings.family, "S")
    sharing = [shared for shared in sharing if not (shared and alone)] or [False]
    fewest = int(np.bincount(rows.group).min())
    every = [FamilyChoice(name, shapes[name], shared) for name in names for shared in sharing]
    possible = [choice for choice in every if fewest > choice.shape.size]
    if not possible and settings.family == "auto" and SMALLEST in shapes and fewest > shapes[SMALLEST].size:
        possible = [FamilyChoice(SMALLEST, shapes[SMALLEST])]
    if not possible:
        smallest = methods[int(np.bincount(rows.group).argmin())]
        raise ValueError(f"{smallest} has {fewest} runs; family {names[0]} needs at least {every[0].shape.size + 1}")
    tested = testable(possible, rows)
    if not tested:
        usual = [choice for choice in possible if choice.family in ("tied", settings.family)] or possible
        text = f"too few sizes or budgets to predict unseen runs; {usual[0].family} was used untested"
        caveats = _differ(_contradicted(usual[0], rows, shapes, settings))
        return ChosenFamily({usual[0]: 1.0}, usual[:1], None, [*caveats, Caveat("no_backtest", text)])
    backtest = score(tested, rows, settings.first_delta)
    assert backtest  # `testable` has found windows
    left = [name for name in names if name not in {choice.family for choice in tested}]
    text = f"too few runs to test the families {', '.join(left)} on unseen ones; they were not tried"
    weights = _weights(tested, backtest, len(methods))
    why = _contradicted(next(iter(weights)), rows, shapes, settings)
    if why and (own := [choice for choice in tested if not choice.shared]):
        weights, why = _weights(own, backtest, len(methods)), ""
    caveats = _differ(why)
    return ChosenFamily(weights, tested, backtest, [*caveats, Caveat("few_runs", text)] if left else caveats)


def _contradicted(choice: FamilyChoice, rows: Rows, shapes: Mapping[str, Shape], settings: Settings) -> str:
    """What speaks against sharing exponents where a choice does so; "" else."""
    if not choice.shared:
        return ""
    return contradiction(rows, shapes.get("chinchilla", choice.shape), settings.first_delta)


def _differ(why: str) -> list[Caveat]:
    return [Caveat("exponents_differ", f"the methods share their exponents, but {why}")] if why else []


def _weights(tested: Sequence[FamilyChoice], backtest: Backtest, groups: int) -> dict[FamilyChoice, float]:
    """All of one sharing. A family that takes more than N and D stands alone, with more weight than all others."""
    kinds = [weigh(kind, backtest, groups) for kind in _by_sharing(tested)]
    weights = kinds[-1] if len(kinds) == 1 or shares_exponents(kinds[0], kinds[1], backtest) else kinds[0]
    alone = [choice for choice in weights if len(LAWS[choice.family].inputs) > 2]
    if alone and weights[alone[0]] > 0.5:
        return {alone[0]: 1.0}
    rest = [choice for choice in weights if choice not in alone]
    return weigh(rest, backtest, groups)


def _by_sharing(tested: Sequence[FamilyChoice]) -> list[list[FamilyChoice]]:
    kinds = [[choice for choice in tested if choice.shared == shared] for shared in (False, True)]
    return [kind for kind in kinds if kind]


def _names(rows: Rows, family: str, shapes: dict[str, Shape]) -> list[str]:
    """The families to compare."""
    repeats = int((rows.D > EPOCHS * rows.U).sum()) >= REPEATING
    if takes(family, "U") and not repeats:
        raise ValueError(
            f"family {family} needs runs that repeat their data: fewer than {REPEATING} see more than {EPOCHS} epochs"
        )
    if family == "auto":
        names = [name for name in (*AUTO, *(["repeated"] if repeats else [])) if name in shapes]
        return names or list(shapes)
    if family not in shapes:
        lacking = "several model sizes; with one size" if len(np.unique(rows.D)) > 1 else "token counts; without them"
        raise ValueError(f"family {family} needs {lacking}: {', '.join(shapes)}")
    return [family]


def takes(family: str, name: str) -> bool:
    """Whether the formula of a family takes S, the trained share, or U, the unique tokens."""
    return family in LAWS and name in LAWS[family].inputs
