"""What to try next: the learning-rate searches, and the grid trials whose rate is known. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweeps.grid import Cell, Data, Sweep, cells
from sweeps.trial import Observation, Trial

EXTENSIONS = 2  # further rates tried beyond an edge of those listed


@dataclass(frozen=True)
class Search:
    """Where the search of one learning rate stands: at the smallest budget that its model and method can be tried at.

    tried: observations by rate. open: rates still to be tried. chosen: the best rate, None until settled.
    note: how it ended, with the reason when no rate gave a loss.
    """

    cell: Cell
    tried: Mapping[float, Observation]
    open: tuple[float, ...] = ()
    chosen: float | None = None
    note: str = ""

    @property
    def failed(self) -> bool:
        """Every rate was tried and none gave a loss."""
        return not self.open and self.chosen is None

    @property
    def possible(self) -> tuple[float, ...]:
        """Rates that may yet be chosen: those still open, and of those tried the best."""
        losses = _losses(self.tried)
        return (*self.open, *([min(losses, key=lambda rate: losses[rate])] if losses else []))

    def to_json(self) -> dict[str, Any]:
        tried = [
            {"lr": lr, "status": seen.status, "loss": seen.loss, "key": seen.key} for lr, seen in self.tried.items()
        ]
        return {**self.cell.to_json(), "tried": tried, "open": self.open, "chosen": self.chosen, "note": self.note}


@dataclass(frozen=True)
class Outlook:
    """A sweep in the light of its observations.

    finished: observations of its trials, under its budgets. now: trials to run now. later: cells whose rate is not
    known yet. left_out: cells that are not tried, with their reason. searches: of all learning rates searched.
    """

    finished: tuple[Observation, ...]
    now: tuple[Trial, ...]
    later: tuple[Cell, ...]
    left_out: tuple[Cell, ...]
    searches: tuple[Search, ...]


def next_trials(sweep: Sweep, data: Data, observations: Iterable[Observation]) -> list[Trial]:
    """The trials to run now. Call it again whenever one is finished, until it returns nothing."""
    return list(outlook(sweep, data, observations).now)


def outlook(sweep: Sweep, data: Data, observations: Iterable[Observation]) -> Outlook:
    """Sort every cell of the grid, and every rate of every search, by what is known of it."""
    known = {seen.key: seen for seen in observations}
    grid = cells(sweep, data)
    left_out = [cell for cell in grid if cell.reason]
    searches, trials, later = [], [], []
    for group in _groups(cell for cell in grid if not cell.reason):
        rates = group[0].entry.rates
        if group[0].entry.search:
            where = min((cell for cell in group if cell.seed == sweep.seeds[0]), key=lambda cell: cell.budget)
            found = search(where, known)
            searches.append(found)
            trials += [where.trial(lr) for lr in (*found.tried, *found.open)]
            if found.failed:
                left_out += [replace(cell, reason=found.note) for cell in group if cell != where]
                continue
            if found.chosen is None:
                later += [cell for cell in group if cell != where]
                continue
            rates = {where.model.name: found.chosen}
        trials += [cell.trial(rates[cell.model.name]) for cell in group]
    unique = {trial.key: trial for trial in trials}
    return Outlook(
        finished=tuple(replace(known[key], trial=trial) for key, trial in unique.items() if key in known),
        now=tuple(trial for key, trial in unique.items() if key not in known),
        later=tuple(later),
        left_out=tuple(left_out),
        searches=tuple(searches),
    )


def sharing(ahead: Outlook) -> list[Trial]:
    """Trials to come, with every rate that they may yet get: those that may start from another one's trunk."""
    possible = {_place(found.cell): found.possible for found in ahead.searches}
    later = [cell.trial(rate) for cell in ahead.later for rate in possible[_place(cell)]]
    return [*ahead.now, *later]


def _groups(possible: Iterable[Cell]) -> list[list[Cell]]:
    """Cells by model and method."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in possible:
        groups.setdefault(_place(cell), []).append(cell)
    return list(groups.values())


def _place(cell: Cell) -> tuple[str, str]:
    return cell.model.name, cell.entry.method.label


def search(cell: Cell, known: Mapping[str, Observation]) -> Search:
    """The search of `cell`'s learning rate, rebuilt from the observations by key.

    When the best rate is an edge of those tried, the row is continued in that direction by the same ratio, at most
    EXTENSIONS times. A rate that diverged or failed is worse than any that gave a loss.
    """
    rates = list(cell.entry.search)
    while True:
        keys = {rate: cell.trial(rate).key for rate in rates}
        tried = {rate: known[key] for rate, key in keys.items() if key in known}
        to_try = tuple(rate for rate in rates if rate not in tried)
        if to_try:
            return Search(cell, tried, open=to_try)
        losses = _losses(tried)
        if not losses:
            reasons = dict.fromkeys(f"{seen.status}: {seen.reason}" for seen in tried.values())
            return Search(cell, tried, note=f"no learning rate gave a loss ({'; '.join(reasons)})")
        best = min(losses, key=lambda rate: losses[rate])
        further, extended = _beyond(rates, best), len(rates) - len(cell.entry.search)
        if further is None:
            note = f"extended by {extended} beyond the rates listed" if extended else "inside the rates listed"
            return Search(cell, tried, chosen=best, note=note)
        if extended == EXTENSIONS:
            return Search(cell, tried, chosen=best, note=f"still at the edge after {extended} further rates")
        rates = sorted([*rates, further])


def _losses(tried: Mapping[float, Observation]) -> dict[float, float]:
    """By rate, of those that gave one."""
    done = {rate: seen.loss for rate, seen in tried.items() if seen.status == "done"}
    return {rate: loss for rate, loss in done.items() if loss is not None and math.isfinite(loss)}


def _beyond(rates: list[float], best: float) -> float | None:
    """The next rate in the direction of the edge that `best` lies at; None inside. Four digits, to stay readable."""
    if best == rates[-1]:
        return float(f"{best * rates[-1] / rates[-2]:.4g}")
    if best == rates[0]:
        return float(f"{best * rates[0] / rates[1]:.4g}")
    return None
