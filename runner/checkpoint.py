"""Exact restart: a training's whole state in one safetensors file, written under a temporary name and renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


def save(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, record: dict) -> None:
    """Write trainable parameters, optimiser state, random state and `record` (JSON: key, step, curve, ...).

    Parameters that receive no gradient are not written: they are those of the pretrained model.
    """
    tensors = {f"model.{name}": value.detach() for name, value in module.named_parameters() if value.requires_grad}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(contiguous, temporary, metadata={"record": json.dumps(record)})
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())  # else a power cut may leave the name without its content
    os.replace(temporary, path)


def load(path: Path, key: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Restore what `save` wrote into `module` and `optimizer`; returns the record.

    Raises ValueError when the checkpoint belongs to another training than `key` or is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads(file.metadata()["record"])
            if record["key"] != key:
                raise ValueError(f"{path}: is a checkpoint of {record['key']}, not of {key}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path}: is damaged, delete it to start without: {error}") from None
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(tensors[f"model.{name}"])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": _optimizer_state(tensors)})
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return record


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".")
            state.setdefault(int(index), {})[field] = value
    return state
