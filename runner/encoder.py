"""A pretrained backbone as an embedding model: token ids -> pooled unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import AutoModel, PreTrainedModel

from runner.pairs import unavailable
from sweeps.methods import Method
from sweeps.models import ModelSpec


def mean_pool(states: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the real tokens. states: [texts, tokens, width]; lengths: [texts] -> [texts, width]."""
    real = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    return (states * real[..., None]).sum(1) / lengths[:, None]


def last_pool(states: Tensor, lengths: Tensor) -> Tensor:
    """State of the last real token. Shapes as in `mean_pool`."""
    return states[torch.arange(len(states), device=states.device), lengths - 1]


POOLING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": mean_pool, "last": last_pool}


class Encoder(nn.Module):
    """Backbone and pooling. Causal attention never looks right, so right padding needs no mask."""

    def __init__(self, backbone: nn.Module, pooling: str, autocast: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = POOLING[pooling]
        self.autocast = autocast

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """ids: [texts, tokens], right-padded; lengths: [texts] -> unit vectors [texts, width], at least fp32."""
        with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            states = self.backbone(input_ids=ids, use_cache=False).last_hidden_state
        states = states.to(torch.promote_types(states.dtype, torch.float32))
        return normalize(self.pool(states, lengths), dim=-1)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def embed(self, texts: Sequence[np.ndarray]) -> Tensor:
        """Unit vectors [texts, width] of one micro-batch of token id arrays."""
        lengths = torch.tensor([len(text) for text in texts])
        ids = torch.zeros((len(texts), int(lengths.max())), dtype=torch.long)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.from_numpy(text.astype(np.int64))
        return self(ids.to(self.device), lengths.to(self.device))


def load_backbone(model: ModelSpec) -> PreTrainedModel:
    """The pretrained backbone in fp32. Raises ValueError when its weights cannot be had."""
    try:
        loaded = AutoModel.from_pretrained(model.source, dtype=torch.float32, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise unavailable(model.source, error) from None
    return getattr(loaded, "language_model", loaded)  # models that also see images: the decoder alone is tuned


def make_encoder(model: ModelSpec, method: Method, pooling: str, device: torch.device, seed: int) -> Encoder:
    """A pretrained encoder ready to be tuned with `method`; `seed` fixes what the method initialises."""
    if reason := method.refusal(model):
        raise ValueError(f"{method.name}: {reason}")
    torch.manual_seed(seed)
    backbone = method.apply(load_backbone(model)).to(device)
    return Encoder(backbone, pooling, autocast=device.type == "cuda")


def count_trainable(encoder: Encoder) -> int:
    """T: parameters with a gradient, embedding tables aside."""
    return sum(p.numel() for name, p in encoder.named_parameters() if p.requires_grad and "embed_" not in name)
