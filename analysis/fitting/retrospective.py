"""Would the laws have chosen well? Fitted to budgets up to a quarter of C, they choose at C, where all was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.tables.table import Table
from planner.law_book import MethodLaw

BELOW = 4.0  # times that a budget lies above the largest one that its laws saw, or more


@dataclass(frozen=True)
class Decision:
    """What laws of smaller budgets say of one budget, beside what was measured there."""

    budget: float
    """Training FLOPs."""
    fitted_to: float
    """The largest budget that the laws saw, FLOPs."""
    runs: int
    """How many runs the laws were fitted to."""
    cells: tuple[dict[str, Any], ...]
    """One for each model and method, best measured first.

    It names model, method, the measured losses of its seeds and their mean (nats), the predicted loss and the ends of
    the 90 % interval of one run; the last three are None for methods that had no law yet.
    """
    reason: str = ""
    """Why no law could be fitted; empty where one was."""

    @property
    def predicted(self) -> list[dict[str, Any]]:
        """The cells whose method had a law."""
        return [cell for cell in self.cells if cell["predicted"] is not None]

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The cell that the laws expect the lowest loss of."""
        return min(self.predicted, key=lambda cell: cell["predicted"], default=None)

    @property
    def error(self) -> float | None:
        """By which share the loss of the best measured cell was predicted too high."""
        best = self.cells[0]
        return None if best["predicted"] is None else best["predicted"] / best["loss"] - 1

    @property
    def regret(self) -> float | None:
        """By which share the chosen cell's measured loss exceeds the best one."""
        return None if self.chosen is None else float(self.chosen["loss"] / self.cells[0]["loss"] - 1)

    @property
    def predicted_runs(self) -> int:
        """How many runs were predicted."""
        return sum(len(cell["losses"]) for cell in self.predicted)

    @property
    def inside(self) -> int:
        """How many of them lie in their interval."""
        return sum(cell["low"] <= loss <= cell["high"] for cell in self.predicted for loss in cell["losses"])

    def to_json(self) -> dict[str, Any]:
        derived = {"error": self.error, "regret": self.regret, "chosen": self.chosen}
        return {**asdict(self), **derived, "told": self.predicted_runs, "inside": self.inside}


def retrospective(table: Table, settings: Settings | None = None) -> list[Decision]:
    """At every budget of a sweep that has others at most a quarter as large, smallest first."""
    budgets = sorted(table.rows["budget"].unique())
    return [_decision(table, budget, settings) for budget in budgets if budgets[0] <= budget / BELOW]


def _decision(table: Table, budget: float, settings: Settings | None) -> Decision:
    rows = table.rows
    below = rows[rows["budget"] <= budget / BELOW]
    methods = set(below["method"])
    smaller = replace(table, rows=below, settings={name: of for name, of in table.settings.items() if name in methods})
    try:
        laws, reason = fit_table(smaller, settings).laws, ""
    except ValueError as error:
        laws, reason = (), str(error)
    known = {law.label: law for law in laws}
    cells = [_cell(group, known) for _, group in rows[rows["budget"] == budget].groupby(["model", "method"])]
    cells.sort(key=lambda cell: cell["loss"])
    return Decision(float(budget), float(below["budget"].max()), len(below), tuple(cells), reason)


def _cell(runs: pd.DataFrame, laws: dict[str, MethodLaw]) -> dict[str, Any]:
    first = runs.iloc[0]
    params, tokens, share, unique = (float(first[name]) for name in ("params", "tokens", "share", "unique"))
    law = laws.get(first["method"])
    low, high = law.interval(params, tokens, share, unique) if law else (None, None)
    predicted = law.law.at(params, tokens, share, unique) if law else None
    measured = {"losses": runs["loss"].tolist(), "loss": float(runs["loss"].mean())}
    cell = {"model": first["model"], "method": first["method"]}
    return {**cell, **measured, "predicted": predicted, "low": low, "high": high}
