"""What to try next: every cell of the grid, sorted by what is known of it. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from sweeps.experiment.grid import Cell, cells
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Sweep
from sweeps.search.learning_rates import CANCELLED, EVERYTHING, RateSearch, search_rate
from sweeps.search.racing import race
from sweeps.trial import MOST_STEPS, Observation, Training, Trial

Searched = tuple[str, str, Training]  # what has one learning rate: model, method and condition


@dataclass(frozen=True)
class SweepState:
    """How a sweep stands, by its observations."""

    finished: tuple[Observation, ...]
    """Observations of its trials, under its budgets."""
    now: tuple[Trial, ...]
    """Trials to run now."""
    later: tuple[Cell, ...]
    """Cells that wait for a rate, or for their method to have stood at smaller budgets."""
    left_out: tuple[Cell, ...]
    """Cells that are not tried, with their reason."""
    searches: tuple[RateSearch, ...]
    """The search of every learning rate that is searched."""
    trunks: tuple[Trial, ...] = ()
    """Trials that longer ones may yet go on from, which a goal has still to ask for."""

    def rates(self, cell: Cell) -> tuple[float, ...]:
        """Those that a cell of `later` may yet get."""
        search = self._search(cell)
        return search.possible if search else (cell.entry.rates[cell.model.name],)

    def rate(self, cell: Cell) -> float | None:
        """Of a cell of `later`, where it is known."""
        search = self._search(cell)
        return search.chosen if search else cell.entry.rates[cell.model.name]

    def _search(self, cell: Cell) -> RateSearch | None:
        return next((search for search in self.searches if _searched(search.cell) == _searched(cell)), None)


def next_trials(sweep: Sweep, data: Data, observations: Iterable[Observation]) -> list[Trial]:
    """The trials to run now. Call it again whenever one is finished, until it returns nothing."""
    return list(plan_next(sweep, data, observations).now)


@dataclass
class _Sorted:
    """The parts of a SweepState in the making. placed: cells with their trial, one for each rate searched."""

    left_out: list[Cell]
    placed: list[tuple[Cell, Trial]] = field(default_factory=list)
    later: list[Cell] = field(default_factory=list)
    searches: list[RateSearch] = field(default_factory=list)


def plan_next(
    sweep: Sweep, data: Data, observations: Iterable[Observation], cancelled: Container[str] = ()
) -> SweepState:
    """Sort every cell of the grid, and every rate of every search, by what is known of it.

    cancelled: keys of cancelled trials, or EVERYTHING; an observation of one counts even so.
    """
    known = {observation.key: observation for observation in observations}
    gone = _All() if EVERYTHING in cancelled else cancelled
    grid = cells(sweep, data)
    parts = _Sorted([cell for cell in grid if cell.reason])
    parts.placed += [(cell, cell.trial(cell.lr)) for cell in grid if cell.lr is not None and not cell.reason]
    for group in _groups(cell for cell in grid if cell.lr is None and not cell.reason):
        _sort(group, sweep, known, gone, parts)
    if sweep.racing:
        _race(sweep, known, gone, parts)
    unique = {trial.key: (cell, trial) for cell, trial in parts.placed}
    to_come = [(cell, trial) for key, (cell, trial) in unique.items() if key not in known]
    left_out = parts.left_out
    left_out += [
        replace(cell, reason=f"lr {trial.lr:.3g}: {CANCELLED}") for cell, trial in to_come if trial.key in gone
    ]
    if EVERYTHING in cancelled:
        left_out += [replace(cell, reason=CANCELLED) for cell in parts.later]
        parts.later.clear()
    return SweepState(
        finished=tuple(replace(known[key], trial=trial) for key, (_, trial) in unique.items() if key in known),
        now=tuple(trial for _, trial in to_come if trial.key not in gone),
        later=tuple(parts.later),
        left_out=tuple(left_out),
        searches=tuple(parts.searches),
        trunks=tuple(trial for cell, trial in unique.values() if cell.lr is not None and trial.trunk),
    )


class _All:
    def __contains__(self, _: object) -> bool:
        return True


def _sort(
    group: list[Cell], sweep: Sweep, known: Mapping[str, Observation], gone: Container[str], parts: _Sorted
) -> None:
    """Take in the cells of one model, method and condition."""
    rate = group[0].entry.rates.get(group[0].model.name)
    if rate is None:
        where = min((cell for cell in group if cell.seed == sweep.seeds[0]), key=lambda cell: cell.budget)
        search = search_rate(where, known, gone)
        parts.searches.append(search)
        parts.placed += [(where, where.trial(lr)) for lr in (*search.tried, *search.open, *search.cancelled)]
        parts.later += [where] * search.more
        others = [cell for cell in group if cell != where]
        if search.failed:
            parts.left_out += [replace(cell, reason=search.note) for cell in others]
            return
        if search.chosen is None:
            parts.later += others
            return
        rate = search.chosen
    parts.placed += [(cell, cell.trial(rate)) for cell in group]


def _race(sweep: Sweep, known: Mapping[str, Observation], gone: Container[str], parts: _Sorted) -> None:
    """Take out what racing drops, and let wait what it cannot judge yet. Searches are finished first."""
    assert sweep.racing
    rates = {_searched(search.cell): search.chosen for search in parts.searches}
    of_grid: list[tuple[Cell, Trial]] = []
    searching: list[tuple[Cell, Trial]] = []
    for cell, trial in parts.placed:
        (of_grid if rates.get(_searched(cell), trial.lr) == trial.lr else searching).append((cell, trial))

    def loss(trial: Trial) -> float | None:
        """None: still to come. NaN: it will never have one."""
        observation = known.get(trial.key)
        if observation is None:
            return math.nan if trial.key in gone else None
        return observation.loss if observation.status == "done" and observation.loss is not None else math.nan

    unsettled = [search.cell for search in parts.searches if search.open]
    outcome = race(sweep.racing, {cell: loss(trial) for cell, trial in of_grid}, [*parts.later, *unsettled])
    to_come = {cell for cell, trial in of_grid if trial.key not in known}
    parts.left_out += [replace(cell, reason=outcome.dropped[cell]) for cell in outcome.dropped if cell in to_come]
    parts.later += [cell for cell, _ in of_grid if cell in to_come & outcome.waiting]
    held = to_come & (outcome.waiting | set(outcome.dropped))
    parts.placed = searching + [(cell, trial) for cell, trial in of_grid if cell not in held]


def sharing(state: SweepState) -> list[Trial]:
    """Trials to come, with every rate that they may yet get: those that may start from another one's trunk."""
    later = [cell.trial(rate) for cell in dict.fromkeys(state.later) for rate in state.rates(cell)]
    later += [replace(trial, steps=MOST_STEPS) for trial in state.trunks]
    return list({trial.key: trial for trial in (*state.now, *later)}.values())


def _groups(possible: Iterable[Cell]) -> list[list[Cell]]:
    """Cells by model, method and condition."""
    groups: dict[Searched, list[Cell]] = {}
    for cell in possible:
        groups.setdefault(_searched(cell), []).append(cell)
    return list(groups.values())


def _searched(cell: Cell) -> Searched:
    """What has one learning rate."""
    return cell.model.name, cell.entry.method.label, cell.training
