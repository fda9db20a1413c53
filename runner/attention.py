"""Causal attention of short texts on a CPU: rotation, scores and products as one node of the graph (GPT-NeoX).

transformers cuts queries and keys in two to turn a part of them, and torch's own kernel is made for long texts. A step
of full tuning was 1.02 to 1.11 times as fast so, widths 32 to 256, on a busy machine, and gave the same losses to
rounding (tests/benchmarks/bench_attention.py).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXAttention

LONGEST = 128  # tokens; all scores are kept for the way back: as dear as torch's kernel somewhere from here to 256


def possible(backbone: nn.Module, device: torch.device, low: bool) -> bool:
    """Whether `use` helps: GPT-NeoX on a CPU, products in the type of the weights, no dropout."""
    config = backbone.config
    return device.type == "cpu" and not low and config.model_type == "gpt_neox" and not config.attention_dropout


def use(backbone: nn.Module) -> None:
    """Let every block of a causal decoder attend so. Names and parameters stay."""
    for block in backbone.layers:
        block.attention.__class__ = ShortAttention


class ShortAttention(GPTNeoXAttention):
    """As transformers' own where texts are longer than LONGEST, or a mask or earlier keys are given."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        layer_past: Any = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """hidden_states: [texts, tokens, width] -> the same shape. position_embeddings: cos and sin."""
        if hidden_states.shape[1] > LONGEST or attention_mask is not None or layer_past is not None:
            given = {"layer_past": layer_past, "position_embeddings": position_embeddings}
            return super().forward(hidden_states, attention_mask, **given, **others)
        cos, sin = (each[0] for each in position_embeddings or ())  # of all texts the same, which start at 0
        heads = self.query_key_value(hidden_states).unflatten(-1, (-1, 3, self.head_size))
        return self.dense(Attend.apply(heads, cos, sin, self.scaling)), None


class Attend(torch.autograd.Function):
    """softmax(QK' / sqrt(dim), causal) V, with queries and keys turned by their place (rotary embedding)."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, cos: Tensor, sin: Tensor, scale: float) -> Tensor:
        """heads: query, key and value [texts, tokens, heads, 3, dim]; cos, sin: [tokens, turned dims] -> [texts,
        tokens, width]."""
        texts, tokens, count, _, dim = heads.shape
        kept = heads.permute(3, 0, 2, 1, 4).clone(memory_format=torch.contiguous_format)
        turn(kept[:2], cos, sin)
        query, key, value = kept.view(3, texts * count, tokens, dim)
        ahead = heads.new_full((tokens, tokens), -math.inf).triu(1)
        shares = torch.baddbmm(ahead, query, key.mT, alpha=scale)
        torch.softmax(shares, -1, out=shares)
        ctx.save_for_backward(kept, shares, cos, sin)
        ctx.scale = scale
        return torch.bmm(shares, value).view(texts, count, tokens, dim).transpose(1, 2).flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):
        kept, shares, cos, sin = ctx.saved_tensors
        _, texts, count, tokens, dim = kept.shape
        query, key, value = kept.view(3, texts * count, tokens, dim)
        arriving = gradient.unflatten(-1, (count, dim)).transpose(1, 2).reshape(value.shape)
        leaving = torch.empty_like(kept)
        to_query, to_key, to_value = leaving.view(3, texts * count, tokens, dim)
        torch.bmm(shares.mT, arriving, out=to_value)
        to_shares = torch.bmm(arriving, value.mT)
        to_scores = torch.ops.aten._softmax_backward_data(to_shares, shares, -1, shares.dtype).mul_(ctx.scale)
        torch.bmm(to_scores, key, out=to_query)
        torch.bmm(to_scores.mT, query, out=to_key)
        turn(leaving[:2], cos, -sin)
        return leaving.permute(1, 3, 2, 0, 4), None, None, None


def turn(states: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn the first dims of `states` [..., tokens, dim] in place; cos, sin: [tokens, turned dims], halves alike."""
    turned, half = states[..., : cos.shape[-1]], cos.shape[-1] // 2
    other = turned.roll(half, -1)
    turned.mul_(cos).addcmul_(other, torch.cat([-sin[:, :half], sin[:, half:]], -1))
