"""Weights of models in folders, read one tensor at a time: whole models, and LoRA adapters as dense differences."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

PREFIXES = ("gpt_neox.", "model.", "language_model.", "transformer.")  # of a backbone inside a language model
HEADS = ("lm_head.", "embed_out.")  # what a language model has besides


@dataclass(frozen=True)
class Weights:
    """A model's tensors by name. shapes: of each; read: one of them, as it lies on disk. config: config.json."""

    folder: Path
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], Tensor]
    config: dict[str, Any]

    def get(self, name: str) -> Tensor:
        """In fp64, so that what is added and taken away again leaves the bits it found."""
        return self.read(name).to(torch.float64)


def open_weights(folder: Path, base: Weights | None = None) -> Weights:
    """The weights in `folder`; those of an adapter are the `base` plus its dense difference.

    Raises ValueError naming what is missing or damaged, and an adapter without a base.
    """
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
        folder, {name: _shape(*place) for name, place in places.items()}, read, read_json(folder / "config.json")
    )


def weights_of(tensors: Mapping[str, Tensor], name: str) -> Weights:
    """Weights in memory, those of a backbone by its own names."""
    shapes = {each: tuple(tensor.shape) for each, tensor in tensors.items()}
    return Weights(Path(name), shapes, lambda each: tensors[each].detach(), {})


def open_file(path: Path) -> Weights:
    """The weights in one safetensors file. Raises ValueError when it is damaged."""
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
    """File and stored name of every tensor of the backbone."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ValueError(f"{folder}: has no model.safetensors; only safetensors are read")
    found = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                stored = list(file.keys())
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: is damaged: {error}") from None
        for name in stored:
            if not name.startswith(HEADS):
                found[_plain(name)] = (path, name)
    return found


def _plain(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _shape(path: Path, name: str) -> tuple[int, ...]:
    with safe_open(path, framework="pt") as file:
        return tuple(file.get_slice(name).get_shape())


def _adapted(folder: Path, base: Weights) -> Weights:
    """The base with scale * B A added wherever the adapter has both: merging A and B themselves is something else."""
    settings = read_json(folder / "adapter_config.json")
    rank = settings["r"]
    scale = settings["lora_alpha"] / (rank**0.5 if settings.get("use_rslora") else rank)
    path = folder / "adapter_model.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            stored = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: is damaged: {error}") from None
    pairs = {}
    for name in stored:
        if not name.endswith(".lora_A.weight"):
            continue
        plain = _plain(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")) + ".weight"
        if plain not in base.shapes:
            raise ValueError(f"{folder}: adapts {plain}, which {base.folder} does not have")
        pairs[plain] = (name, name.replace(".lora_A.", ".lora_B."))
    if len(stored) != 2 * len(pairs):
        raise ValueError(f"{path}: holds more than pairs of lora_A and lora_B; such adapters cannot be merged")

    def read(name: str) -> Tensor:
        weight = base.read(name)
        if name not in pairs:
            return weight
        with safe_open(path, framework="pt") as file:
            down, up = (file.get_tensor(each).to(torch.float64) for each in pairs[name])
        return weight.to(torch.float64) + scale * (up @ down)

    return Weights(folder, base.shapes, read, base.config)


def must_agree(base: Weights, models: list[Weights]) -> None:
    """Raises ValueError naming the tensor, the setting or the file in which a model is unlike the base."""
    for model in models:
        for name in sorted(base.shapes.keys() | model.shapes.keys()):
            here, there = model.shapes.get(name), base.shapes.get(name)
            if here != there:
                said = {None: "is missing"}.get(here, f"has shape {here}")
                raise ValueError(f"{model.folder}: {name} {said}; in {base.folder} it {_told(there)}")
        for setting in ("model_type", "num_attention_heads", "hidden_act", "rope_theta"):
            if model.config.get(setting) != base.config.get(setting):
                raise ValueError(
                    f"{model.folder}: {setting} is {model.config.get(setting)!r}, in {base.folder} "
                    f"{base.config.get(setting)!r}: another base"
                )
    first = models[0].folder
    for model in models[1:]:
        for name in ("tokenizer.json", "1_Pooling/config.json"):
            if _content(model.folder / name) != _content(first / name):
                raise ValueError(f"{model.folder / name}: differs from {first / name}; such models cannot be merged")


def _told(shape: tuple[int, ...] | None) -> str:
    return "is not there" if shape is None else f"has {shape}"


def _content(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
