"""A model in parts, one on each rank, for models that do not fit: torch's FSDP2, block by block.

A block's parameters are gathered when it runs and dropped afterwards. Its gradient is added up and cut again after
every micro-batch, not once a step: kept whole in between, gradients alone would take as much memory as the whole model.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from runner.model.encoder import Encoder, decoder
from runner.model.folded_lora import unfold
from sweeps.methods import blocks_of


def shard(encoder: Encoder, device: torch.device, count: int) -> None:
    """Keep on `device` only this rank's part of `encoder`, whose weights lie on the CPU.

    Adapters run unfolded, as peft has them: a folded weight is as large as the one it was made from, and is kept.
    count: ranks that share the encoder.
    """
    unfold(encoder.backbone)
    encoder.fused = False
    mesh = init_device_mesh(device.type, (count,))
    for part in (encoder.table, *blocks_of(decoder(encoder.backbone)), encoder):
        fully_shard(part, mesh=mesh)
    for name in ("forward_frozen", "forward_trained"):
        register_fsdp_forward_method(encoder, name)
    for module in encoder.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # every rank has its part of one loss: a sum, not a mean
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def full_tensor(tensor: Tensor) -> Tensor:
    """Returns all of a tensor that may be sharded. All ranks must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, other: Tensor) -> Tensor:
    """Returns this rank's part of `tensor`, which all ranks have, sharded as `other` is; all of it when that is not."""
    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements, src_data_rank=None)


@torch.no_grad()
def gather_into(plain: Encoder | None, encoder: Encoder) -> None:
    """Copy what was trained into an encoder that is not sharded. All ranks must call it, with None to keep nothing."""
    known = dict(plain.named_parameters()) if plain else {}
    for name, value in encoder.named_parameters():
        if value.requires_grad:
            gathered = full_tensor(value)
            if plain:
                known[name].copy_(gathered)
