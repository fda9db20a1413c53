"""Texts end to end in one row, so that not even attention computes padding: torch's variable-length attention (GPU)."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

NAME = "packed"
LARGEST_HEAD = 256  # dimensions; what flash attention computes, in multiples of 8


@dataclass(frozen=True)
class Layout:
    """Where the tokens of a micro-batch's texts lie, padded and in one row, all on one device."""

    lengths: Tensor
    """[texts], tokens of each text."""
    rows: Tensor
    """[tokens], places of the real tokens in the padded form."""
    positions: Tensor
    """[1, tokens], place of each token in its own text."""
    starts: Tensor
    """[texts + 1], where the texts start in the row, and its end."""
    longest: int
    """Tokens of the longest text."""

    @property
    def attention(self) -> dict[str, Any]:
        """What a transformers model hands on to the attention function, under its own names."""
        lengths = {"cu_seq_lens_q": self.starts, "cu_seq_lens_k": self.starts}
        return {**lengths, "max_length_q": self.longest, "max_length_k": self.longest}


def layout(lengths: np.ndarray, device: torch.device) -> Layout:
    """Returns where texts of these lengths lie. Counted here: on the device, a GPU would be waited for."""
    longest = int(lengths.max())
    rows = np.flatnonzero(np.arange(longest) < lengths[:, None])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    positions = rows[None] % longest
    return Layout(send(lengths, device), send(rows, device), send(positions, device), send(starts, device), longest)


def send(array: np.ndarray, device: torch.device) -> Tensor:
    """Returns the array as a tensor there. A GPU fetches it when it comes to that: nobody waits."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def pack(states: Tensor, where: Layout) -> Tensor:
    """Returns the real tokens alone: [texts, tokens, ...] -> [real tokens, ...]."""
    return states.flatten(0, 1).index_select(0, where.rows)


def unpack(row: Tensor, where: Layout) -> Tensor:
    """Returns the padded form: [real tokens, width] -> [texts, tokens, width], zero where nothing is."""
    shape = (len(where.lengths), where.longest)
    padded = row.new_zeros(shape[0] * shape[1], row.shape[-1])
    return padded.index_copy(0, where.rows, row).view(*shape, -1)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: None,
    scaling: float | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """Attend causally inside each text. query, key, value: [1, heads, tokens, dim] -> [1, tokens, heads, dim]."""
    groups = query.shape[1] // key.shape[1]
    # Turned by fp32 angles, queries and keys are fp32 again; the kernel wants 16 bits, and autocast does not know it.
    kind = torch.get_autocast_dtype(query.device.type) if torch.is_autocast_enabled(query.device.type) else query.dtype
    query, key, value = (tensor[0].transpose(0, 1).to(kind) for tensor in (query, key, value))  # [tokens, heads, dim]
    if groups > 1:
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    window = given.get("sliding_window")
    starts, longest = given["cu_seq_lens_q"], given["max_length_q"]
    back = -1 if window is None else window - 1
    return varlen(query, key, value, starts, longest, scaling, back)[None], None


def varlen(query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, scale: float | None, back: int):
    """torch's own kernel. query, key, value: [tokens, heads, dim]; back: tokens seen before each, -1 for all."""
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn(query, key, value, starts, starts, longest, longest, scale=scale, window_size=(back, 0))


def possible(backbone: nn.Module, device: torch.device, half: bool) -> bool:
    """Tells whether this can run packed: needs a GPU, 16-bit products, and heads that flash attention takes."""
    if device.type != "cuda" or not half or torch.cuda.get_device_capability(device)[0] < 8:
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    if not {"scale", "window_size"} <= set(inspect.signature(varlen_attn).parameters):
        return False
    config = backbone.config
    if not backbone._supports_attention_backend or getattr(config, "attn_logit_softcapping", None):
        return False  # attention of its own (Falcon), or scores that the kernel does not cap (Gemma 2)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return head <= LARGEST_HEAD and head % 8 == 0


def use(backbone: nn.Module) -> None:
    """Let the model attend packed. It makes no mask for an attention function that is not its own."""
    AttentionInterface.register(NAME, attend)
    backbone.set_attn_implementation(NAME)
