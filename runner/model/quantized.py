"""Backbones in 4 bits, by bitsandbytes (the extra `quantized`)."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from peft.tuners.lora import Embedding, LoraLayer
from torch import nn
from transformers import BitsAndBytesConfig


def quantization() -> BitsAndBytesConfig:
    """Returns how a backbone is kept. Raises ValueError when the library is not there."""
    if find_spec("bitsandbytes") is None:
        raise ValueError("method qlora keeps the backbone in 4 bits: pip install 'recipe-planner[quantized]'")
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)


@torch.no_grad()
def merge_unpacked(adapted: nn.Module, backbone: nn.Module) -> nn.Module:
    """Give `backbone` (in fp32, untouched) the weights of `adapted`, unpacked from 4 bits, adapters merged; return it.

    Merging in 4 bits would round the adapters away; merging into the original weights would give another model than
    the one that was trained. Raises ValueError for an adapter that is more than a sum.
    """
    from bitsandbytes.functional import dequantize_4bit

    plain = dict(backbone.named_modules())
    for name, module in adapted.get_base_model().named_modules():
        if isinstance(module, nn.Embedding) and name in plain:  # it is not packed, and may have been trained
            plain[name].weight.copy_(module.weight)
        elif isinstance(module, Embedding):
            plain[name].weight.copy_(module.weight + module.get_delta_weight("default"))
        elif isinstance(module, LoraLayer):
            if module.lora_variant:
                raise ValueError(f"{name}: only LoRA itself is merged out of 4 bits, not {module.lora_variant}")
            packed = module.get_base_layer().weight
            weight = dequantize_4bit(packed.data, packed.quant_state).to(torch.float32)
            plain[name].weight.copy_(weight + module.get_delta_weight("default"))
    return backbone
