"""Backbones for tests, built by transformers from a shape alone: on torch's meta device, which holds no numbers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from sweeps.methods import METHODS, Method
from sweeps.models import NANO_FOLDER, SUITES, ModelSpec

# Of every method the settings that it names itself, and of the first of them whatever else the token table may be.
OWN_EXAMPLES = [kind(**settings) for kind in METHODS.values() for settings in kind.examples]
TABLE_EXAMPLES = [
    kind(**kind.examples[0], token_table=table)
    for kind in METHODS.values()
    for table in kind.token_tables()
    if table != kind().token_table
]
METHOD_EXAMPLES = OWN_EXAMPLES + TABLE_EXAMPLES
# Of architectures that no suite has.
OTHERS = [
    ModelSpec("mistral-7b", "mistral", 32, 4096, 32, 8, 128, 14336, 32000, 32768),
    ModelSpec("gemma2-2b", "gemma2", 26, 2304, 8, 4, 256, 9216, 256000, 8192, tied=True),
    ModelSpec("phi3-mini", "phi3", 32, 3072, 32, 32, 96, 8192, 32064, 4096),
    ModelSpec("olmo3-7b", "olmo3", 32, 4096, 32, 32, 128, 11008, 100278, 65536),
    ModelSpec("smollm3-3b", "smollm3", 36, 2048, 16, 4, 128, 11008, 128256, 65536, tied=True),
    ModelSpec("gpt2", "gpt2", 12, 768, 12, 12, 64, 3072, 50257, 1024, tied=True),
    ModelSpec("falcon-7b", "falcon", 32, 4544, 71, 1, 64, 18176, 65024, 2048, tied=True),
    ModelSpec("granite-3.1-2b", "granite", 40, 2048, 32, 8, 64, 8192, 49155, 131072, tied=True),
]
TINY = {"layers": 3, "width": 32, "heads": 4, "kv_heads": 2, "head_dim": 8, "mlp_width": 48, "vocab": 90, "source": ""}
WINDOW = 8  # tokens that the sliding layers of a model see
EVERY_MODEL = [model for suite in SUITES.values() for model in suite] + OTHERS
OF_ARCHITECTURE = {model.architecture: model for model in EVERY_MODEL}  # the last one of each
UNGROUPED = ("gpt_neox", "gpt2", "modernbert-decoder")  # these have as many key heads as query heads


def tiny_shape(architecture: str, **changes: Any) -> ModelSpec:
    """Three narrow blocks of an architecture."""
    model = replace(OF_ARCHITECTURE[architecture], **TINY | changes)
    kv_heads = {"falcon": 1, **dict.fromkeys(UNGROUPED, model.heads)}
    return replace(model, kv_heads=kv_heads.get(architecture, model.kv_heads))


def examples_for(model: ModelSpec) -> list[Method]:
    """The first example of each method that can tune `model` on this machine."""
    first = [kind(**kind.examples[0]) for kind in METHODS.values()]
    quantizes = find_spec("bitsandbytes") is not None
    return [method for method in first if not method.refusal(model) and (quantizes or not method.bits)]


def shallow(model: ModelSpec, layers: int = 3) -> ModelSpec:
    """The same blocks, fewer of them."""
    return replace(model, layers=layers, source="")


def narrow(model: ModelSpec) -> ModelSpec:
    """The same blocks: as many heads, of 8 dimensions each, all else as much narrower, and a small vocabulary."""
    by = model.head_dim // 8
    return replace(model, width=model.width // by, head_dim=8, mlp_width=model.mlp_width // by, vocab=512, source="")


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
    if model.architecture in ("falcon", *UNGROUPED):
        del shape["num_key_value_heads"], shape["head_dim"]
    shape = {model.family.keys.get(key, key): value for key, value in shape.items()}
    none = 0 if model.architecture == "modernbert-decoder" else None  # it must have some
    special = {"bos_token_id": none, "eos_token_id": none, "pad_token_id": none}
    config = AutoConfig.for_model(model.architecture, **shape, **special)
    for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop"):  # of GPT-2; a model that is loaded has none
        setattr(config, name, 0.0)
    with torch.device(device):
        return AutoModel.from_config(config, attn_implementation="eager")


def outside_embeddings(backbone: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    """Its parameters by name, the tables of tokens and positions and their adapters left out as in N and T."""
    tables = [
        module for module in backbone.modules() if isinstance(module, torch.nn.Embedding | peft.tuners.lora.Embedding)
    ]
    apart = {id(parameter) for table in tables for parameter in table.parameters()}
    return [(name, parameter) for name, parameter in backbone.named_parameters() if id(parameter) not in apart]


def count(parameters: list[tuple[str, torch.nn.Parameter]], trainable: bool = False) -> int:
    return sum(parameter.numel() for _, parameter in parameters if parameter.requires_grad or not trainable)


def tiny(architecture: str) -> PreTrainedModel:
    """Three narrow blocks of an architecture on the CPU, fp32; sliding layers see WINDOW tokens."""
    torch.manual_seed(0)
    backbone = build(tiny_shape(architecture), "cpu").float()
    for part in (backbone.config, *backbone.modules()):
        if getattr(part, "sliding_window", None):
            part.sliding_window = WINDOW
    return backbone


def write_base(architecture: str, folder: Path, **changes: Any) -> Path:
    """Write a small model of an architecture with random weights and nano's tokenizer. changes: to its config."""
    torch.manual_seed(0)
    shape = tiny_shape(architecture, width=64, head_dim=16, mlp_width=128, vocab=4096, context=256)
    config = build(shape).config
    for key, value in changes.items():
        setattr(config, key, value)
    AutoModel.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(NANO_FOLDER / "nano-7k" / name, folder)
    return folder
