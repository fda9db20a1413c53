"""A sweep spread out into the cells of its grid, and what a trial of it costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeps.conditions import condition_name
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Entry, Sweep
from sweeps.flops import FLOPS, exact_flops, steps_for
from sweeps.methods import Full
from sweeps.models import ModelSpec
from sweeps.trial import MOST_STEPS, PROBED_PAIRS, SEARCHED, Training, Trial


@dataclass(frozen=True)
class Cell:
    """One place in the grid: a trial but for its learning rate."""

    model: ModelSpec
    """The backbone."""
    entry: Entry
    """The method, and where its rate comes from."""
    training: Training
    """The conditions."""
    budget: float
    """Training FLOPs."""
    seed: int
    """Seed of the trial."""
    steps: int
    """Optimiser steps that the budget buys."""
    reason: str = ""
    """Why it cannot be tried; "" when it can."""
    condition: str = ""
    """What sets its condition apart from others of the sweep; "" where there is one."""
    lr: float | None = None
    """Its learning rate, where a goal asks for it; None: the entry's, or a search's."""

    def trial(self, lr: float) -> Trial:
        model, method = self.model, self.entry.method
        return Trial(model.name, method, self.training, lr, self.steps, self.seed, self.budget, model.model_hash)

    @property
    def pairs(self) -> int:
        return self.steps * self.training.batch_size

    @property
    def label(self) -> str:
        seed = f", seed {self.seed}" if self.seed else ""
        condition = f", {self.condition}" if self.condition else ""
        return f"{self.model.name}, {self.trial(1.0).label} at {self.budget:.3g} FLOPs{condition}{seed}"

    def to_json(self) -> dict[str, Any]:
        """What identifies the cell, for records and programs."""
        method = {"name": self.entry.method.name, **self.entry.method.options}
        place = {"model": self.model.name, "method": method, "budget": self.budget, "seed": self.seed}
        way = {"way": self.training.way} if self.training.way else {}
        condition = {"condition": self.condition} if self.condition else {}
        return {**place, **way, **condition, "steps": self.steps, "reason": self.reason}


def cells(sweep: Sweep, data: Data) -> list[Cell]:
    """Every place in the grid, in the order model, method, budget, condition, seed; the impossible with their reason.

    Raises ValueError when the smallest trial has too few steps for training.warmup_steps.
    """
    if sweep.goal:
        return _proposed(sweep, data)
    grid_cells = []
    for model, entry, budget, training, seeds in places(sweep, sweep.conditions(data)):
        cell = cell_at(model, entry, training, budget, sweep, data)
        grid_cells += [replace(cell, seed=seed) for seed in seeds]
    smallest = min((cell for cell in grid_cells if not cell.reason), key=lambda cell: cell.steps, default=None)
    if smallest and smallest.training.warmup_steps >= smallest.trial(1.0).cooldown_start:
        raise ValueError(
            f"training.warmup_steps is {smallest.training.warmup_steps}; the smallest trial ({smallest.label}) has "
            f"{smallest.steps} steps, and its cooldown would begin before the warm-up ends"
        )
    return grid_cells


def places(
    sweep: Sweep, conditions: Sequence[Training]
) -> Iterator[tuple[ModelSpec, Entry, float, Training, tuple[int, ...]]]:
    """Model, method, budget, condition and seeds of every place that the sweep file asks for."""
    for model, entry, budget, training in itertools.product(sweep.models, sweep.entries, sweep.budgets, conditions):
        if entry.tried_at(model.name, budget):
            seeds = sweep.seeds_at(model.name, budget, entry.method.name, training.batch_size)
            yield model, entry, budget, training, seeds


def cell_at(
    model: ModelSpec, entry: Entry, training: Training, budget: float, sweep: Sweep, data: Data, seed: int | None = None
) -> Cell:
    """One place of a grid; with its reason where it cannot be tried. seed: the sweep's first by default."""
    left = budget - search_flops(model, training, data, sweep.flops)
    steps = steps_for(left, model, entry.method, data.pair_of(training), sweep.flops)
    first = sweep.seeds[0] if seed is None else seed
    cell = Cell(model, entry, training, budget, first, steps, "", condition_name(training, sweep.varied))
    return replace(cell, reason=_impossible(cell, sweep, data))


def _proposed(sweep: Sweep, data: Data) -> list[Cell]:
    """The places that a goal has asked for, each with its rate."""
    (training,) = sweep.conditions(data)
    entries = {entry.method.label: entry for entry in sweep.entries}
    return [
        replace(
            cell_at(sweep.model(each.model), entries[each.method], training, each.budget, sweep, data, each.seed),
            lr=each.lr,
        )
        for each in sweep.proposed
    ]


def unfit(model: ModelSpec, entry: Entry, training: Training) -> str:
    """Why a model cannot be tuned like this whatever the data and the budget; "" when it can."""
    if refusal := entry.method.refusal(model):
        return refusal
    if training.context > model.context:
        return f"training.context is {training.context} tokens, {model.name} reads at most {model.context}"
    return ""


def _impossible(cell: Cell, sweep: Sweep, data: Data) -> str:
    model, training = cell.model, cell.training
    if reason := unfit(model, cell.entry, training):
        return reason
    if training.batch_size > data.train_pairs:
        return f"a batch needs {training.batch_size} pairs, there are {data.train_pairs:,}"
    if training.merge and cell.entry.method.bits:
        return f"its backbone is kept in {cell.entry.method.bits} bits, which cannot be merged"
    if cell.steps < sweep.min_steps and (search := search_flops(model, training, data, sweep.flops)):
        return (
            f"the search takes {search:.3g} FLOPs, the rest allows {max(0, cell.steps)} steps, fewer than min_steps = "
            f"{sweep.min_steps}"
        )
    if cell.steps < sweep.min_steps:
        return f"the budget allows {cell.steps} steps, fewer than min_steps = {sweep.min_steps}"
    if any(part.steps < 1 for part in cell.trial(1.0).parts):
        return f"of {cell.steps} steps, one source of {training.way} gets none"
    if cell.steps > MOST_STEPS:
        return f"the budget allows {cell.steps:.3g} steps, more than {MOST_STEPS:,}"
    epochs = cell.pairs / data.train_pairs
    if epochs > sweep.max_epochs:
        return (
            f"it takes {epochs:.3g} epochs of the {data.train_pairs:,} pairs, "
            f"more than max_epochs = {sweep.max_epochs:g}, a key at the top of the sweep file"
        )
    return ""


def trial_flops(trial: Trial, sweep: Sweep, data: Data) -> float:
    """Estimated cost of a trial by the exact count, FLOPs."""
    model = sweep.model(trial.model)
    trained = exact_flops(model, trial.method, data.pair_of(trial.training).times(trial.pairs))
    return trained + search_flops(model, trial.training, data)


def search_flops(model: ModelSpec, training: Training, data: Data, count: str = "exact") -> float:
    """Estimated cost of the search of self-positioning, in which every weight gets its gradient; else 0."""
    if training.merge != SEARCHED:
        return 0.0
    pair = data.under(training).pair(PROBED_PAIRS, [1.0] * len(training.sources))  # as many of each source
    return FLOPS[count](model, Full(), pair.times(training.search_steps * PROBED_PAIRS))
