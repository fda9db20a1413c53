"""A GPT-NeoX block as one node of the graph, over texts that lie end to end in one row: for CPUs.

transformers' own block makes some forty nodes and computes padding. This one multiplies real tokens only, adds the
residual stream up inside the products, and keeps less for the backward pass. A full-tuning step was 1.08 to 1.30 times
as fast so at widths 32 to 256 (0.87 to 0.97 at 16), on one thread, and gives the same losses to rounding
(tests/benchmarks/bench_block.py). Modules, names and parameters stay transformers' own: a block is only run otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu, linear
from transformers.activations import GELUActivation
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXAttention, GPTNeoXLayer, GPTNeoXMLP

from runner.model.folded_lora import FoldedLora, adapter_gradients
from runner.model.fused_attention import Row, attend, attend_back, make_row


@dataclass(frozen=True)
class Plain:
    """A linear map whose own weight and bias may be trained."""

    module: nn.Linear

    @property
    def weight(self) -> Tensor:
        return self.module.weight

    @property
    def bias(self) -> Tensor:
        return self.module.bias

    @property
    def trained(self) -> list[Tensor]:
        return [each for each in (self.weight, self.bias) if each.requires_grad]

    def gradients(self, grad_output: Tensor, inputs: Callable[[], Tensor]) -> list[Tensor]:
        """Returns the gradients to `trained`, in their type; products in the type of the inputs.

        grad_output: gradient to the outputs [tokens, outputs]; inputs: gives those [tokens, inputs].
        """
        kind = self.weight.dtype
        to_weight = [(grad_output.T @ inputs()).to(kind)] if self.weight.requires_grad else []
        return [*to_weight, grad_output.sum(0, dtype=kind)] if self.bias.requires_grad else to_weight


@dataclass(frozen=True)
class Adapted:
    """A frozen linear map with a trained adapter, folded into one weight."""

    module: FoldedLora

    @property
    def weight(self) -> Tensor:
        return self.module.folded

    @property
    def bias(self) -> Tensor:
        return self.module.base_layer.bias

    @property
    def trained(self) -> list[Tensor]:
        return list(self.module.adapter)

    def gradients(self, grad_output: Tensor, inputs: Callable[[], Tensor]) -> list[Tensor]:
        """See Plain."""
        lora_a, lora_b = (each.to(grad_output.dtype) for each in self.module.adapter)
        gradients = adapter_gradients(grad_output, inputs(), lora_a, lora_b, self.module.scale)
        return [to_part.to(part.dtype) for to_part, part in zip(gradients, self.trained, strict=True)]


MAPS: dict[type, Callable[[Any], Plain | Adapted]] = {nn.Linear: Plain, FoldedLora: Adapted}


def maps_of(block: GPTNeoXLayer) -> list[nn.Module]:
    """Returns the linear maps in the order of Parts."""
    attention, mlp = block.attention, block.mlp
    return [attention.query_key_value, attention.dense, mlp.dense_h_to_4h, mlp.dense_4h_to_h]


@dataclass(frozen=True)
class Parts:
    """What a block is made of."""

    norms: tuple[nn.LayerNorm, nn.LayerNorm]
    """Before attention, and before the MLP."""
    qkv: Plain | Adapted
    """Normed states to query, key and value of every head."""
    out_proj: Plain | Adapted
    """What the heads attend to, back to the width."""
    up: Plain | Adapted
    """Normed states to the MLP's width."""
    down: Plain | Adapted
    """The MLP's activations, back to the width."""
    heads: int
    """Number of heads."""
    scale: float
    """By which the scores are multiplied."""
    bf16: bool
    """Whether the maps' products are of bf16. Norms, attention and the residual stream are not."""

    @classmethod
    def of(cls, block: GPTNeoXLayer, bf16: bool = False) -> Parts:
        norms = (block.input_layernorm, block.post_attention_layernorm)
        heads = block.attention.config.num_attention_heads
        qkv, out_proj, up, down = (MAPS[type(each)](each) for each in maps_of(block))
        return cls(norms, qkv, out_proj, up, down, heads, block.attention.scaling, bf16)

    def cast(self, tensor: Tensor) -> Tensor:
        """Returns the tensor in the type of the products."""
        return tensor.bfloat16() if self.bf16 else tensor

    @property
    def trained(self) -> list[Tensor]:
        """What is trained of the norms and of the maps, in the order of the fields."""
        norms = [tensor for each in self.norms for tensor in each.parameters() if tensor.requires_grad]
        return [*norms, *(tensor for each in (self.qkv, self.out_proj, self.up, self.down) for tensor in each.trained)]


def possible(decoder: nn.Module, device: torch.device) -> bool:
    """Tells whether `run` can run it: GPT-NeoX as Pythia has it, on a CPU, no dropout."""
    config = decoder.config
    if device.type != "cpu" or config.model_type != "gpt_neox" or not config.attention_bias:
        return False
    if config.attention_dropout or config.hidden_dropout or not config.use_parallel_residual:
        return False
    return all(known(block) for block in decoder.layers)


def known(block: nn.Module) -> bool:
    """Tells whether Parts hold all that this block computes and trains: nothing is wrapped, hooked or added to."""
    if type(block) is not GPTNeoXLayer or type(block.mlp.act) is not GELUActivation:
        return False
    norms, maps = (block.input_layernorm, block.post_attention_layernorm), maps_of(block)
    if any(type(each) is not nn.LayerNorm for each in norms) or any(type(each) not in MAPS for each in maps):
        return False
    if type(block.attention) is not GPTNeoXAttention or type(block.mlp) is not GPTNeoXMLP:
        return False
    if any(each._forward_hooks or each._forward_pre_hooks for each in block.modules()):
        return False
    trained = {id(tensor) for tensor in Parts.of(block).trained}
    return all(id(each) in trained for each in block.parameters() if each.requires_grad)


def run(decoder: nn.Module, states: Tensor, lengths: Tensor, padding: int, bf16: bool = False) -> Tensor:
    """Run the blocks of `decoder` and its final norm.

    states: of all tokens, text by text [tokens, width] -> the same shape; lengths: [texts]; padding: tokens that may be
    filled up where texts are attended to together; bf16: see Parts.
    """
    cos, sin = decoder.rotary_emb(states, torch.arange(int(lengths.max()))[None])
    row = make_row(lengths.tolist(), cos[0], sin[0], padding, decoder.config.num_attention_heads)
    for block in decoder.layers:
        if isinstance(block, GPTNeoXLayer):  # else its place alone is kept
            parts = Parts.of(block, bf16)
            with_graph = torch.is_grad_enabled()
            states = Block.apply(states, parts, row, *parts.trained) if with_graph else forward(states, parts, row)[0]
    return decoder.final_layer_norm(states)


def norm(module: nn.LayerNorm, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the states normed, and the mean and the inverse deviation of each token."""
    return torch.native_layer_norm(states, module.normalized_shape, module.weight, module.bias, module.eps)


def forward(
    states: Tensor, parts: Parts, row: Row, attended: list[Any] | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Returns the block's states, and of those on the way what `Block.backward` needs. attended: see `attend`.

    Normed states and activations are made again there: that takes no longer than fetching them from memory, and the
    graph of a step is a third smaller.
    """
    first, second = parts.norms
    normed, mean, scale = norm(first, states)
    heads = through(parts.qkv, normed, parts).to(states.dtype).view(len(states), parts.heads, 3, -1)
    mixed = parts.cast(attend(heads, row, parts.scale, attended))
    wide = through(parts.up, norm(second, states)[0], parts)
    out = states + (parts.out_proj.bias + parts.down.bias)
    add_product(out, mixed, parts.cast(parts.out_proj.weight).T)
    add_product(out, gelu(wide), parts.cast(parts.down.weight).T)
    return out, (states, mean, scale, mixed, wide)


def through(part: Plain | Adapted, states: Tensor, parts: Parts) -> Tensor:
    """Returns the map's outputs [tokens, outputs], in the type of products."""
    return linear(parts.cast(states), parts.cast(part.weight), parts.cast(part.bias))


def add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out += left @ right, in one pass where all are of one type."""
    if left.dtype == out.dtype:
        torch.addmm(out, left, right, out=out)
    else:
        out += left @ right


class Block(torch.autograd.Function):
    """x + out_proj(attend(qkv(norm(x)))) + down(gelu(up(norm(x))))."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, parts: Parts, row: Row, *trained: Tensor) -> Tensor:
        """states: [tokens, width] -> the same shape. trained: those of `parts`, in their order."""
        attended: list[Any] = []
        out, kept = forward(states, parts, row, attended)
        ctx.save_for_backward(*kept, *(tensor for pair in attended for tensor in pair))
        ctx.parts, ctx.row = parts, row
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):
        parts, row = ctx.parts, ctx.row
        states, mean, scale, mixed, wide, *attended = ctx.saved_tensors
        cast, grad_output = parts.cast, parts.cast(gradient)
        to_down = parts.down.gradients(grad_output, lambda: gelu(wide))
        to_wide = grad_output @ cast(parts.down.weight)
        torch.ops.aten.gelu_backward.grad_input(to_wide, wide, grad_input=to_wide)
        to_up = parts.up.gradients(to_wide, lambda: cast(norm(parts.norms[1], states)[0]))
        to_out_proj = parts.out_proj.gradients(grad_output, lambda: mixed)
        pairs = list(zip(attended[::2], attended[1::2], strict=True))
        to_mixed = (grad_output @ cast(parts.out_proj.weight)).to(states.dtype)
        to_heads = cast(attend_back(to_mixed, row, parts.scale, pairs, parts.heads).flatten(1))
        to_qkv = parts.qkv.gradients(to_heads, lambda: cast(norm(parts.norms[0], states)[0]))
        below = ctx.needs_input_grad[0]
        grad_input, to_norms = gradient if below else None, []
        for each, above, part in zip(parts.norms, (to_heads, to_wide), (parts.qkv, parts.up), strict=True):
            wanted = [below, each.weight.requires_grad, each.bias.requires_grad]
            if any(wanted):
                to_normed = (above @ cast(part.weight)).to(states.dtype)
                saved = (to_normed, states, each.normalized_shape, mean, scale, each.weight, each.bias)
                to_states, *to_norm = torch.ops.aten.native_layer_norm_backward(*saved, wanted)
                to_norms += [each for each in to_norm if each is not None]
                grad_input = to_states.add_(grad_input) if below else None
        return grad_input, None, None, *to_norms, *to_qkv, *to_out_proj, *to_up, *to_down
