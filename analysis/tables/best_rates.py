"""Which of the trials that differ in nothing but their learning rate enters a fit: the best one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from planner.law_book import Caveat
from sweeps.trial import Observation

LISTED = 3  # cells that a caveat names

# Model, method, steps, seed and batch size -> the trials that differ in nothing else but their learning rate.
Cells = dict[tuple[str, str, int, int, int], list[Observation]]


@dataclass(frozen=True)
class BestRates:
    """The best trial of each cell."""

    observations: list[Observation]
    """One for each cell."""
    beaten: list[tuple[str, str]]
    """Key of each other trial, and why it does not enter."""
    caveats: list[Caveat]
    """Where a better rate may lie beyond those that were tried."""


def best_rates(observations: Sequence[Observation], measured: Callable[[Observation], float]) -> BestRates:
    """The best rate of each cell; measured: what of an observation is to be low."""
    cells: Cells = {}
    for observation in observations:
        trial = observation.trial
        cell = (trial.model, trial.method.label, trial.steps, trial.seed, trial.training.batch_size)
        cells.setdefault(cell, []).append(observation)
    best: list[Observation] = []
    beaten: list[tuple[str, str]] = []
    for tried in cells.values():
        winner = min(tried, key=measured)
        best.append(winner)
        reason = f"another learning rate did better in its cell ({winner.trial.lr:g})"
        beaten += [(observation.key, reason) for observation in tried if observation is not winner]
    return BestRates(best, beaten, [*_at_an_edge(cells, best), *_one_rate(cells)])


def _at_an_edge(cells: Cells, best: Sequence[Observation]) -> list[Caveat]:
    """A caveat for each method whose best rate is the lowest or the highest of those tried in some cell."""
    edges: dict[str, list[str]] = {}
    for ((model, method, steps, *_), tried), winner in zip(cells.items(), best, strict=True):
        rates = sorted(observation.trial.lr for observation in tried)
        if len(rates) > 1 and winner.trial.lr in (rates[0], rates[-1]):
            side = "lowest" if winner.trial.lr == rates[0] else "highest"
            where = f"{model} at {steps} steps ({side} of {', '.join(f'{rate:g}' for rate in rates)})"
            edges.setdefault(method, []).append(where)
    caveats = []
    for method, places in edges.items():
        more = f" and {len(places) - LISTED} more cells" if len(places) > LISTED else ""
        text = f"{method}: the best learning rate lies at the edge of the tried ones for "
        caveats.append(Caveat("rate_edge", f"{text}{'; '.join(places[:LISTED])}{more}", method))
    return caveats


def _one_rate(cells: Cells) -> list[Caveat]:
    """A caveat where the whole sweep was run at one rate."""
    rates = {observation.trial.lr for tried in cells.values() for observation in tried}
    if len(rates) != 1 or any(len(tried) > 1 for tried in cells.values()):
        return []
    text = f"every run used learning rate {rates.pop():g}: exponents may be wrong where it was not the best"
    return [Caveat("one_rate", text)]


def winning_rates(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By method and model the rate that won most cells; of equals, the one that won with more compute."""
    rates: dict[str, dict[str, float]] = {}
    for (method, model), cells in rows.groupby(["method", "model"], sort=False):
        wins = cells.groupby("lr").agg(cells=("loss", "size"), flops=("flops", "max"))
        rates.setdefault(method, {})[model] = float(wins.sort_values(["cells", "flops"]).index[-1])
    return rates
