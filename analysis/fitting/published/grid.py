"""The grid of a paper: which model could be trained with which method at which budget, and on how many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.tables.rows import Array
from sweeps.flops import FLOPS, Work, exact_flops
from sweeps.methods import Method
from sweeps.models import SUITES, ModelSpec


@dataclass(frozen=True)
class Group:
    """Settings of one method, such as the ranks of LoRA, and what is drawn of their laws where no fact says more."""

    name: str
    """What facts call it."""
    members: dict[str, Method]
    """What facts call each setting, and the method with that setting."""
    E: tuple[float, float]
    """Lowest and highest irreducible loss, nats per pair."""
    exponents: tuple[float, float]
    """Lowest and highest alpha and beta."""
    loss: tuple[float, float]
    """Lowest and highest best loss in the middle of the budgets, where no fact tells it."""
    slope: tuple[float, float]
    """Lowest and highest d ln(best loss) / d ln(budget), where no fact tells it."""
    like: str = ""
    """A group further up whose E, exponents and best sizes are nearly the same; "": none."""
    spread: float = 0.12
    """Sd of the logs of E and of the exponents about those of `like`."""
    spread_size: float = 0.7
    """Sd of the log of the best size about that of `like`; a step between Pythia's sizes is about 1."""
    apart: float = 0.0
    """Most by which the log losses of two settings differ at equal N and D."""
    learning_rates: dict[str, float] | None = None
    """Model -> published peak learning rate."""
    rates_from: str = ""
    """Where those were published."""


@dataclass(frozen=True)
class Cells:
    """What a method can do with each of some budgets, over some models."""

    log_sizes: Array
    """[models] ln N."""
    log_tokens: Array
    """[budgets, models] ln D; nan where too few steps or too many pairs would be trained."""


@dataclass(frozen=True)
class Grid:
    """Models and budgets of a paper, and how it counted."""

    models: tuple[ModelSpec, ...]
    """Smallest first."""
    budgets: tuple[float, ...]
    """Training FLOPs by the count, smallest first."""
    count: str
    """How FLOPs were counted: a key of sweeps.flops.FLOPS."""
    pair: Work
    """Mean training pair, and the pairs in a batch."""
    max_pairs: float
    """Unique pairs, each seen once at most."""
    min_steps: int
    """Optimiser steps below which no loss is taken as one of the laws'."""

    @property
    def menu(self) -> tuple[ModelSpec, ...]:
        """What a decision chooses from: the suite of the grid's models, larger ones than it tried included."""
        return next((suite for suite in SUITES.values() if set(self.models) <= set(suite)), self.models)

    @cached_property
    def log_budgets(self) -> Array:
        return np.log(np.array(self.budgets))

    @cached_property
    def centre(self) -> float:
        """Middle of the log budgets, where lines have their level."""
        return float(self.log_budgets.mean())

    def cells(self, method: Method, budgets: Sequence[float] = (), models: Sequence[ModelSpec] = ()) -> Cells:
        """What the method can do with the budgets over the models; by default those of the grid."""
        if budgets or models:
            return self._cells(method, budgets or self.budgets, models or self.models)
        if method not in self._known:
            self._known[method] = self._cells(method, self.budgets, self.models)
        return self._known[method]

    @cached_property
    def _known(self) -> dict[Method, Cells]:
        """Cells of the grid itself, which are asked for at every move of the draws."""
        return {}

    def _cells(self, method: Method, budgets: Sequence[float], models: Sequence[ModelSpec]) -> Cells:
        chosen = [model for model in models if not method.refusal(model)]
        costs = np.array([FLOPS[self.count](model, method, self.pair) for model in chosen])
        pairs = np.array(budgets)[:, None] / costs
        trained = np.round(pairs / self.pair.batch_size) >= self.min_steps
        held = np.where(trained & (pairs <= self.max_pairs), pairs * self.pair.tokens, np.nan)
        return Cells(np.log([float(model.params) for model in chosen]), np.log(held))

    def beyond(self, method: Method, budgets: Sequence[float]) -> Cells:
        """The same over the menu with as many pairs as are wanted: what is asked of the laws later."""
        fresh = Grid(self.models, self.budgets, self.count, self.pair, float("inf"), self.min_steps)
        return fresh.cells(method, budgets, self.menu)

    def tokens_at(self, method: Method, log_sizes: Array) -> Array:
        """ln D that the middle budget buys at sizes between those of the grid."""
        sizes = np.log([float(model.params) for model in self.models])
        costs = np.log([FLOPS[self.count](model, method, self.pair) / self.pair.tokens for model in self.models])
        return self.centre - np.interp(log_sizes, sizes, costs)

    def exact_range(self, method: Method) -> tuple[float, float]:
        """Smallest and largest training FLOPs of the cells, by the exact count."""
        factors = [exact_flops(m, method, self.pair) / FLOPS[self.count](m, method, self.pair) for m in self.models]
        held = np.isfinite(self.cells(method).log_tokens)
        spent = np.array(self.budgets)[:, None] * np.array(factors)
        return float(spent[held].min()), float(spent[held].max())
