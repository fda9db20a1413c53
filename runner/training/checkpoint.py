"""Exact restart: a training's whole state in one safetensors file, written under a temporary name and renamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from runner.training.distributed import ALONE, Ranks
from runner.training.fsdp import like, whole
from sweeps.support.atomic import replacing


def save(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, record: dict, ranks: Ranks = ALONE) -> None:
    """Write trainable parameters, optimiser state, random state and `record` (JSON: key, step, curve, ...).

    Parameters that receive no gradient are not written: they are those of the pretrained model. All ranks call it, for
    where they are sharded they gather; rank 0 writes the same file as one that trains alone.
    """
    tensors = {f"model.{name}": value.detach() for name, value in module.named_parameters() if value.requires_grad}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    contiguous = {}
    for name, value in tensors.items():
        every = whole(value.detach())
        if ranks.rank == 0:
            contiguous[name] = every.cpu().contiguous()
    if ranks.rank:
        return
    write_tensors(path, contiguous, record)


def write_tensors(path: Path, tensors: dict[str, Tensor], record: dict) -> None:
    """One safetensors file with a JSON `record`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"record": json.dumps(record)})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of `write_tensors`. Raises ValueError when the file is damaged."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: is damaged: {error}") from None


def key_of(path: Path) -> str:
    """Of which training a checkpoint is; "" where there is none. Raises ValueError when it is damaged."""
    return str(read_record(path)["key"]) if path.exists() else ""


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file of `write_tensors`. Raises ValueError when the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads(file.metadata()["record"])
    except (SafetensorError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: is damaged, delete it to start without: {error}") from None


def load(path: Path, key: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Restore what `save` wrote into `module` and `optimizer`; returns the record.

    Raises ValueError when the checkpoint belongs to another training than `key` or is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads(file.metadata()["record"])
            if record["key"] != key:
                raise ValueError(f"{path}: is a checkpoint of {record['key']}, not of {key}")
            _restore(file, module, optimizer)
    except SafetensorError as error:
        raise ValueError(f"{path}: is damaged, delete it to start without: {error}") from None
    return record


@torch.no_grad()
def _restore(file: Any, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """file: from `safe_open`. One tensor is read at a time, of which a sharded rank keeps its part."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(like(file.get_tensor(f"model.{name}"), parameter))
    names = list(file.keys())  # in one order on all ranks, which gather the state again in it
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name in names:
        if name.startswith("optimizer."):
            _, index, field = name.split(".")
            state.setdefault(int(index), {})[field] = like(file.get_tensor(name), parameters[int(index)])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    torch.set_rng_state(file.get_tensor("random.cpu"))
    if "random.cuda" in names and torch.cuda.is_available():
        torch.cuda.set_rng_state(file.get_tensor("random.cuda"))
