"""Exact restart: a training's whole state in one safetensors file, written under a temporary name and renamed.

The file holds a checksum of each tensor and of its record. All of it is checked before anything is taken from it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from runner.libraries import disk_errors
from runner.training.distributed import ALONE, Ranks
from runner.training.fsdp import full_tensor, shard_like
from sweeps.support.atomic import replacing
from sweeps.support.json_io import open_file, parse_json

RECORD = "record"
MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW
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


class Damaged(ValueError):
    """A file of a training's state that cannot be continued from, and why."""


def write_tensors(path: Path, tensors: dict[str, Tensor], record: dict) -> None:
    """Write one safetensors file with a JSON `record`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record)
    sums = {name: checksum(value) for name, value in tensors.items()} | {RECORD: zlib.crc32(text.encode())}
    with replacing(path) as temporary, disk_errors(path):
        save_file(tensors, temporary, metadata={RECORD: text, "checksums": json.dumps(sums)})


def checksum(tensor: Tensor) -> int:
    """Returns the CRC-32 of a tensor's bytes, on the CPU."""
    return zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of `write_tensors`. Raises Damaged when the file is."""
    with _checked(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def key_of(path: Path) -> str:
    """Returns the key of the training that a checkpoint is of, "" without one. Raises Damaged when the file is."""
    return str(read_record(path)["key"]) if path.exists() else ""


def read_record(path: Path) -> dict[str, Any]:
    """Returns the record in a file of `write_tensors`. Raises Damaged when anything of the file is."""
    with _checked(path) as file:
        return _record(file, path)


@contextmanager
def _checked(path: Path) -> Iterator[Any]:
    """Yields the file opened, once all of its bytes were found to be those that were written."""
    try:
        open_file(path).close()  # refuses what is no file
        with safe_open(path, framework="pt") as file:
            _record(file, path)
            sums = parse_json((file.metadata() or {}).get("checksums", "{}"))  # the first files have none
            names = [name for name in sums if name != RECORD]
            if sums and sorted(names) != sorted(file.keys()):
                raise Damaged(f"{path}: its tensors differ from those that were written")
            for name in names:
                if checksum(file.get_tensor(name)) != sums[name]:
                    raise Damaged(f"{path}: {name} has a wrong checksum")
            yield file
    except Damaged:
        raise
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise Damaged(f"{path}: is damaged: {' '.join(str(error).split())}") from None


def _record(file: Any, path: Path) -> dict[str, Any]:
    metadata = file.metadata() or {}
    record = parse_json(metadata[RECORD])
    sums = parse_json(metadata.get("checksums", "{}"))
    if not isinstance(record, dict) or sums.get(RECORD, zlib.crc32(metadata[RECORD].encode())) != zlib.crc32(
        metadata[RECORD].encode()
    ):
        raise Damaged(f"{path}: its record has a wrong checksum")
    return record


def load(
    path: Path,
    key: str,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    check: Callable[[dict[str, Any]], object] = dict,
) -> dict[str, Any]:
    """Restore what `save` wrote into `module` and `optimizer`; returns the record.

    check: raises ValueError for a record that the training cannot go on from. Raises Damaged when the file, its tensors
    or its record cannot be those of this training, and ValueError when they are another's than `key`; nothing is
    changed then.
    """
    with _checked(path) as file:
        record = _record(file, path)
    if record.get("key") != key:
        raise ValueError(f"{path}: is a checkpoint of {record.get('key')!r}, not of {key}")
    try:
        check(record)
        with safe_open(path, framework="pt") as file:
            _must_fit(file, module, optimizer)
            _restore(file, module, optimizer)
    except (KeyError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        reason = f"has no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise Damaged(f"{path}: cannot be continued from: {reason}") from None
    return record


def _must_fit(file: Any, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError unless the tensors have the names, shapes and types that this training has."""
    wanted: dict[str, tuple[list[int], torch.dtype | None]] = {
        f"model.{name}": (list(value.shape), value.dtype) for name, value in trained_parameters(module).items()
    }
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = set(file.keys())
    if any(name.startswith("optimizer.") for name in names):
        for index, parameter in enumerate(parameters):
            wanted |= {f"optimizer.{index}.{moment}": (list(parameter.shape), None) for moment in MOMENTS}
            wanted[f"optimizer.{index}.step"] = ([], None)
    wanted["random.cpu"] = (list(torch.get_rng_state().shape), torch.uint8)
    if unlike := names - {"random.cuda"} ^ wanted.keys():
        raise ValueError(f"{len(unlike)} of its tensors do not belong to this training, such as {min(unlike)}")
    for name, (shape, kind) in wanted.items():
        tensor = file.get_tensor(name)
        if list(tensor.shape) != shape or (kind and tensor.dtype != kind):
            raise ValueError(f"{name} is {list(tensor.shape)} of {tensor.dtype}, not {shape} of {kind or 'floats'}")
        if not kind and not tensor.is_floating_point():
            raise ValueError(f"{name} is of {tensor.dtype}, not of floats")


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
