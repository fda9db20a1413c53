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
from runner.training.fsdp import full_tensor, shard_like
from sweeps.support.atomic import replacing

FILE_NAMES = {"logit_scale": "sharpness"}  # in files, which the first ones called so


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the parameters that receive a gradient, by their names in files."""
    return {FILE_NAMES.get(name, name): value for name, value in module.named_parameters() if value.requires_grad}


def save(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, record: dict, ranks: Ranks = ALONE) -> None:
    """Write trainable parameters, optimiser state, random state and `record` (JSON: key, step, curve, ...).

    Parameters that receive no gradient are not written: they are those of the pretrained model. All ranks call it,
    because sharded ones gather what they have; rank 0 writes the same file as a process that trains alone.
    """
    tensors = {f"model.{name}": value.detach() for name, value in trained_parameters(module).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    contiguous = {}
    for name, value in tensors.items():
        gathered = full_tensor(value.detach())
        if ranks.rank == 0:
            contiguous[name] = gathered.cpu().contiguous()
    if ranks.rank:
        return
    write_tensors(path, contiguous, record)


def write_tensors(path: Path, tensors: dict[str, Tensor], record: dict) -> None:
    """Write one safetensors file with a JSON `record`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"record": json.dumps(record)})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of `write_tensors`. Raises ValueError when the file is damaged."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: is damaged: {error}") from None


def key_of(path: Path) -> str:
    """Returns the key of the training that a checkpoint is of, "" without one. Raises ValueError when it is damaged."""
    return str(read_record(path)["key"]) if path.exists() else ""


def read_record(path: Path) -> dict[str, Any]:
    """Returns the record in a file of `write_tensors`. Raises ValueError when the file is damaged."""
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
    """Read one tensor at a time, of which a sharded rank keeps its part. file: what `safe_open` gave."""
    for name, parameter in trained_parameters(module).items():
        parameter.copy_(shard_like(file.get_tensor(f"model.{name}"), parameter))
    names = list(file.keys())  # in one order on all ranks, which gather the state again in it
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name in names:
        if name.startswith("optimizer."):
            _, index, field = name.split(".")
            state.setdefault(int(index), {})[field] = shard_like(file.get_tensor(name), parameters[int(index)])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    torch.set_rng_state(file.get_tensor("random.cpu"))
    if "random.cuda" in names and torch.cuda.is_available():
        torch.cuda.set_rng_state(file.get_tensor("random.cuda"))
