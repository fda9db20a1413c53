"""What to try next: the learning-rate searches, and the grid trials whose rate is known. Pure functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from sweeps.experiment.grid import Cell, cells
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Span, Sweep
from sweeps.search.racing import race
from sweeps.trial import Observation, Training, Trial

Place = tuple[str, str, Training]
EXTENSIONS = 2  # further rates tried beyond an edge of those listed
EVERYTHING = "everything"  # in place of a key: all trials without a result
CANCELLED = "cancelled; `sweep retry` takes that back"


@dataclass(frozen=True)
class Search:
    """Where the search of one learning rate stands: at the smallest budget that its model and method can be tried at.

    tried: observations by rate. open: rates still to be tried; more: how many will be proposed after these. chosen:
    the best rate, None until settled. cancelled: rates that nobody wants any more. note: how it ended, with the reason
    when no rate gave a loss.
    """

    cell: Cell
    tried: Mapping[float, Observation]
    open: tuple[float, ...] = ()
    chosen: float | None = None
    note: str = ""
    more: int = 0
    cancelled: tuple[float, ...] = ()

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

    finished: observations of its trials, under its budgets. now: trials to run now. later: cells that wait for a rate,
    or for their method to have stood at smaller budgets. left_out: cells that are not tried, with their reason.
    searches: of all learning rates searched.
    """

    finished: tuple[Observation, ...]
    now: tuple[Trial, ...]
    later: tuple[Cell, ...]
    left_out: tuple[Cell, ...]
    searches: tuple[Search, ...]

    def rates(self, cell: Cell) -> tuple[float, ...]:
        """Those that a cell of `later` may yet get."""
        found = self._search(cell)
        return found.possible if found else (cell.entry.rates[cell.model.name],)

    def rate(self, cell: Cell) -> float | None:
        """Of a cell of `later`, where it is known."""
        found = self._search(cell)
        return found.chosen if found else cell.entry.rates[cell.model.name]

    def _search(self, cell: Cell) -> Search | None:
        return next((found for found in self.searches if _place(found.cell) == _place(cell)), None)


def next_trials(sweep: Sweep, data: Data, observations: Iterable[Observation]) -> list[Trial]:
    """The trials to run now. Call it again whenever one is finished, until it returns nothing."""
    return list(outlook(sweep, data, observations).now)


@dataclass
class _Sorted:
    """The parts of an outlook while it is made. placed: cells with their trial, a cell again for each rate searched."""

    left_out: list[Cell]
    placed: list[tuple[Cell, Trial]] = field(default_factory=list)
    later: list[Cell] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)


def outlook(sweep: Sweep, data: Data, observations: Iterable[Observation], cancelled: Container[str] = ()) -> Outlook:
    """Sort every cell of the grid, and every rate of every search, by what is known of it.

    cancelled: keys of trials that nobody wants any more, or EVERYTHING; an observation of one counts even so.
    """
    known = {seen.key: seen for seen in observations}
    gone = _All() if EVERYTHING in cancelled else cancelled
    grid = cells(sweep, data)
    made = _Sorted([cell for cell in grid if cell.reason])
    for group in _groups(cell for cell in grid if not cell.reason):
        _sort(group, sweep, known, gone, made)
    if sweep.racing:
        _race(sweep, known, gone, made)
    unique = {trial.key: (cell, trial) for cell, trial in made.placed}
    to_come = [(cell, trial) for key, (cell, trial) in unique.items() if key not in known]
    left_out = made.left_out
    left_out += [replace(cell, reason=f"lr {one.lr:.3g}: {CANCELLED}") for cell, one in to_come if one.key in gone]
    if EVERYTHING in cancelled:
        left_out += [replace(cell, reason=CANCELLED) for cell in made.later]
        made.later.clear()
    return Outlook(
        finished=tuple(replace(known[key], trial=trial) for key, (_, trial) in unique.items() if key in known),
        now=tuple(trial for _, trial in to_come if trial.key not in gone),
        later=tuple(made.later),
        left_out=tuple(left_out),
        searches=tuple(made.searches),
    )


class _All:
    def __contains__(self, _: object) -> bool:
        return True


def _sort(
    group: list[Cell], sweep: Sweep, known: Mapping[str, Observation], gone: Container[str], made: _Sorted
) -> None:
    """Take in the cells of one model, method and condition."""
    rate = group[0].entry.rates.get(group[0].model.name)
    if rate is None:
        where = min((cell for cell in group if cell.seed == sweep.seeds[0]), key=lambda cell: cell.budget)
        found = search(where, known, gone)
        made.searches.append(found)
        made.placed += [(where, where.trial(lr)) for lr in (*found.tried, *found.open, *found.cancelled)]
        made.later += [where] * found.more
        others = [cell for cell in group if cell != where]
        if found.failed:
            made.left_out += [replace(cell, reason=found.note) for cell in others]
            return
        if found.chosen is None:
            made.later += others
            return
        rate = found.chosen
    made.placed += [(cell, cell.trial(rate)) for cell in group]


def _race(sweep: Sweep, known: Mapping[str, Observation], gone: Container[str], made: _Sorted) -> None:
    """Take out what racing drops, and let wait what it cannot judge yet. Searches are finished first."""
    assert sweep.racing
    rates = {_place(found.cell): found.chosen for found in made.searches}
    of_grid: list[tuple[Cell, Trial]] = []
    searching: list[tuple[Cell, Trial]] = []
    for cell, trial in made.placed:
        (of_grid if rates.get(_place(cell), trial.lr) == trial.lr else searching).append((cell, trial))

    def loss(trial: Trial) -> float | None:
        """None: still to come. NaN: it will never have one."""
        seen = known.get(trial.key)
        if seen is None:
            return math.nan if trial.key in gone else None
        return seen.loss if seen.status == "done" and seen.loss is not None else math.nan

    unsettled = [search.cell for search in made.searches if search.open]
    found = race(sweep.racing, {cell: loss(trial) for cell, trial in of_grid}, [*made.later, *unsettled])
    to_come = {cell for cell, trial in of_grid if trial.key not in known}
    made.left_out += [replace(cell, reason=found.dropped[cell]) for cell in found.dropped if cell in to_come]
    made.later += [cell for cell, _ in of_grid if cell in to_come & found.waiting]
    held = to_come & (found.waiting | set(found.dropped))
    made.placed = searching + [(cell, trial) for cell, trial in of_grid if cell not in held]


def sharing(ahead: Outlook) -> list[Trial]:
    """Trials to come, with every rate that they may yet get: those that may start from another one's trunk."""
    later = [cell.trial(rate) for cell in dict.fromkeys(ahead.later) for rate in ahead.rates(cell)]
    return list({trial.key: trial for trial in (*ahead.now, *later)}.values())


def _groups(possible: Iterable[Cell]) -> list[list[Cell]]:
    """Cells by model, method and condition."""
    groups: dict[Place, list[Cell]] = {}
    for cell in possible:
        groups.setdefault(_place(cell), []).append(cell)
    return list(groups.values())


def _place(cell: Cell) -> Place:
    """What has one learning rate."""
    return cell.model.name, cell.entry.method.label, cell.training


def search(cell: Cell, known: Mapping[str, Observation], gone: Container[str] = ()) -> Search:
    """The search of `cell`'s learning rate, rebuilt from the observations by key; trials in `gone` are not begun.

    A rate that diverged or failed is worse than any that gave a loss.
    """
    return _sampled(cell, cell.entry.span, known, gone) if cell.entry.span else _listed(cell, known, gone)


def _listed(cell: Cell, known: Mapping[str, Observation], gone: Container[str]) -> Search:
    """Of rates listed. When the best is an edge of those tried, the row is continued in that direction by the same
    ratio, at most EXTENSIONS times."""
    rates, extended = list(cell.entry.search), 0
    while True:
        keys = {rate: cell.trial(rate).key for rate in rates}
        tried = {rate: known[key] for rate, key in keys.items() if key in known}
        to_try, cancelled = _untried(keys, tried, gone)
        if to_try:
            return Search(cell, tried, open=to_try, cancelled=cancelled)
        losses = _losses(tried)
        if not losses:
            return Search(cell, tried, note=_no_loss(tried), cancelled=cancelled)
        best = min(losses, key=lambda rate: losses[rate])
        further = _beyond(rates, best)
        if further is None:
            note = f"extended by {extended} beyond the rates listed" if extended else "inside the rates listed"
            return Search(cell, tried, chosen=best, note=note, cancelled=cancelled)
        if extended == EXTENSIONS or cell.trial(further).key in gone:
            note = f"still at the edge after {extended} further rates"
            return Search(cell, tried, chosen=best, note=note, cancelled=cancelled)
        rates, extended = sorted([*rates, further]), extended + 1


def _sampled(cell: Cell, span: Span, known: Mapping[str, Observation], gone: Container[str]) -> Search:
    """Of rates that Optuna proposes, `span.together` at a time. What is proposed follows from the outcomes of all that
    was proposed before, so that it is the same again whoever asks and in whatever order outcomes came."""
    rates: list[float] = []
    while True:
        keys = {rate: cell.trial(rate).key for rate in rates}
        tried = {rate: known[key] for rate, key in keys.items() if key in known}
        to_try, cancelled = _untried(keys, tried, gone)
        if to_try:
            return Search(cell, tried, open=to_try, more=span.trials - len(rates), cancelled=cancelled)
        losses = _losses(tried)
        if len(rates) == span.trials:
            break
        if rates and not tried:  # all that was proposed first is cancelled
            break
        rates += propose(span, tuple((rate, losses.get(rate)) for rate in rates))
    if not losses:
        return Search(cell, tried, note=_no_loss(tried), cancelled=cancelled)
    best = min(losses, key=lambda rate: losses[rate])
    edge = "the lowest" if best == min(tried) else "the highest" if best == max(tried) else "the best"
    note = f"{edge} of {len(tried)} between {span.low:g} and {span.high:g}"
    return Search(cell, tried, chosen=best, note=note, cancelled=cancelled)


def _untried(
    keys: Mapping[float, str], tried: Mapping[float, Observation], gone: Container[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rates without an observation: those to be tried, and those cancelled."""
    untried = [rate for rate in keys if rate not in tried]
    return tuple(rate for rate in untried if keys[rate] not in gone), tuple(
        rate for rate in untried if keys[rate] in gone
    )


def _no_loss(tried: Mapping[float, Observation]) -> str:
    reasons = dict.fromkeys(f"{seen.status}: {seen.reason}" for seen in tried.values())
    return f"no learning rate gave a loss ({'; '.join(reasons)})" if reasons else CANCELLED


@lru_cache(maxsize=4096)
def propose(span: Span, tried: tuple[tuple[float, float | None], ...]) -> list[float]:
    """The next rates, `span.together` of them or as many as are left: at first evenly apart in the logarithm, then
    Optuna's TPE. tried: rates in the order of their proposal with their loss, None where there is none."""
    count = min(span.together, span.trials - len(tried))
    ratio = span.high / span.low
    if not tried:
        return [_four_digits(span.low * ratio ** ((i + 0.5) / count)) for i in range(count)]
    import optuna
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    between = {"lr": optuna.distributions.FloatDistribution(span.low, span.high, log=True)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant_liar was experimental in Optuna 4
        sampler = optuna.samplers.TPESampler(seed=len(tried), n_startup_trials=1, constant_liar=True)
    study = optuna.create_study(sampler=sampler)  # in memory: everything is known from the observations
    for rate, loss in tried:
        state = TrialState.PRUNED if loss is None else TrialState.COMPLETE  # TPE takes pruned ones for the worst
        study.add_trial(create_trial(params={"lr": rate}, distributions=between, value=loss, state=state))
    rates = [rate for rate, _ in tried]
    for _ in range(count):  # those asked for stay unanswered, and the next keeps away from them
        asked = study.ask(between).params["lr"]
        rate = min(max(_four_digits(asked), span.low), span.high)
        rates.append(rate if rate not in rates else _widest_gap(span, rates))
    return rates[len(tried) :]


def hopeless(found: Search, trial: Trial, step: int, loss: float) -> str:
    """Why a trial of a search is to be stopped at `step` with this training loss; "" when it is not, nor asked to be.

    Optuna's median rule, from half of the steps on: before the cooldown a high rate looks worse than it will be, and
    even so this favours low ones.
    """
    span = found.cell.entry.span
    if not (span and span.prune and 2 * step >= trial.steps):
        return ""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=span.together))
    for seen in found.tried.values():
        passed = [there for at, _, there in seen.curve if at <= step]
        if seen.status == "done" and passed:
            study.add_trial(optuna.trial.create_trial(value=seen.loss, intermediate_values={step: passed[-1]}))
    asked = study.ask()
    asked.report(loss, step)
    return (
        f"training loss {loss:.3f} at step {step}, above the median of the rates tried" if asked.should_prune() else ""
    )


def _widest_gap(span: Span, rates: list[float]) -> float:
    """The middle of the widest gap between `rates` in the logarithm."""
    ends = sorted({span.low, *rates, span.high})
    low, high = max(pairwise(ends), key=lambda pair: pair[1] / pair[0])
    return math.sqrt(low * high)


def _four_digits(rate: float) -> float:
    """To stay readable."""
    return float(f"{rate:.4g}")


def _losses(tried: Mapping[float, Observation]) -> dict[float, float]:
    """By rate, of those that gave one."""
    done = {rate: seen.loss for rate, seen in tried.items() if seen.status == "done"}
    return {rate: loss for rate, loss in done.items() if loss is not None and math.isfinite(loss)}


def _beyond(rates: list[float], best: float) -> float | None:
    """The next rate in the direction of the edge that `best` lies at; None inside."""
    if best == rates[-1]:
        return _four_digits(best * rates[-1] / rates[-2])
    if best == rates[0]:
        return _four_digits(best * rates[0] / rates[1])
    return None
