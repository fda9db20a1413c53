"""Weights of models in folders, read one tensor at a time: whole models, and LoRA and DoRA adapters worked in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from runner.export.sentence_transformers import read_pooling
from sweeps.models import read_object
from sweeps.support.checks import number
from sweeps.support.json_io import refuse_special

PREFIXES = ("gpt_neox.", "model.", "language_model.", "transformer.")  # of a backbone inside a language model
ADAPTED = "base_model.model."  # stands before the names of an adapter
MAGNITUDE = "lora_magnitude_vector"
OF_TABLE = "lora_embedding_"  # begins the parts of a token table's adapter
BASE = "base_layer"  # a table as it was before, which peft may write beside its adapter
PARTS = ("lora_A", "lora_B", MAGNITUDE, BASE)  # what an adapter may hold of a map or of the token table
HEADS = ("lm_head.", "embed_out.")  # what a language model has besides


@dataclass(frozen=True)
class Weights:
    """A model's tensors by name, read one at a time."""

    folder: Path
    """Where they lie, for messages."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of each tensor."""
    read: Callable[[str], Tensor]
    """Returns one tensor as it is stored."""
    config: dict[str, Any]
    """The model's config.json; empty for weights that are no folder."""

    def get(self, name: str) -> Tensor:
        """Returns a tensor in fp64, so that what is added and taken away again leaves the bits it found."""
        return self.read(name).to(torch.float64)


def open_weights(folder: Path, base: Weights | None = None) -> Weights:
    """Returns the weights in `folder`; those of an adapter are the `base` plus its dense difference.

    Raises ValueError naming what is missing or damaged, and an adapter without a base.
    """
    refuse_special(folder)
    if (folder / "adapter_config.json").exists():
        if base is None:
            raise ValueError(f"{folder}: holds an adapter; the base must be a whole model")
        return _adapted(folder, base)
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder}: holds no model (no config.json)")
    places = _places(folder)

    def read(name: str) -> Tensor:
        path, stored = places[name]
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(stored)

    return Weights(
        folder, {name: _shape(*place) for name, place in places.items()}, read, read_object(folder / "config.json")
    )


def weights_of(tensors: Mapping[str, Tensor], name: str) -> Weights:
    """Returns weights that lie in memory, those of a backbone by its own names. name: of the model, for messages."""
    shapes = {tensor_name: tuple(tensor.shape) for tensor_name, tensor in tensors.items()}
    return Weights(Path(name), shapes, lambda tensor_name: tensors[tensor_name].detach(), {})


def open_file(path: Path) -> Weights:
    """Returns the weights in one safetensors file. Raises ValueError when it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: is damaged: {error}") from None

    def read(name: str) -> Tensor:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(name)

    return Weights(path, shapes, read, {})


def _places(folder: Path) -> dict[str, tuple[Path, str]]:
    """Returns the file and stored name of every tensor of the backbone, by its plain name."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ValueError(f"{folder}: has no model.safetensors; only safetensors are read")
    places = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                stored = list(file.keys())
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: is damaged: {error}") from None
        for name in stored:
            if not name.startswith(HEADS):
                places[_plain(name)] = (path, name)
    return places


def _plain(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _shape(path: Path, name: str) -> tuple[int, ...]:
    with safe_open(path, framework="pt") as file:
        return tuple(file.get_slice(name).get_shape())


def _adapted(folder: Path, base: Weights) -> Weights:
    """Returns the base with the adapter worked in: scale * B A added where it has both, rows rescaled where it has
    magnitudes (DoRA). Merging A and B alone is something else."""
    file = folder / "adapter_config.json"
    settings = read_object(file)
    rank, alpha = (number(f"{file}: {name}", settings.get(name)) for name in ("r", "lora_alpha"))
    scale = alpha / (rank**0.5 if settings.get("use_rslora") else rank)
    transposed = bool(settings.get("fan_in_fan_out"))
    path = folder / "adapter_model.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            stored = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: is damaged: {error}") from None
    parts: dict[str, dict[str, str]] = {}
    tables = set()
    for name in stored:
        module, _, part = name.removeprefix(ADAPTED).removesuffix(".weight").rpartition(".")
        plain = _plain(module) + ".weight"
        if part.startswith(OF_TABLE):
            tables.add(plain)
            part = part.replace(OF_TABLE, "lora_")
        if part not in PARTS:
            raise ValueError(f"{path}: holds {name}, which is none of {', '.join(PARTS)}; it cannot be merged")
        if plain not in base.shapes:
            raise ValueError(f"{folder}: adapts {plain}, which {base.folder} does not have")
        parts.setdefault(plain, {})[part] = name
    if half := [name for name, known in parts.items() if not {"lora_A", "lora_B"} <= known.keys()]:
        raise ValueError(
            f"{path}: of {half[0]} it holds {', '.join(parts[half[0]])} alone; lora_A and lora_B are needed"
        )

    def read(name: str) -> Tensor:
        if name not in parts:
            return base.read(name)
        with safe_open(path, framework="pt") as file:
            given = {part: file.get_tensor(each).to(torch.float64) for part, each in parts[name].items()}
        change = scale * (given["lora_B"] @ given["lora_A"])
        flipped = transposed or name in tables  # the weight has a row for each input
        weight = given[BASE] if BASE in given else base.get(name)
        summed = weight + (change.T if flipped else change)
        if MAGNITUDE not in given:
            return summed
        rows = 0 if flipped else 1  # of one output lie along this dimension
        return summed * (given[MAGNITUDE] / summed.norm(dim=rows)).unsqueeze(rows)

    return Weights(folder, base.shapes, read, base.config)


def must_agree(base: Weights, models: list[Weights]) -> None:
    """Raises ValueError naming the tensor, the setting or the file in which a model is unlike the base."""
    for model in models:
        for name in sorted(base.shapes.keys() | model.shapes.keys()):
            here, there = model.shapes.get(name), base.shapes.get(name)
            if here != there:
                mine = "is missing" if here is None else f"has shape {here}"
                theirs = "is not there" if there is None else f"has {there}"
                raise ValueError(f"{model.folder}: {name} {mine}; in {base.folder} it {theirs}")
        for setting in ("model_type", "num_attention_heads", "hidden_act", "rope_theta"):
            if model.config.get(setting) != base.config.get(setting):
                raise ValueError(
                    f"{model.folder}: {setting} is {model.config.get(setting)!r}, in {base.folder} "
                    f"{base.config.get(setting)!r}: another base"
                )
    first = models[0].folder
    for model in models[1:]:
        for name, read in (("tokenizer.json", _tokenizer), ("1_Pooling/config.json", _pooling)):
            if read(model.folder) != read(first):
                raise ValueError(f"{model.folder / name}: differs from {first / name}; such models cannot be merged")


def _tokenizer(folder: Path) -> Any:
    """Returns what decides a text's ids: where texts are cut and padded is said elsewhere too."""
    path = folder / "tokenizer.json"
    content = read_object(path) if path.exists() else {}
    return {key: value for key, value in content.items() if key not in ("truncation", "padding", "version")}


def _pooling(folder: Path) -> str | None:
    return read_pooling(folder) if (folder / "1_Pooling").exists() else None
