"""The only place that multiplies by 2: training FLOPs, and how much data a budget buys.

Two counts. `paper`: 2 FLOPs for each parameter and token, forward, passed through and updated (Ziarko et al. 2024,
section 3.5), so that budgets compare with published ones. `exact`: every matrix product of the step, from the shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from sweeps.methods import Method
from sweeps.models import ModelSpec


@dataclass(frozen=True)
class Work:
    """Texts that go through a model. A mean over pairs is a Work of one pair; `times` makes it that of many."""

    pairs: float
    """Text pairs."""
    tokens: float
    """Real tokens of all texts, never padding."""
    sum_sq_lengths: float
    """Sum of the squared lengths of the texts, in tokens, which attention costs."""
    batch_size: int
    """Pairs in a step."""

    def times(self, factor: float) -> Work:
        return Work(self.pairs * factor, self.tokens * factor, self.sum_sq_lengths * factor, self.batch_size)


# 14 query and 64 document tokens, as the paper's code counts a pair (papers' repository SeqDM/Efficient-Embeddings).
PAPER_PAIR = Work(pairs=1, tokens=78, sum_sq_lengths=14**2 + 64**2, batch_size=1024)


def forward_flops(model: ModelSpec, work: Work, layers: int | None = None) -> float:
    """Returns the FLOPs of one forward pass through `layers` blocks (default: all). Attention scores are counted whole,
    not their causal half, as torch's counter does."""
    layers = model.layers if layers is None else layers
    return layers * (2 * model.block_weights * work.tokens + 4 * model.heads * model.head_dim * work.sum_sq_lengths)


def attention_flops(model: ModelSpec, trained: int, sum_sq_lengths: float, second_forward: float = 0.0) -> float:
    """Returns the FLOPs of attention alone, all blocks forward and `trained` of them back. second_forward: see
    `exact_flops`."""
    blocks = model.layers + (2 + second_forward) * trained
    return 4 * blocks * model.heads * model.head_dim * sum_sq_lengths


@lru_cache(maxsize=10_000)  # trials of a grid differ in their rate and seed more than in what they take
def exact_flops(
    model: ModelSpec, method: Method, work: Work, second_forward: float = 0.0, frozen_share: float = 1.0
) -> float:
    """Returns training FLOPs of `work`. second_forward: share of the tokens that gradient caching sends twice through
    the trained blocks; frozen_share: share (0 to 2) that goes through the frozen first blocks, less than 1 where their
    outputs are kept over several epochs."""
    trained = method.backward_layers(model)
    forward = forward_flops(model, work, model.layers - trained) * frozen_share
    forward += forward_flops(model, work, trained) * (1 + second_forward)
    added, table = method.adapter_weights_per_token(model), method.table_weights_per_token(model)
    forward += 2 * (added + table) * work.tokens * (1 + second_forward)
    backward = 2 * (method.activation_grad_weights(model) + method.weight_grad_weights(model)) * work.tokens
    backward += 2 * 2 * table * work.tokens  # to either matrix of the table's adapter
    attention = attention_flops(model, trained, work.sum_sq_lengths) - attention_flops(model, 0, work.sum_sq_lengths)
    similarity = 3 * 2 * work.pairs * work.batch_size * model.width  # logits, and a gradient to either side
    return forward + backward + attention + similarity + 2 * method.per_step(model) * work.pairs / work.batch_size


def paper_flops(model: ModelSpec, method: Method, work: Work) -> float:
    """Returns 6N, 4N + 2T or 2N + 4T FLOPs a token, whichever the method is."""
    return 2 * (model.params + method.backprop(model) + method.trainable(model)) * work.tokens


FLOPS: dict[str, Callable[[ModelSpec, Method, Work], float]] = {"exact": exact_flops, "paper": paper_flops}


def steps_for(budget: float, model: ModelSpec, method: Method, pair: Work, count: str = "exact") -> int:
    """Returns the optimiser steps that `budget` FLOPs buy, to the nearest whole one. `pair`: the mean pair of the
    data."""
    return round(budget / (FLOPS[count](model, method, pair) * pair.batch_size))
