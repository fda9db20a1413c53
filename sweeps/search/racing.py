"""Racing: a method that small budgets show to be clearly worse is not run at the large ones of the same model.

Off unless the sweep file has a table [racing]. Whether a method is dropped follows from observations alone. It is the
cautious kind, for curves that have yet to cross must be left to: only methods of one model are compared; a method is
dropped when the best one was better by `margin` at all of the last `from_budgets` budgets and the gap did not narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from sweeps.experiment.grid import Cell
from sweeps.experiment.sweep import Racing

ROUNDING = 1e-9


@dataclass
class Raced:
    """dropped: cells that are not run, with the reason. waiting: those that smaller budgets have to decide about."""

    dropped: dict[Cell, str] = field(default_factory=dict)
    waiting: set[Cell] = field(default_factory=set)


@dataclass(frozen=True)
class _Out:
    """A method that was dropped. by: the one that was better."""

    by: str
    reason: str


def race(racing: Racing, losses: Mapping[Cell, float | None], unplaced: Iterable[Cell]) -> Raced:
    """What becomes of the cells of a sweep.

    losses: held out, by cell; None while it is to come, NaN when there never will be one. unplaced: cells whose rate is
    not known yet. Both are of all models.
    """
    known = {**dict.fromkeys(unplaced), **losses}
    raced = Raced()
    for model in dict.fromkeys(cell.model.name for cell in known):
        _race_model(racing, {cell: loss for cell, loss in known.items() if cell.model.name == model}, raced)
    return raced


def _race_model(racing: Racing, known: Mapping[Cell, float | None], raced: Raced) -> None:
    budgets = sorted({cell.budget for cell in known})
    out: dict[str, _Out] = {}
    for place, budget in enumerate(budgets):
        here = {_label(cell) for cell in known if cell.budget == budget}
        before = budgets[max(0, place - racing.from_budgets) : place]
        if len(before) == racing.from_budgets:
            if any(loss is None and cell not in raced.dropped for cell, loss in known.items() if cell.budget < budget):
                raced.waiting |= {cell for cell in known if cell.budget >= budget}
                return
            for label in sorted(here - set(out)):
                if dropped := _dominated(label, here - set(out), known, before, racing.margin):
                    out[label] = dropped
        for cell in known:
            label = _label(cell)
            if cell.budget == budget and label in out and _winner(label, out) in here:
                raced.dropped[cell] = out[label].reason


def _dominated(
    label: str, rivals: set[str], known: Mapping[Cell, float | None], budgets: list[float], margin: float
) -> _Out | None:
    """Whether the best rival was clearly better at all `budgets`. One without a loss at any of them is not judged."""
    rows = {rival: [_mean(rival, budget, known) for budget in budgets] for rival in rivals}
    whole = {rival: row for rival, row in rows.items() if all(map(math.isfinite, row))}
    if label not in whole:
        return None
    best = min(sorted(whole), key=lambda rival: whole[rival][-1])
    gaps = [own / other - 1 for own, other in zip(whole[label], whole[best], strict=True)]
    narrows = any(later < earlier - ROUNDING for earlier, later in pairwise(gaps))
    if best == label or min(gaps) < margin or narrows:
        return None
    figures = " and ".join(f"{gap:.1%} higher at {budget:.3g}" for gap, budget in zip(gaps, budgets, strict=True))
    return _Out(best, f"racing: dominated by {best}, its loss {figures} FLOPs")


def _mean(label: str, budget: float, known: Mapping[Cell, float | None]) -> float:
    """Over the seeds; NaN when one of them has no loss, or the method is not tried there."""
    losses = [loss for cell, loss in known.items() if cell.budget == budget and _label(cell) == label]
    return fmean(math.nan if loss is None else loss for loss in losses) if losses else math.nan


def _winner(label: str, out: Mapping[str, _Out]) -> str:
    """Who beat a method that is out, or whoever beat that one since."""
    while label in out:
        label = out[label].by
    return label


def _label(cell: Cell) -> str:
    return cell.entry.method.label
