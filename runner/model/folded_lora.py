"""Low-rank adapters folded into the weight: one dense product forward and one back, thin products for the adapter.

peft adds two thin products to every dense one, which costs more time than the frozen weights' missing gradients save.
Folding W + sBA once a step is the same function, and its gradients need no more than the thin products below. FOLDED
lists the kinds of adapter that are known to be such a function; whatever else peft puts into a model, peft runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from types import NoneType
from typing import Any

import torch
from peft.tuners.lora import Linear, LoraLayer
from peft.tuners.lora.variants import DoraLinearVariant
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.models.falcon.modeling_falcon import FalconLinear
from transformers.pytorch_utils import Conv1D

MAPS = (nn.Linear, Conv1D, FalconLinear)  # all x W' + b; GPT-2's Conv1D keeps W transposed (peft: fan_in_fan_out)
ADAPTER = "default"  # peft's name for the only one


def fold(backbone: nn.Module) -> None:
    """Let every adapter in `backbone` that is known to be foldable run folded. Names and parameters stay peft's own."""
    for module in backbone.modules():
        if kind := _folded_kind(module):
            module.__class__ = kind  # a wrapper would hide the adapter from peft's merging and saving


def _folded_kind(module: nn.Module) -> type[Folding] | None:
    """Returns how this module runs folded; None where it is no adapter, or may compute or train something else."""
    if type(module) is not Linear or type(module.base_layer) not in MAPS:
        return None
    if not is_plain(module, module.lora_A) or module.lora_bias[ADAPTER]:
        return None
    return FOLDED.get(type(module.lora_variant.get(ADAPTER)))


def is_plain(module: LoraLayer, adapters: Iterable[str]) -> bool:
    """Tells whether an adapted module has one adapter, in use and without dropout, and its base stays as it is.

    adapters: names of those that it has.
    """
    if list(adapters) != [ADAPTER] or module.active_adapters != [ADAPTER]:
        return False
    if module.disable_adapters or module.merged or type(module.lora_dropout[ADAPTER]) is not nn.Identity:
        return False
    return not any(parameter.requires_grad for parameter in module.base_layer.parameters())


def unfold(backbone: nn.Module) -> None:
    """Let all adapters run as peft runs them."""
    for module in backbone.modules():
        if isinstance(module, Folding):
            module.__class__ = Linear


def refold(backbone: nn.Module) -> None:
    """Forget the folded weights. A fused optimiser changes parameters without marking them as changed."""
    for module in backbone.modules():
        if isinstance(module, Folding):
            module._folded_from = None


class Folding(Linear):
    """peft's adapted linear map with W + sBA made once a step, for as long as A and B stay what they are."""

    _folded_from: tuple[Any, ...] | None
    """What tells whether A and B are those that `_folded` was made from."""
    _folded: tuple[Tensor, ...]
    """What `_make` gave."""

    @property
    def adapter(self) -> tuple[Tensor, Tensor]:
        """A [rank, inputs] and B [outputs, rank]."""
        return self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight

    @property
    def scale(self) -> float:
        """s, by which their product counts."""
        return self.scaling[ADAPTER]

    @property
    def folded(self) -> Tensor:
        """W + sBA [outputs, inputs]."""
        return self.folded_once_a_step()[0]

    def folded_once_a_step(self) -> tuple[Tensor, ...]:
        """Returns what `_make` gives, made anew when the adapter has changed."""
        lora_a, lora_b = self.adapter
        if torch.compiler.is_compiling():  # what is kept would be compiled anew for every map it is kept in
            return self._make(lora_a, lora_b)
        # Loading a checkpoint or moving the module changes one of these; see `refold` for an optimiser's step.
        folded_from = (lora_a._version, lora_b._version, lora_b.data_ptr(), lora_b.dtype)
        if getattr(self, "_folded_from", None) != folded_from:
            self._folded, self._folded_from = self._make(lora_a, lora_b), folded_from
        return self._folded

    @torch.no_grad()
    def _make(self, lora_a: Tensor, lora_b: Tensor) -> tuple[Tensor, ...]:
        """Returns W + sBA, and what else follows from it alone."""
        # The sum of the weights stays in fp32.
        with torch.autocast(lora_b.device.type, enabled=False) if _under_autocast(lora_b) else nullcontext():
            weight = self.base_layer.weight.T if self.fan_in_fan_out else self.base_layer.weight
            return (torch.addmm(weight, lora_b, lora_a, alpha=self.scale),)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (W + sBA)' + b, with its gradients. x: [..., inputs] -> [..., outputs]."""
        lora_a, lora_b = self.adapter
        if _under_autocast(x):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight, lora_a, lora_b = (tensor.to(kind) for tensor in (x, weight, lora_a, lora_b))
            bias = None if bias is None else bias.to(kind)
        return FoldedProduct.apply(x, weight, bias, lora_a, lora_b, self.scale)


class FoldedLora(Folding):
    """LoRA: x (W + sBA)' + b."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.product(x, self.folded, self.base_layer.bias)


class FoldedDora(Folding):
    """DoRA: x (m (W + sBA) / |W + sBA|)' + b, |.| of each row, which is a constant to the gradients (section 4.3)."""

    @torch.no_grad()
    def _make(self, lora_a: Tensor, lora_b: Tensor) -> tuple[Tensor, ...]:
        (weight,) = super()._make(lora_a, lora_b)
        return weight, torch.linalg.vector_norm(weight, dim=1)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        weight, norms = self.folded_once_a_step()
        product, bias = self.product(x, weight, None), self.base_layer.bias
        # Not in 16 bits: what a few steps change in m is less than they can tell.
        rescaled = product * (self.lora_magnitude_vector[ADAPTER].weight / norms)
        return (rescaled if bias is None else rescaled + bias).to(product.dtype)


# By peft's variant of its LoRA; NoneType is LoRA itself.
FOLDED: dict[type, type[Folding]] = {NoneType: FoldedLora, DoraLinearVariant: FoldedDora}


def _under_autocast(tensor: Tensor) -> bool:
    """Tells whether autocast casts products of `tensor` to a lower precision. It knows nothing of the meta device."""
    return tensor.device.type != "meta" and torch.is_autocast_enabled(tensor.device.type)


class FoldedProduct(torch.autograd.Function):
    """y = x (W + sBA)' + b, with gradients to x, A and B. All products in the type of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, lora_a: Tensor, lora_b: Tensor, scale: float):
        """weight: W + sBA [outputs, inputs]; lora_a: A [rank, inputs]; lora_b: B [outputs, rank]."""
        ctx.save_for_backward(x, weight, lora_a, lora_b)
        ctx.scale = scale
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):
        x, weight, lora_a, lora_b = ctx.saved_tensors
        flat = gradient.flatten(0, -2)  # [tokens, outputs]
        to_a, to_b = adapter_gradients(flat, x.flatten(0, -2), lora_a, lora_b, ctx.scale)
        to_x = (flat @ weight).view_as(x) if ctx.needs_input_grad[0] else None
        return to_x, None, None, to_a, to_b, None


def adapter_gradients(
    grad_output: Tensor, inputs: Tensor, lora_a: Tensor, lora_b: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Returns the gradients to A and B. grad_output: gradient to the outputs [tokens, outputs]; inputs: [tokens,
    inputs]."""
    thin = grad_output @ lora_b  # [tokens, rank]
    return scale * (thin.T @ inputs), scale * (grad_output.T @ (inputs @ lora_a.T))
