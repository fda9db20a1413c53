"""The search of a learning rate, rebuilt from the observations that there are. Pure functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from sweeps.experiment.grid import Cell
from sweeps.experiment.sweep import RateRange
from sweeps.trial import Observation, Trial

EXTENSIONS = 2  # further rates tried beyond an edge of those listed
EVERYTHING = "everything"  # in place of a key: all trials without a result
CANCELLED = "cancelled; `sweep retry` re-queues it"


@dataclass(frozen=True)
class RateSearch:
    """Where the search of a learning rate stands, at the smallest budget that its model and method can be tried at."""

    cell: Cell
    """The place of the grid at which it is searched."""
    tried: Mapping[float, Observation]
    """Observations by rate."""
    open: tuple[float, ...] = ()
    """Rates still to be tried."""
    chosen: float | None = None
    """The best rate; None until the search is settled."""
    note: str = ""
    """How it ended, with the reason when no rate gave a loss."""
    more: int = 0
    """Number of rates that will be proposed after the open ones."""
    cancelled: tuple[float, ...] = ()
    """Rates whose trials are cancelled."""

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
            {"lr": lr, "status": observation.status, "loss": observation.loss, "key": observation.key}
            for lr, observation in self.tried.items()
        ]
        return {**self.cell.to_json(), "tried": tried, "open": self.open, "chosen": self.chosen, "note": self.note}


def search_rate(cell: Cell, known: Mapping[str, Observation], gone: Container[str] = ()) -> RateSearch:
    """The search of `cell`'s learning rate, rebuilt from the observations by key; trials in `gone` are not begun.

    A rate that diverged or failed is worse than any that gave a loss.
    """
    return _sampled(cell, cell.entry.rate_range, known, gone) if cell.entry.rate_range else _listed(cell, known, gone)


def _listed(cell: Cell, known: Mapping[str, Observation], gone: Container[str]) -> RateSearch:
    """Of rates listed. When the best is an edge of those tried, the row is continued in that direction by the same
    ratio, at most EXTENSIONS times."""
    rates, extended = list(cell.entry.search), 0
    while True:
        keys = {rate: cell.trial(rate).key for rate in rates}
        tried = {rate: known[key] for rate, key in keys.items() if key in known}
        to_try, cancelled = _untried(keys, tried, gone)
        if to_try:
            return RateSearch(cell, tried, open=to_try, cancelled=cancelled)
        losses = _losses(tried)
        if not losses:
            return RateSearch(cell, tried, note=_no_loss(tried), cancelled=cancelled)
        best = min(losses, key=lambda rate: losses[rate])
        further = _beyond(rates, best)
        if further is None:
            note = f"extended by {extended} beyond the listed rates" if extended else "within the listed rates"
            return RateSearch(cell, tried, chosen=best, note=note, cancelled=cancelled)
        if extended == EXTENSIONS or cell.trial(further).key in gone:
            note = f"still at the edge after {extended} further rates"
            return RateSearch(cell, tried, chosen=best, note=note, cancelled=cancelled)
        rates, extended = sorted([*rates, further]), extended + 1


def _sampled(cell: Cell, rate_range: RateRange, known: Mapping[str, Observation], gone: Container[str]) -> RateSearch:
    """Of rates that Optuna proposes, `rate_range.together` at a time.

    What is proposed follows from the outcomes of all that was proposed before, so that a resumed sweep proposes the
    same rates, in whatever order outcomes came.
    """
    rates: list[float] = []
    while True:
        keys = {rate: cell.trial(rate).key for rate in rates}
        tried = {rate: known[key] for rate, key in keys.items() if key in known}
        to_try, cancelled = _untried(keys, tried, gone)
        if to_try:
            return RateSearch(cell, tried, open=to_try, more=rate_range.trials - len(rates), cancelled=cancelled)
        losses = _losses(tried)
        if len(rates) == rate_range.trials:
            break
        if rates and not tried:  # all that was proposed first is cancelled
            break
        rates += propose(rate_range, tuple((rate, losses.get(rate)) for rate in rates))
    if not losses:
        return RateSearch(cell, tried, note=_no_loss(tried), cancelled=cancelled)
    best = min(losses, key=lambda rate: losses[rate])
    edge = "the lowest" if best == min(tried) else "the highest" if best == max(tried) else "the best"
    note = f"{edge} of {len(tried)} between {rate_range.low:g} and {rate_range.high:g}"
    return RateSearch(cell, tried, chosen=best, note=note, cancelled=cancelled)


def _untried(
    keys: Mapping[float, str], tried: Mapping[float, Observation], gone: Container[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rates without an observation: those to be tried, and those cancelled."""
    untried = [rate for rate in keys if rate not in tried]
    return tuple(rate for rate in untried if keys[rate] not in gone), tuple(
        rate for rate in untried if keys[rate] in gone
    )


def _no_loss(tried: Mapping[float, Observation]) -> str:
    reasons = dict.fromkeys(f"{observation.status}: {observation.reason}" for observation in tried.values())
    return f"no learning rate gave a loss ({'; '.join(reasons)})" if reasons else CANCELLED


@lru_cache(maxsize=4096)
def propose(rate_range: RateRange, tried: tuple[tuple[float, float | None], ...]) -> list[float]:
    """The next rates, `rate_range.together` of them or as many as are left.

    The first are log-spaced, the others from Optuna's TPE. tried: rates in the order of their
    proposal with their loss, None where there is none.
    """
    count = min(rate_range.together, rate_range.trials - len(tried))
    ratio = rate_range.high / rate_range.low
    if not tried:
        return [_four_digits(rate_range.low * ratio ** ((i + 0.5) / count)) for i in range(count)]
    import optuna
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    between = {"lr": optuna.distributions.FloatDistribution(rate_range.low, rate_range.high, log=True)}
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
        rate = min(max(_four_digits(asked), rate_range.low), rate_range.high)
        rates.append(rate if rate not in rates else _widest_gap(rate_range, rates))
    return rates[len(tried) :]


def hopeless(search: RateSearch, trial: Trial, step: int, loss: float) -> str:
    """Why a trial of a search is to be stopped at `step` with this training loss; "" when it is not, nor asked to be.

    Optuna's median rule, from half of the steps on: before the cooldown a high rate looks worse than it will be, and
    even so this favours low ones.
    """
    rate_range = search.cell.entry.rate_range
    if not (rate_range and rate_range.prune and 2 * step >= trial.steps):
        return ""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=rate_range.together))
    for observation in search.tried.values():
        passed = [there for at, _, there in observation.curve if at <= step]
        if observation.status == "done" and passed:
            study.add_trial(optuna.trial.create_trial(value=observation.loss, intermediate_values={step: passed[-1]}))
    asked = study.ask()
    asked.report(loss, step)
    return (
        f"training loss {loss:.3f} at step {step}, above the median of the tried rates" if asked.should_prune() else ""
    )


def _widest_gap(rate_range: RateRange, rates: list[float]) -> float:
    """The middle of the widest gap between `rates` in the logarithm."""
    ends = sorted({rate_range.low, *rates, rate_range.high})
    low, high = max(pairwise(ends), key=lambda pair: pair[1] / pair[0])
    return math.sqrt(low * high)


def _four_digits(rate: float) -> float:
    """To stay readable."""
    return float(f"{rate:.4g}")


def _losses(tried: Mapping[float, Observation]) -> dict[float, float]:
    """By rate, of those that gave one."""
    done = {rate: observation.loss for rate, observation in tried.items() if observation.status == "done"}
    return {rate: loss for rate, loss in done.items() if loss is not None and math.isfinite(loss)}


def _beyond(rates: list[float], best: float) -> float | None:
    """The next rate in the direction of the edge that `best` lies at; None inside."""
    if best == rates[-1]:
        return _four_digits(best * rates[-1] / rates[-2])
    if best == rates[0]:
        return _four_digits(best * rates[0] / rates[1])
    return None
