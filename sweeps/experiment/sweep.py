"""An experiment as its sweep file describes it: models, budgets, methods and their rates, and what is compared."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sweeps.methods import Method
from sweeps.models import ModelSpec
from sweeps.trial import Training, mixed


@dataclass(frozen=True)
class RateRange:
    """Learning rates to search between `low` and `high`: so many trials, `together` of them at a time.

    prune: stop those that stand badly beside finished ones, see `search.hopeless`.
    """

    low: float
    high: float
    trials: int
    together: int = 4
    prune: bool = False


@dataclass(frozen=True)
class Racing:
    """When a method is dropped at large budgets, see search/racing.py. margin: share by which its loss is higher than
    the best; from_budgets: at how many budgets in a row."""

    margin: float = 0.05
    from_budgets: int = 2


@dataclass(frozen=True)
class Repeat:
    """Further seeds for some places of the grid; () admits all models, budgets or methods (by name)."""

    seeds: tuple[int, ...]
    models: tuple[str, ...] = ()
    budgets: tuple[float, ...] = ()
    methods: tuple[str, ...] = ()

    def admits(self, model: str, budget: float, method: str) -> bool:
        asked = ((self.models, model), (self.budgets, budget), (self.methods, method))
        return all(not chosen or value in chosen for chosen, value in asked)


@dataclass(frozen=True)
class Compare:
    """Ways to make one model of several sources, tried side by side: "" is joint training, the others are MERGES.

    ratios: weights of the sources; () for those of the file alone.
    """

    merges: tuple[str, ...]
    ratios: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Entry:
    """A tuning method of a sweep and its learning rate: `rates` by model name, or `search`, the rates to try, or
    `rate_range`, what they lie between. models: names of those it is tried on; () for all."""

    method: Method
    rates: Mapping[str, float] = field(default_factory=dict, hash=False)
    search: tuple[float, ...] = ()
    rate_range: RateRange | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file. budgets: FLOPs by the count named in `flops`. max_epochs: passes over the unique pairs."""

    models: tuple[ModelSpec, ...]
    budgets: tuple[float, ...]
    entries: tuple[Entry, ...]
    training: Training = Training()
    seeds: tuple[int, ...] = (0,)
    flops: str = "exact"
    min_steps: int = 50
    max_epochs: float = 1.0
    racing: Racing | None = None
    repeat: tuple[Repeat, ...] = ()
    compare: Compare | None = None

    def conditions(self, data_hash: str) -> tuple[Training, ...]:
        """What trials are trained under: one condition, unless ways to train on several sources are compared."""
        training = replace(self.training, data_hash=data_hash)
        if self.compare is None:
            return (training,)
        names = [name for name, _ in training.sources]
        mixtures = [mixed(zip(names, ratio, strict=True)) for ratio in self.compare.ratios] or [training.data]
        asked = itertools.product(mixtures, self.compare.merges)
        return tuple(replace(training, data=data, merge=merge) for data, merge in asked)

    def model(self, name: str) -> ModelSpec:
        return next(model for model in self.models if model.name == name)

    def seeds_at(self, model: str, budget: float, method: str) -> tuple[int, ...]:
        """Seeds of one place of the grid, those of its repeats behind the sweep's own, each once."""
        more = [seed for one in self.repeat if one.admits(model, budget, method) for seed in one.seeds]
        return tuple(dict.fromkeys((*self.seeds, *more)))
