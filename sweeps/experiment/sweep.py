"""An experiment as its sweep file describes it: models, budgets, methods and their rates, and what is compared."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sweeps.admission import MIN_STEPS
from sweeps.conditions import differing
from sweeps.experiment.sources import Data
from sweeps.methods import Method
from sweeps.models import ModelSpec
from sweeps.trial import Training, mixed


@dataclass(frozen=True)
class RateRange:
    """A range of learning rates to search."""

    low: float
    """Lowest rate, positive."""
    high: float
    """Highest rate, above `low`."""
    trials: int
    """Rates that are tried, at least 2."""
    together: int = 4
    """Rates that are proposed at a time and may run in parallel."""
    prune: bool = False
    """Whether rates worse than the finished ones are stopped early, see `hopeless` in search/learning_rates.py."""


@dataclass(frozen=True)
class Racing:
    """When a method is dropped at large budgets, see search/racing.py."""

    margin: float = 0.05
    """A method is dropped when its loss exceeds the best by this share, such as 0.05."""
    from_budgets: int = 2
    """Number of consecutive budgets at which it must, at least 2."""


@dataclass(frozen=True)
class Repeat:
    """Additional seeds for some places of the grid."""

    seeds: tuple[int, ...]
    """The additional seeds; none may be among those of the sweep."""
    models: tuple[str, ...] = ()
    """Names of the models; (): all."""
    budgets: tuple[float, ...] = ()
    """Budgets in FLOPs; (): all."""
    methods: tuple[str, ...] = ()
    """Names of the methods; (): all."""
    batch_sizes: tuple[int, ...] = ()
    """Batch sizes in pairs, if the sweep has a list of them; (): all."""

    def admits(self, model: str, budget: float, method: str, batch_size: int) -> bool:
        asked = ((self.models, model), (self.budgets, budget), (self.methods, method), (self.batch_sizes, batch_size))
        return all(not chosen or value in chosen for chosen, value in asked)


@dataclass(frozen=True)
class Compare:
    """Ways to make one model of several sources, to be compared."""

    merges: tuple[str, ...]
    """"" is joint training, the others are MERGES."""
    ratios: tuple[tuple[float, ...], ...] = ()
    """Lists of weights of the sources, each of which is tried; (): only those of the file."""


@dataclass(frozen=True)
class Goal:
    """The goal of a sweep without budgets: it chooses its own trials, in rounds, see docs/goal.md."""

    budget: str
    """Budget of the recipe: FLOP such as "1e19", or on `hardware` a time such as "24h" or money such as "$500"."""
    spend: str = "2%"
    """Most that all trials together may cost, searches included: a share of the budget such as "2%", or FLOP."""
    regret: float = 0.01
    """Target in nats: trials end when the expected regret is below it."""
    laws: str = "auto"
    """Laws to start from: auto (the nearest bundled ones), a name of bundled ones, or a folder or file of laws."""
    together: int = 4
    """Trials per round, at least 1: about as many as there are workers. The rounds depend on it."""
    hardware: str = ""
    """Machine for a budget in time or money, such as "8xh100"."""
    price: float = 0.0
    """Price per chip-hour; 0: not known, so no budget in money."""


@dataclass(frozen=True)
class Proposed:
    """A trial that a goal asks for."""

    model: str
    """Name of the backbone."""
    method: str
    """Label of the method."""
    budget: float
    """What it is cut for, FLOPs."""
    lr: float
    """Peak learning rate."""
    seed: int = 0
    """Seed of the trial."""
    purpose: str = "train"
    """What it is for: train, or search where a learning rate is looked for."""


@dataclass(frozen=True)
class Entry:
    """A tuning method of a sweep and where its learning rate comes from: one of `rates`, `search` and `rate_range`; in
    a sweep with a goal none of them may be given, then the laws tell it."""

    method: Method
    """The method, with its settings."""
    rates: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Known rates by model name."""
    search: tuple[float, ...] = ()
    """Rates to try, ascending; while the best is at an end, the search continues beyond that end."""
    rate_range: RateRange | None = None
    """The range of proposed rates."""
    models: tuple[str, ...] = ()
    """Names of the models that it is tried on; (): all."""
    budgets: tuple[float, ...] = ()
    """Budgets that it is tried at; (): all."""

    def tried_at(self, model: str, budget: float) -> bool:
        """Whether the grid has a place for it at this model and budget."""
        return (not self.models or model in self.models) and (not self.budgets or budget in self.budgets)


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file."""

    models: tuple[ModelSpec, ...]
    """Backbones of the grid."""
    budgets: tuple[float, ...]
    """Training FLOPs of the grid, by the count named in `flops`; none with a goal."""
    entries: tuple[Entry, ...]
    """Tuning methods of the grid."""
    training: Training = Training()
    """The conditions of all trials."""
    seeds: tuple[int, ...] = (0,)
    """Seeds at every place of the grid."""
    flops: str = "exact"
    """How the budgets are counted: exact or paper."""
    min_steps: int = MIN_STEPS
    """Fewest steps of a trial; a budget that buys fewer is left out."""
    max_epochs: float = 1.0
    """Most passes over the unique pairs; a budget that buys more is left out."""
    racing: Racing | None = None
    """When methods are dropped; None: never."""
    repeat: tuple[Repeat, ...] = ()
    """Additional seeds for some places."""
    compare: Compare | None = None
    """Ways to train on several sources, to be compared; None: one way."""
    goal: Goal | None = None
    """A goal for which the sweep chooses its own trials; None: it trains its grid."""
    proposed: tuple[Proposed, ...] = ()
    """Trials that the goal has asked for so far."""
    spanned: tuple[Training, ...] = ()
    """All conditions, where lists under [training] span several, `training` the first; (): that alone."""

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Settings of training in which the spanned conditions differ."""
        return differing(self.spanned)

    def conditions(self, data: Data | None = None) -> tuple[Training, ...]:
        """What trials are trained under; on these data once they are known.

        One condition, unless lists under [training] span several or ways to train on several sources are compared.
        """
        given = self.spanned or (self.training,)
        fitted = tuple(data.fitted(training) for training in given) if data else given
        if self.compare is None:
            return fitted
        (training,) = fitted
        names = [name for name, _ in training.sources]
        mixtures = [mixed(zip(names, ratio, strict=True)) for ratio in self.compare.ratios] or [training.data]
        asked = itertools.product(mixtures, self.compare.merges)
        return tuple(replace(training, data=data, merge=merge) for data, merge in asked)

    def model(self, name: str) -> ModelSpec:
        return next(model for model in self.models if model.name == name)

    def seeds_at(self, model: str, budget: float, method: str, batch_size: int) -> tuple[int, ...]:
        """Seeds of one place of the grid, those of its repeats behind the sweep's own, each once."""
        place = (model, budget, method, batch_size)
        more = [seed for repeat in self.repeat if repeat.admits(*place) for seed in repeat.seeds]
        return tuple(dict.fromkeys((*self.seeds, *more)))
