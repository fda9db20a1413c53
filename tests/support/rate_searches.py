"""Searches of learning rates whose best ones follow a known rule, for the tests. No training happens."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from analysis.tables.rate_curves import RateCurve
from support.ladder import NANO
from sweeps.methods import Full, LoRA, Method
from sweeps.models import ModelSpec

MODELS = NANO[1:5]
BATCHES = (8, 24, 64, 192, 512)
METHODS: tuple[Method, ...] = (Full(), LoRA(rank=8), LoRA(rank=32))
LEVELS = {"full": 2e-3, "lora": 4e-3}


def best_rate(
    method: Method, model: ModelSpec, batch: float, a: float = -0.3, b: float = 0.35, c: float = -0.25
) -> float:
    """The rule of the tests: at nano-100k, 24 pairs and rank 8 the level of the method."""
    rank = method.options.get("rank", 8)
    powers = {a: model.params / NANO[2].params, b: batch / 24, c: rank / 8}
    return LEVELS[method.name] * math.prod(times**power for power, times in powers.items())


def search(
    method: Method, model: ModelSpec, batch: int, best: float, chance: np.random.Generator | None, more: int = 4
) -> RateCurve:
    """What a search from 1e-3 and 3e-3, continued at most `more` times, finds where `best` is best.

    A curve is steeper above its bottom than below; runs have noise of 1 % where there is chance.
    """

    def loss(rate: float) -> float:
        off = math.log(rate / best)
        noise = 0.01 * chance.normal() if chance else 0.0
        return 3 * math.exp(0.03 * off**2 * (1.5 if off > 0 else 1.0) + noise)

    losses = {rate: loss(rate) for rate in (1e-3, 3e-3)}
    for _ in range(more):
        rates = sorted(losses)
        lowest = min(losses, key=losses.__getitem__)
        if lowest not in (rates[0], rates[-1]):
            break
        further = rates[0] / 3 if lowest == rates[0] else rates[-1] * 3
        losses[further] = loss(further)
    rates = tuple(sorted(losses))
    return RateCurve(method, model.name, model.params, batch, rates, tuple(losses[rate] for rate in rates))


def searches(
    seed: int | None = 0,
    rule: Callable[[Method, ModelSpec, float], float] = best_rate,
    batches: tuple[int, ...] = BATCHES,
    scatter: float = 0.0,
    more: int = 4,
) -> list[RateCurve]:
    """A search for each method, model and batch size. scatter: sd of ln(best rate) about the rule."""
    chance = None if seed is None else np.random.default_rng(seed)
    found = []
    for method in METHODS:
        for model in MODELS:
            for batch in batches:
                off = scatter * chance.normal() if chance else 0.0
                found.append(search(method, model, batch, rule(method, model, batch) * math.exp(off), chance, more))
    return found
