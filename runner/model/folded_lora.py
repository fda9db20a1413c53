"""Low-rank adapters folded into the weight: one dense product forward and one back, thin products for the adapter.

peft adds two thin products to every dense one, which costs more time than the frozen weights' missing gradients save.
Folding W + sBA once a step is the same function, and its gradients need no more than the thin products below.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn.functional import linear

ADAPTER = "default"  # peft's name for the only one


def fold(backbone: nn.Module) -> None:
    """Let every low-rank adapter that peft put into `backbone` run folded. Names and parameters stay peft's own."""
    for module in backbone.modules():
        if type(module) is Linear:
            module.__class__ = FoldedLinear  # a wrapper would hide the adapter from peft's merging and saving


def unfold(backbone: nn.Module) -> None:
    """Let them run as peft does."""
    for module in backbone.modules():
        if isinstance(module, FoldedLinear):
            module.__class__ = Linear


def refold(backbone: nn.Module) -> None:
    """Forget the folded weights. A fused optimiser changes parameters without marking them as changed."""
    for module in backbone.modules():
        if isinstance(module, FoldedLinear):
            module._made_from = None


class FoldedLinear(Linear):
    """peft's adapted linear map, computed as one dense product. Without dropout, as `sweeps.methods.LoRA` makes it."""

    @property
    def adapter(self) -> tuple[Tensor, Tensor]:
        """A [rank, inputs] and B [outputs, rank]."""
        return self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight

    @property
    def scale(self) -> float:
        """s, by which their product counts."""
        return self.scaling[ADAPTER]

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """x: [..., inputs] -> [..., outputs]."""
        (down, up), weight, bias = self.adapter, self.folded, self.base_layer.bias
        if _under_autocast(x):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight, down, up = (tensor.to(kind) for tensor in (x, weight, down, up))
            bias = None if bias is None else bias.to(kind)
        return Folded.apply(x, weight, bias, down, up, self.scale)

    @property
    def folded(self) -> Tensor:
        """W + sBA [outputs, inputs]."""
        down, up = self.adapter
        if torch.compiler.is_compiling():  # what is kept would be compiled anew for every map it is kept in
            return self._fold(down, up)
        # Loading a checkpoint or moving the module changes one of these; see `refold` for an optimiser's step.
        made_from = (down._version, up._version, up.data_ptr(), up.dtype)
        if getattr(self, "_made_from", None) != made_from:
            self._weight, self._made_from = self._fold(down, up), made_from
        return self._weight

    @torch.no_grad()
    def _fold(self, down: Tensor, up: Tensor) -> Tensor:
        # The sum of the weights stays in fp32.
        with torch.autocast(up.device.type, enabled=False) if _under_autocast(up) else nullcontext():
            return torch.addmm(self.base_layer.weight, up, down, alpha=self.scale)


def _under_autocast(tensor: Tensor) -> bool:
    """Whether autocast casts products of `tensor` to a lower precision. It knows nothing of the meta device."""
    return tensor.device.type != "meta" and torch.is_autocast_enabled(tensor.device.type)


class Folded(torch.autograd.Function):
    """y = x (W + sBA)' + b, with gradients to x, A and B. All products in the type of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float):
        """weight: W + sBA [outputs, inputs]; down: A [rank, inputs]; up: B [outputs, rank]."""
        ctx.save_for_backward(x, weight, down, up)
        ctx.scale = scale
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):
        x, weight, down, up = ctx.saved_tensors
        flat = gradient.flatten(0, -2)  # [tokens, outputs]
        to_down, to_up = adapter_gradients(flat, x.flatten(0, -2), down, up, ctx.scale)
        to_x = (flat @ weight).view_as(x) if ctx.needs_input_grad[0] else None
        return to_x, None, None, to_down, to_up, None


def adapter_gradients(arriving: Tensor, given: Tensor, down: Tensor, up: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """To A and B. arriving: gradient to the outputs [tokens, outputs]; given: [tokens, inputs]."""
    thin = arriving @ up  # [tokens, rank]
    return scale * (thin.T @ given), scale * (arriving.T @ (given @ down.T))
