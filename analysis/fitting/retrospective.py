"""Would the laws have chosen well? Fitted to budgets up to a quarter of C, they choose at C, where all was measured.

Here everything is done anew from the smaller runs, the choice of the family too. A table of runs from elsewhere has the
budgets that its runs come in (analysis/frontier.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from analysis.fitting.decisions import BELOW, Measured, SizeDecision, brought, decide, seen
from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.fitting.isoflop import line_of, slope_of
from analysis.frontier import at_level, budget_levels
from analysis.tables.table import Table
from planner.discrepancy import drift
from planner.law_book import MethodLaw
from planner.quantities import short


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
    sizes: tuple[SizeDecision, ...]
    """For each method what the law, isoFLOP minima and 20 tokens a parameter chose among its sizes."""
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
    """At every budget of a table that has others at most a quarter as large, smallest first.

    Raises ValueError for a table without N or D.
    """
    if table.variables != ("N", "D"):
        raise ValueError(f"{table.name}: laws in {table.variables[0]} alone cannot choose a size")
    return [_decision(table, *case, settings) for case in _cases(table.rows) if len(case[2])]


def size_choices(tested: Sequence[Decision]) -> list[SizeDecision]:
    """What each rule chose among the sizes of a method, over all budgets."""
    return [size for decision in tested for size in decision.sizes]


def _cases(rows: pd.DataFrame) -> list[tuple[float, pd.DataFrame, pd.DataFrame]]:
    """Every budget, FLOPs, the runs at it, and those of at most a quarter of it."""
    if "budget" in rows:
        budgets = sorted(rows["budget"].unique())
        return [(float(b), rows[rows["budget"] == b], rows[rows["budget"] <= b / BELOW]) for b in budgets]
    slopes = {method: slope_of(some) for method, some in rows.groupby("method")}
    cases = []
    for level in budget_levels(rows["flops"].to_numpy(float)):
        some = at_level(rows, level)
        there = brought(some, level.middle, some["method"].map(slopes))
        cases.append((level.middle, there, rows[seen(rows["flops"], level.middle)]))
    return cases


def _decision(
    table: Table, budget: float, runs: pd.DataFrame, below: pd.DataFrame, settings: Settings | None
) -> Decision:
    methods = set(below["method"])
    smaller = table.part(below)
    try:
        laws, reason = fit_table(smaller, settings).laws, ""
    except ValueError as error:
        laws, reason = (), str(error)
    known = {law.label: law for law in laws}
    size = "model" if "model" in runs else "params"
    cells = [_cell(group, known) for _, group in runs.groupby([size, "method"])]
    cells.sort(key=lambda cell: cell["loss"])
    sizes = [
        _size_decision(some, below[below["method"] == method], known.get(str(method)))
        for method, some in runs.groupby("method")
        if method in methods and some["params"].nunique() > 1
    ]
    largest = float(below["budget" if "budget" in below else "flops"].max())
    return Decision(budget, largest, len(below), tuple(cells), tuple(sizes), reason)


def _size_decision(runs: pd.DataFrame, below: pd.DataFrame, law: MethodLaw | None) -> SizeDecision:
    """What each rule chose among the sizes of one method at one budget."""
    case = Measured.of(runs, below, float(runs["flops"].median()))
    return decide(case, case.predicted(law.law) if law else None, line_of(below))


def _cell(runs: pd.DataFrame, laws: dict[str, MethodLaw]) -> dict[str, Any]:
    first = runs.iloc[0]
    params, tokens, share, unique = (float(first[name]) for name in ("params", "tokens", "share", "unique"))
    law = laws.get(first["method"])
    low = high = None
    if law:
        beyond = drift(law, float(first["flops"]), params, tokens)
        low, high = law.interval(params, tokens, share, unique, drift=beyond)
    predicted = law.law.at(params, tokens, share, unique) if law else None
    measured = {"losses": runs["loss"].tolist(), "loss": float(runs["loss"].mean())}
    model = first["model"] if "model" in runs else f"N {short(params)}"
    cell = {"model": model, "method": first["method"]}
    return {**cell, **measured, "predicted": predicted, "low": low, "high": high}
