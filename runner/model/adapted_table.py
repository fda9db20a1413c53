"""A token table with a low-rank adapter, as peft has it: the table stays as it is, what is added to it is trained.

A token's row of A' times B' is added to its row of the table. The training looks tokens up without a graph and makes
the table's gradients later, all of a step at once (runner/training/grad_cache.py); the product is not made again then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import Embedding
from torch import Tensor, nn

from runner.model.folded_lora import ADAPTER, is_plain


def adapt_table(backbone: nn.Module) -> None:
    """Let the adapter of a token table run as it does here where it is plain. Names and parameters stay peft's own."""
    for module in backbone.modules():
        if type(module) is Embedding and is_plain(module, module.lora_embedding_A) and not module.lora_variant:
            module.__class__ = AdaptedTable  # a wrapper would hide the adapter from peft's merging and saving


class AdaptedTable(Embedding):
    """W[ids] + s A'[ids] B'."""

    gives_values = True
    """Whether what it returns is used; False: only its backward pass is."""

    def forward(self, ids: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """ids: [texts, tokens] or [tokens] -> a vector for each."""
        scale, own = self.scaling[ADAPTER], self._get_embed_scale()  # Gemma's table multiplies what it gives
        lora_a, lora_b = self.lora_embedding_A[ADAPTER], self.lora_embedding_B[ADAPTER]
        scale = scale if own is None else scale * own.to(lora_b.dtype)
        return LookUp.apply(ids, self.base_layer(ids), lora_a, lora_b, scale, self.gives_values)


@contextmanager
def gradients_only(table: nn.Module) -> Iterator[None]:
    """Within, what an adapted `table` returns has arbitrary values, and the gradients that it should."""
    if isinstance(table, AdaptedTable):
        table.gives_values = False
    try:
        yield
    finally:
        if isinstance(table, AdaptedTable):
            table.gives_values = True


class LookUp(torch.autograd.Function):
    """y = rows + s A'[ids] B', with gradients to A and B."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, rows: Tensor, lora_a: Tensor, lora_b: Tensor, scale: Any, values: bool):
        """rows: of the table [..., width]; lora_a: A [rank, vocabulary]; lora_b: B [width, rank]; scale: s, a number or
        a scalar; values: whether they are wanted."""
        ctx.save_for_backward(ids, lora_a, lora_b)
        ctx.scale = scale
        return rows + scale * (lora_a.T[ids] @ lora_b.T) if values else torch.empty_like(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):
        ids, lora_a, lora_b = ctx.saved_tensors
        flat, places = gradient.flatten(0, -2), ids.flatten()  # [tokens, width], [tokens]
        to_rows = ctx.scale * (flat @ lora_b)  # [tokens, rank]
        to_a = torch.zeros_like(lora_a.T).index_add_(0, places, to_rows).T
        to_b = ctx.scale * (flat.T @ lora_a.T[places])
        return None, None, to_a, to_b, None, None
