"""Which family the laws of some methods are of, and whether they share exponents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.fitting.backtest import Backtest, FamilyChoice, choose, score, testable
from analysis.fitting.estimate import Settings
from analysis.fitting.forms import shapes_of
from analysis.fitting.shape import Shape
from analysis.tables.rows import Rows
from planner.law_book import Caveat
from planner.laws import LAWS

# Tried by themselves; repeated joins them where runs repeat their data, trainable is for those who ask for it.
AUTO = ("power", "multiplicative", "tied", "chinchilla", "rectified")
EPOCHS = 1.5  # beyond which a run repeats its data
REPEATING = 3  # runs that must, for a family that tells what repeats are worth


@dataclass(frozen=True)
class ChosenFamily:
    """The family to use, and how it was chosen."""

    choice: FamilyChoice
    """What to use."""
    tested: list[FamilyChoice]
    """What the backtest compared, the choice among them."""
    backtest: Backtest | None
    """How they did; None where the runs are too few to leave any out."""
    caveats: list[Caveat]
    """What to say of the choice."""

    def record(self) -> dict[str, Any]:
        """The backtest for the law file; empty without one."""
        if not self.backtest:
            return {}
        scores = {label: self.backtest.error(label) for label in self.backtest.errors}
        error, se = scores[self.choice.label]
        return {
            "error": error,
            "se": se,
            "predicted": self.backtest.predicted,
            "chosen": self.choice.label,
            "tried": {label: {"error": error, "se": se} for label, (error, se) in scores.items()},
        }


def choose_family(rows: Rows, methods: Sequence[str], settings: Settings) -> ChosenFamily:
    """The family of the laws of these methods. Raises ValueError where none can be fitted."""
    one_size = len(np.unique(rows.N)) == 1 or all(len(np.unique(rows.N[rows.group == g])) == 1 for g in set(rows.group))
    shapes = shapes_of(rows, settings.fixed)
    names = _names(rows, settings.family, shapes)
    sharing = [settings.shared] if settings.shared is not None else [False, True]
    alone = len(methods) == 1 or one_size or takes(settings.family, "S")
    sharing = [shared for shared in sharing if not (shared and alone)] or [False]
    fewest = int(np.bincount(rows.group).min())
    every = [FamilyChoice(name, shapes[name], shared) for name in names for shared in sharing]
    possible = [choice for choice in every if fewest > choice.shape.size]
    if not possible:
        smallest = methods[int(np.bincount(rows.group).argmin())]
        raise ValueError(f"{smallest} has {fewest} runs; family {names[0]} needs at least {every[0].shape.size + 1}")
    tested = testable(possible, rows)
    if not tested:
        usual = [choice for choice in possible if choice.family in ("tied", settings.family)] or possible
        text = f"too few sizes or budgets to predict unseen runs; {usual[0].family} was taken untested"
        return ChosenFamily(usual[0], usual[:1], None, [Caveat("no_backtest", text)])
    backtest = score(tested, rows, settings.first_delta)
    assert backtest  # `testable` has found windows
    left = [name for name in names if name not in {choice.family for choice in tested}]
    text = f"too few runs to test the families {', '.join(left)} on unseen ones; they were not tried"
    chosen = choose(tested, backtest, rows, settings.first_delta)
    return ChosenFamily(chosen, tested, backtest, [Caveat("few_runs", text)] if left else [])


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
