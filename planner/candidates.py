"""What there is to choose from: every model with every measured method, what it costs and what it would reach."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from planner.budget import Budget, Fit, fit_batch
from planner.laws import LawBook, MethodLaw, Repeated, worth
from planner.quantities import short
from sweeps.flops import FLOPS, Work, exact_flops, forward_flops
from sweeps.machine.hardware import Machine
from sweeps.methods import Method
from sweeps.models import ModelSpec

# Passes after the first that keep most of their value; fitted to pretraining (Muennighoff et al. 2023, appendix A).
PUBLISHED_REPEATS = 15.387756


@dataclass(frozen=True)
class Limits:
    """What a plan must respect.

    min_steps: optimiser steps below which the law does not hold. max_params: N at most. max_dim: width of the vectors
    at most. memory: bytes per chip. max_pairs: unique pairs at hand. max_epochs: passes over them.
    serve_tokens: tokens to be embedded in the model's life; their FLOPs come out of the same budget.
    """

    min_steps: int = 50
    max_params: float = math.inf
    max_dim: float = math.inf
    memory: float = math.inf
    max_pairs: float = math.inf
    max_epochs: float = math.inf
    serve_tokens: float = 0.0

    def __post_init__(self) -> None:
        if self.min_steps < 1:
            raise ValueError(f"--min-steps is {self.min_steps!r}; it must be 1 or more")
        if self.max_epochs < math.inf and self.max_pairs == math.inf:
            raise ValueError(f"--max-epochs is {self.max_epochs:g}: passes over which pairs? give --max-pairs too")


@dataclass(frozen=True)
class Refusal:
    """A candidate that cannot be, and why."""

    model: str
    method: str
    reason: str


@dataclass(frozen=True)
class Option:
    """One model with one tuning method. pair_flops: training FLOPs a pair; serving: FLOPs of its life in use.

    pace: FLOPs that the machine does of this option in the time of one FLOP of the budget.
    """

    model: ModelSpec
    evidence: MethodLaw
    method: Method
    pair: Work
    count: str
    fit: Fit
    limits: Limits
    pace: float = 1.0

    @cached_property
    def exact_pair_flops(self) -> float:
        return exact_flops(self.model, self.method, self.pair, self.fit.second_forward)

    @cached_property
    def pair_flops(self) -> float:
        return self.exact_pair_flops if self.count == "exact" else FLOPS[self.count](self.model, self.method, self.pair)

    @cached_property
    def serving(self) -> float:
        """FLOPs of embedding `serve_tokens`; adapters are merged by then."""
        return forward_flops(self.model, self.pair.times(self.limits.serve_tokens / self.pair.tokens))

    @cached_property
    def params(self) -> int:
        """N."""
        return self.model.params

    @cached_property
    def unique_tokens(self) -> float:
        return self.limits.max_pairs * self.pair.tokens

    @cached_property
    def trained_share(self) -> float:
        """S: share of the parameters that is trained; adapters larger than their backbone count as all of it."""
        return min(1.0, self.method.trainable(self.model) / self.params)

    @cached_property
    def most_steps(self) -> float:
        """Whole optimiser steps that the allowed epochs hold."""
        steps = self.limits.max_pairs * self.limits.max_epochs / self.pair.batch_size
        return math.floor(steps) if steps < math.inf else steps

    def bought(self, budget: float) -> float:
        """Optimiser steps that the budget pays for, fractions included."""
        return (self.pace * budget - self.serving) / (self.pair_flops * self.pair.batch_size)

    def steps(self, budget: float) -> int:
        """Whole optimiser steps: to the nearest, as sweeps count them, and never beyond the allowed epochs."""
        return int(min(round(self.bought(budget)), self.most_steps))

    def tokens(self, budget: float) -> float:
        """D: what the budget buys before rounding to whole steps, cut at the allowed epochs."""
        return min(self.bought(budget), self.most_steps) * self.pair.batch_size * self.pair.tokens

    def needs(self) -> float:
        """FLOPs of `min_steps` steps and of serving."""
        return self.serving + self.limits.min_steps * self.pair.batch_size * self.pair_flops

    def refusal(self, budget: float) -> str:
        """Why this budget does not do; empty when it does."""
        if self.pace * budget <= self.serving:
            return f"serving {short(self.limits.serve_tokens)} tokens takes {self.serving:.3g} FLOP, all of the budget"
        steps = self.steps(budget)
        if steps >= self.limits.min_steps:
            return ""
        if self.most_steps < self.limits.min_steps:
            return f"the allowed epochs over {short(self.limits.max_pairs)} pairs hold {steps} steps"
        return f"{steps} steps, under the {self.limits.min_steps} of --min-steps; needs {self.needs():.3g} FLOP"

    def inputs(self, tokens: float) -> tuple[float, float, float, float]:
        """N, D, S, U as Law.at takes them; laws that do not know repetition get what the tokens are worth."""
        unique = self.unique_tokens
        if not isinstance(self.evidence.law, Repeated) and tokens > unique:
            tokens, unique = worth(tokens, unique, PUBLISHED_REPEATS), math.inf
        return self.params, tokens, self.trained_share, unique

    def arguments(self, tokens: float) -> tuple[float, ...]:
        """Those of `inputs` that this option's law takes: sorted out once, not in every draw."""
        given = dict(zip("NDSU", self.inputs(tokens), strict=True))
        return tuple(given[name] for name in self.evidence.law.inputs)

    def loss(self, tokens: float) -> float:
        return self.evidence.law.loss(*self.arguments(tokens))


def menu(
    book: LawBook,
    models: Iterable[ModelSpec],
    methods: Sequence[str],
    limits: Limits,
    count: str = "exact",
    chips: int = 1,
    mixed: bool = False,
) -> tuple[list[Option], list[Refusal]]:
    """Every model with every method of the laws that `methods` names (all when empty); and those that cannot be.

    chips: how many share a batch. mixed: whether products run in 16 bits.
    """
    assert book.pair and book.training  # `plan` has checked that the laws are of our own sweeps
    batch, context = book.pair.batch_size * book.pair.tokens / chips, book.training.context
    options, refused = [], []
    for evidence in book.laws:
        if methods and str(evidence.settings["name"]) not in methods:
            continue
        method = evidence.method
        for model in models:
            fit = fit_batch(model, method, batch, context, limits.memory, mixed)
            reason = method.refusal(model) or _too_short(model, context) or _too_large(model, limits, fit)
            if reason or not fit:
                refused.append(Refusal(model.name, method.label, reason))
            else:
                options.append(Option(model, evidence, method, book.pair, count, fit, limits))
    return options, refused


def _too_short(model: ModelSpec, context: int) -> str:
    return f"reads at most {model.context} tokens, the laws hold for {context}" if model.context < context else ""


def _too_large(model: ModelSpec, limits: Limits, fit: Fit | None) -> str:
    if model.params > limits.max_params:
        return f"N is {short(model.params)}, over the {short(limits.max_params)} of --max-params"
    if model.width > limits.max_dim:
        return f"its vectors have {model.width} dimensions, over the {limits.max_dim:g} of --max-dim"
    return "" if fit else f"one text at a time does not fit in {limits.memory / 1e9:.3g} GB"


def timed(options: Sequence[Option], budget: Budget, machine: Machine | None) -> list[Option]:
    """The options as a measured machine runs them: of a budget of time, each makes as many FLOPs as it reaches."""
    if machine is None or machine.profile is None or budget.kind == "flops":
        return list(options)
    return [replace(one, pace=machine.rate_of(one.model, one.method) / machine.rate) for one in options]


def feasible(options: Sequence[Option], budget: float) -> tuple[list[Option], list[Refusal]]:
    """The options that this budget can train, best predicted loss first, and the others with the reason."""
    fits = [option for option in options if not option.refusal(budget)]
    others = [
        Refusal(option.model.name, option.method.label, option.refusal(budget))
        for option in options
        if option.refusal(budget)
    ]
    return sorted(fits, key=lambda option: option.loss(option.tokens(budget))), others
