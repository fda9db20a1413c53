"""Pretrained weights: every one that the decoder has is in the files, and is what the files hold, or it is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from runner.data.tokenizer import unavailable
from runner.model.quantized import quantization
from sweeps.methods import blocks_of
from sweeps.models import ModelSpec

WHAT = "its weights cannot be loaded"


def load_backbone(model: ModelSpec, bits: int = 0, device: str = "cpu") -> PreTrainedModel:
    """Returns the pretrained backbone, in fp32 or its linear maps in 4 `bits`.

    Raises ValueError, naming the folder and the file or the weight, when it cannot be had, or when a weight of the
    decoder is not in the files under its name and of its shape: transformers would make it at random.
    """
    options: dict[str, Any] = {"dtype": torch.float32}
    if bits:
        options |= {"quantization_config": quantization(), "device_map": {"": device}}
    _must_be_whole(Path(model.source))
    try:
        config = AutoConfig.from_pretrained(model.source, trust_remote_code=False)
        _without_dropout(config)
        loaded, told = AutoModel.from_pretrained(
            model.source,
            config=config,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, in one line
            **options,
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a damaged file raises whatever its reader does
        raise unavailable(model.source, WHAT, error) from None
    decoder: PreTrainedModel = getattr(loaded, "language_model", loaded)  # one that sees images too: the decoder alone
    _must_match(model.source, decoder, told)
    # The row of a padding token would have no gradient, and it may be the end token's too.
    decoder.get_input_embeddings().padding_idx = None
    return decoder


def _without_dropout(config: PreTrainedConfig) -> None:
    """Set every dropout to 0: gradient caching embeds texts twice, and both times must be alike."""
    for part in (config, config.get_text_config()):
        for name, value in part.to_dict().items():
            if name.endswith(("dropout", "pdrop")) and isinstance(value, int | float):
                setattr(part, name, 0.0)


def _must_be_whole(folder: Path) -> None:
    """Raises ValueError naming a weight file of a local folder that is not whole."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file}: is damaged or cut off: {error}") from None


def _must_match(source: str, decoder: PreTrainedModel, told: dict[str, Any]) -> None:
    """Raises ValueError for weights that the files do not hold, or not in this shape, and for blocks that are left
    over. told: what transformers says of the loading."""
    held, missing = sorted(told["unexpected_keys"]), sorted(told["missing_keys"])
    if missing:
        count = len(list(decoder.state_dict()))
        others = f"; they hold {held[0]}" if held else ""
        raise ValueError(
            f"{source}: {len(missing)} of {count} weights of the decoder are not in its files (the first: "
            f"{missing[0]}){others}"
        )
    if mismatched := sorted(told["mismatched_keys"]):
        name, shape, wanted = mismatched[0]
        raise ValueError(f"{source}: {name} has shape {_shown(shape)} in its files, {_shown(wanted)} by config.json")
    places = [int(place[1]) for name in held if (place := re.search(r"(?:^|\.)(?:layers|h)\.(\d+)\.", name))]
    if (beyond := max(places, default=-1)) >= len(blocks_of(decoder)):
        raise ValueError(
            f"{source}: its files hold block {beyond + 1}, by config.json it has {len(blocks_of(decoder))} blocks"
        )


def _shown(shape: Any) -> str:
    return " x ".join(map(str, shape))
