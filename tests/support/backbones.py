"""Backbones for tests, built by transformers from a shape alone: on torch's meta device, which holds no numbers."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from sweeps.methods import METHODS, Method
from sweeps.models import SUITES, ModelSpec

# Of every method the settings that it names itself.
METHOD_EXAMPLES = [kind(**settings) for kind in METHODS.values() for settings in kind.examples]
QWEN2 = ModelSpec("qwen2.5-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, 32768, tied=True)  # in no suite, but read
TINY = {"layers": 3, "width": 32, "heads": 4, "kv_heads": 2, "head_dim": 8, "mlp_width": 48, "vocab": 90, "source": ""}
WINDOW = 8  # tokens that the sliding layers of a model see
EVERY_MODEL = [model for suite in SUITES.values() for model in suite] + [QWEN2]
OF_ARCHITECTURE = {model.architecture: model for model in EVERY_MODEL}  # the last one of each


def examples_for(model: ModelSpec) -> list[Method]:
    """The first example of each method that can tune `model` on this machine."""
    first = [kind(**kind.examples[0]) for kind in METHODS.values()]
    quantizes = find_spec("bitsandbytes") is not None
    return [method for method in first if not method.refusal(model) and (quantizes or not method.bits)]


def shallow(model: ModelSpec, layers: int = 3) -> ModelSpec:
    """The same blocks, fewer of them."""
    return replace(model, layers=layers, source="")


def build(model: ModelSpec, device: str = "meta") -> PreTrainedModel:
    """A transformers model of this shape with eager attention, random weights where the device holds any."""
    shape = {
        "hidden_size": model.width,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "intermediate_size": model.mlp_width,
        "vocab_size": model.vocab,
        "max_position_embeddings": model.context,
        "tie_word_embeddings": model.tied,
    }
    if model.architecture == "gpt_neox":
        del shape["num_key_value_heads"], shape["head_dim"]  # it has neither
    special = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config = AutoConfig.for_model(model.architecture, **shape, **special)
    with torch.device(device):
        return AutoModel.from_config(config, attn_implementation="eager")


def outside_embeddings(backbone: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    """Its parameters by name, the token table left out as in N and T."""
    table = backbone.get_input_embeddings().weight
    return [(name, parameter) for name, parameter in backbone.named_parameters() if parameter is not table]


def count(parameters: list[tuple[str, torch.nn.Parameter]], trainable: bool = False) -> int:
    return sum(parameter.numel() for _, parameter in parameters if parameter.requires_grad or not trainable)


def tiny(architecture: str) -> PreTrainedModel:
    """Three narrow blocks of an architecture on the CPU, fp32; sliding layers see WINDOW tokens."""
    model = replace(OF_ARCHITECTURE[architecture], **TINY)
    if architecture == "gpt_neox":
        model = replace(model, kv_heads=4)
    torch.manual_seed(0)
    backbone = build(model, "cpu").float()
    if getattr(backbone.config, "sliding_window", None):
        backbone.config.sliding_window = WINDOW
        for block in backbone.layers:
            if getattr(block.self_attn, "sliding_window", None):
                block.self_attn.sliding_window = WINDOW
    return backbone
