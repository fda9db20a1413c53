"""A sweep file for a suite, data and a budget: the grid is one that ends in laws, and every line says what it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeps.admission import MAX_EPOCHS, MIN_STEPS, why_no_law
from sweeps.experiment.keys import meaning
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Sweep
from sweeps.flops import steps_for
from sweeps.methods import Method, make_method
from sweeps.models import ModelSpec
from sweeps.search.learning_rates import EXTENSIONS
from sweeps.support.toml_io import comments, lines
from sweeps.trial import Training

LARGEST_BATCH = 64  # pairs
LONGEST = 5  # trials of so many times MIN_STEPS must fit into the epochs, or no law sees how losses fall with D
ONE_PASS = 40  # times MIN_STEPS that one pass over the data must have, else up to MAX_EPOCHS passes are made
SPARE = 1.1  # the data's size is an estimate, and a trial shall be neither too short nor too long for it
SIZES, BUDGETS, RATIOS = range(3, 6), range(3, 6), (2.0, 4.0)  # of the grids that are looked at
# The best rate of full tuning times the width of the model, in results/reference (0.10 to 0.26); other methods take so
# many times that rate, by the same runs.
RATE_TIMES_WIDTH = 0.16
TIMES_FULL = {"lora": 3.0, "dora": 3.0, "qlora": 3.0, "freeze": 3.0, "bias": 30.0}
RANK: dict[str, Any] = {"rank": 8}
SETTINGS = {"lora": RANK, "dora": RANK, "qlora": RANK}  # of methods, where they are not the defaults
WRITTEN = ("data", "batch_size", "temperature", "pooling", "context", "pool_size", "pools")  # of [training]


@dataclass(frozen=True)
class Draft:
    """A grid that ends in laws."""

    models: tuple[ModelSpec, ...]
    """Backbones, smallest first."""
    budgets: tuple[float, ...]
    """Training FLOPs, lowest first."""
    methods: tuple[Method, ...]
    """Tuning methods."""
    training: Training
    """The conditions."""
    max_epochs: float
    """Most passes over the unique pairs."""
    trials: int
    """Most trials, the rates that are searched included."""
    flops: float
    """Most training FLOPs of all of them."""

    def rates(self, method: Method) -> list[float]:
        """Rates to try for a method: 1, 3, 10, ... around the best ones of such widths."""
        times = RATE_TIMES_WIDTH * TIMES_FULL.get(method.name, 1.0)
        ends = [times / max(model.width for model in self.models), times / min(model.width for model in self.models)]
        low, high = (round(2 * math.log10(end)) for end in ends)  # two rates a decade
        return [float(f"{10 ** (step / 2):.0e}") for step in range(low, max(high, low + 1) + 1)]


def draft(
    models: Sequence[ModelSpec], methods: Sequence[str], training: Training, data: Data, limit: float | None
) -> Draft:
    """The grid of the largest budgets that costs at most `limit` FLOPs; without one the cheapest that ends in laws.

    training: the conditions, of which the batch is chosen here, for few pairs take small ones. Raises ValueError where
    no grid of these models ends in a law of each method on these data, or within the limit.
    """
    chosen = tuple(make_method(name, dict(SETTINGS.get(name, {}))) for name in methods)
    ordered = sorted(models, key=lambda model: model.params)
    for batch in _batch_sizes(data.train_pairs):
        passes = 1.0 if data.train_pairs >= ONE_PASS * MIN_STEPS * batch else MAX_EPOCHS
        if found := list(_grids(ordered, chosen, replace(training, batch_size=batch), passes, data)):
            break
    if not found:
        raise ValueError(
            f"no grid of {len(models)} models gives a law on {data.train_pairs:,} pairs: a law needs three sizes, "
            f"trials of at least {MIN_STEPS} steps and at most {passes:g} epochs; name other models or more data"
        )
    if limit is None:
        return min(found, key=lambda grid: grid.flops)
    affordable = [grid for grid in found if grid.flops <= limit]
    if not affordable:
        least = min(grid.flops for grid in found)
        raise ValueError(f"`budget` is {limit:.3g} FLOPs; the cheapest sweep that is enough for laws takes {least:.3g}")
    return max(affordable, key=lambda grid: (max(grid.budgets), len(grid.models), len(grid.budgets)))


def _batch_sizes(pairs: float) -> list[int]:
    """Powers of two, the first one that leaves LONGEST times the fewest steps within the most epochs, down to 2."""
    most = MAX_EPOCHS * pairs / (LONGEST * MIN_STEPS)
    largest = min(LARGEST_BATCH, 2 ** int(math.log2(max(2.0, most))))
    return [2**power for power in range(int(math.log2(largest)), 0, -1)]


def _grids(
    models: Sequence[ModelSpec], methods: tuple[Method, ...], training: Training, passes: float, data: Data
) -> Iterator[Draft]:
    for count, start, ratio, rungs in itertools.product(SIZES, range(len(models)), RATIOS, BUDGETS):
        some = tuple(models[start : start + count])
        if len(some) < count:
            continue
        lowest = max(_least_flops(some[0], method, training, data) for method in methods)
        for place in range(6):
            budgets = tuple(float(f"{lowest * ratio ** (place + rung):.2e}") for rung in range(rungs))
            grid = Draft(some, budgets, methods, training, passes, 0, 0.0)
            if priced := _priced(grid, data):
                yield priced


def _least_flops(model: ModelSpec, method: Method, training: Training, data: Data) -> float:
    """FLOPs of the shortest trial that is fitted, with some to spare."""
    per_step = 1e15 / steps_for(1e15, model, method, data.pair_of(training), "exact")
    return SPARE**2 * MIN_STEPS * per_step


def _priced(grid: Draft, data: Data) -> Draft | None:
    """The grid with what it takes, without budgets of no trial; None where a method has no law, or a model no trial
    of it."""
    trials, flops, used = 0, 0.0, set[float]()
    for method in grid.methods:
        runs = []
        for model in grid.models:
            if not (own := _possible(grid, model, method, data)):
                return None
            runs += [(model.params, budget) for budget in _possible(grid, model, method, data, SPARE)]
            more = len(grid.rates(method)) - 1 + EXTENSIONS
            used.update(own)
            trials += len(own) + more
            flops += sum(own) + more * min(own)
        if why_no_law(runs):
            return None
    return replace(grid, budgets=tuple(sorted(used)), trials=trials, flops=flops)


def _possible(grid: Draft, model: ModelSpec, method: Method, data: Data, spare: float = 1.0) -> list[float]:
    """The budgets at which a trial is neither too short nor too long, by this factor."""
    if method.refusal(model) or grid.training.context > model.context:
        return []
    pair, batch = data.pair_of(grid.training), grid.training.batch_size
    steps = {budget: steps_for(budget, model, method, pair, "exact") for budget in grid.budgets}
    most = grid.max_epochs * data.train_pairs / batch
    return [budget for budget, count in steps.items() if spare * MIN_STEPS <= count <= most / spare]


def draft_text(grid: Draft, suite: str, data: str, remarks: Sequence[str]) -> str:
    """The sweep file, with a sentence above every key. data: the source as the file is to name it."""
    named = {"suite": suite} if suite else {}
    head = {
        **named,
        "models": [model.name for model in grid.models],
        "budgets": list(grid.budgets),
        "seeds": [0],
        "min_steps": MIN_STEPS,
        "max_epochs": grid.max_epochs,
    }
    parts = ["\n".join(comments(tuple(remarks))), _commented(head, Sweep)]
    settings = {name: getattr(grid.training, name) for name in WRITTEN} | {"data": data}
    note = "The conditions of all trials. With a list of values, each value is a condition with laws of its own."
    parts.append("\n".join([*comments((note,)), "[training]", _commented(settings, Training)]))
    for method in grid.methods:
        table = {"name": method.name, **method.options, "lr_search": grid.rates(method)}
        about = (type(method).__doc__ or "").split("\n")[0]
        parts.append("\n".join([*comments((about,)), "[[methods]]", *lines(table)]))
    return "\n\n".join(parts) + "\n"


def _commented(table: dict[str, Any], record: type) -> str:
    rows = []
    for name, line in zip(table, lines(table), strict=True):
        about = (meaning(record, name) or "Suite of the models.").partition(". ")[0].removesuffix(".")
        short = f"{name} = [{', '.join(f'{value:.3g}' for value in table[name])}]" if name == "budgets" else line
        rows += [*comments((f"{about}.",)), short]
    return "\n".join(rows)
