"""A pretrained backbone as an embedding model: token ids -> pooled unit vectors."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from runner.model import fused_block, varlen
from runner.model.adapted_table import AdaptedTable, adapt_table
from runner.model.folded_lora import fold
from runner.model.pretrained import load_backbone
from runner.model.varlen import Layout
from sweeps.methods import Method, blocks_of
from sweeps.models import ARCHITECTURES, Architecture, ModelSpec


def mean_pool(states: Tensor, lengths: Tensor) -> Tensor:
    """Returns the mean over the real tokens. states: [texts, tokens, width]; lengths: [texts] -> [texts, width]."""
    real = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    return (states * real[..., None]).sum(1) / lengths[:, None]


def weighted_pool(states: Tensor, lengths: Tensor) -> Tensor:
    """Returns the mean weighted by place, 1 for the first token (Muennighoff 2022, section 3.1). Shapes: see
    `mean_pool`."""
    place = torch.arange(states.shape[1], device=states.device) + 1
    weights = place * (place <= lengths[:, None])
    return (states * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)


def last_pool(states: Tensor, lengths: Tensor) -> Tensor:
    """Returns the state of the last real token. Shapes as in `mean_pool`."""
    return states[torch.arange(len(states), device=states.device), lengths - 1]


LOWEST_TEMPERATURE = 0.01  # CLIP's bound: below it training becomes unstable
# What a pass through a block costs besides its tokens is worth so many multiplications: measured on a CPU, widths 32
# to 256. A smaller block gains more from fewer passes than it loses on padding. On a GPU, for want of a measurement:
# some 150 kernels there and back, started in 5 microseconds each, in which it multiplies 3e13 times a second.
PASS_WORK = {"cpu": 10**7, "cuda": 2 * 10**10}
PASS_TOKENS = {"cpu": (32, 1024), "cuda": (1024, 2**16)}  # least and most padding that costs as much as another pass

POOLING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean_pool,
    "weighted": weighted_pool,
    "last": last_pool,
}


class Encoder(nn.Module):
    """Backbone and pooling. Causal attention never looks right, so right padding needs no mask; two-way attention does.

    A forward pass has two parts: `forward_frozen` (the token table and the frozen first blocks) and `forward_trained`
    (the other blocks and pooling), so that what is frozen runs without a graph and need not run twice. frozen: blocks
    before the first that is trained. bf16: products are of bf16. fused: blocks run as in fused_block.py; pack: as in
    varlen.py; either way texts lie end to end in one row.
    """

    def __init__(
        self,
        backbone: nn.Module,
        pooling: str,
        bf16: bool,
        pack: bool = False,
        block_weights: int = 10**7,
        bidirectional: bool = False,
        fused: bool = False,
    ) -> None:
        super().__init__()
        _must_reach_all(backbone)
        self.backbone = backbone
        self.bidirectional = bidirectional
        self.logit_scale: nn.Parameter | None = None  # log of 1 / temperature, where that is learnt (as CLIP)
        self.pool = POOLING[pooling]
        self.bf16 = bf16
        self.recomputes = False
        self.block_weights = block_weights
        self.packed, self.fused = pack, fused
        if pack:
            varlen.use(decoder(backbone))
        self.frozen = frozen_blocks(backbone)
        # In tuples, or they would count as modules of their own with the same parameters.
        self._first, self._rest = ((blocks(backbone, 0, self.frozen),), (blocks(backbone, self.frozen, None),))

    def forward(self, ids: Tensor, where: Layout) -> Tensor:
        """Embed what `pad` gave -> unit vectors [texts, width], at least fp32."""
        return self.forward_trained(self.forward_frozen(ids, where), where)

    def forward_frozen(self, ids: Tensor, where: Layout) -> Tensor:
        """Run the token table and the frozen blocks on what `pad` gave -> states before the first trained block [texts,
        tokens, width]."""
        states = self.table(ids)
        if not self.frozen:
            return states
        with torch.no_grad():
            return self._run(self._first[0], states, where)

    def forward_trained(self, states: Tensor, where: Layout) -> Tensor:
        """Run the rest. states: what `forward_frozen` gave -> unit vectors [texts, width], at least fp32."""
        states = self._run(self._rest[0], states, where)
        states = states.to(torch.promote_types(states.dtype, torch.float32))
        return normalize(self.pool(states, where.lengths), dim=-1)

    def embed(self, texts: Sequence[np.ndarray]) -> Tensor:
        """Returns the unit vectors [texts, width] of one micro-batch of token id arrays."""
        return self(*self.pad(texts))

    def pad(self, texts: Sequence[np.ndarray]) -> tuple[Tensor, Layout]:
        """Returns ids [texts, tokens] of token id arrays, right-padded with 0, and where they lie."""
        lengths = np.array([len(text) for text in texts])
        ids = np.zeros((len(texts), int(lengths.max())), dtype=np.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
        return varlen.send(ids, self.device), varlen.layout(lengths, self.device)

    def train(self, mode: bool = True) -> Encoder:
        """As in torch. A backbone in 4 bits stays in training mode: to infer, it is repacked and cannot train again."""
        return super().train(mode or getattr(decoder(self.backbone), "is_quantized", False))

    def recompute(self) -> None:
        """Keep no activations inside a block; compute them again in the backward pass (gradient checkpointing)."""
        self.recomputes, self.fused = True, False
        decoder(self.backbone).gradient_checkpointing_enable({"use_reentrant": False})

    def compile_blocks(self) -> None:
        """torch.compile every block; they share one program, made for any batch shape."""
        self.fused = False
        for each in blocks_of(decoder(self.backbone)):
            each.compile(dynamic=True)

    def padding(self, tokens: int) -> int:
        """Returns the padding that a micro-batch of `tokens` may hold: packed, it is looked up but never computed."""
        return tokens // 2 if self.packed or self.fused else self.pass_tokens

    @property
    def pass_tokens(self) -> int:
        """Padded tokens that cost as much as another pass."""
        kind = self.device.type
        least, most = PASS_TOKENS[kind]
        return min(most, max(least, PASS_WORK[kind] // self.block_weights))

    @property
    def table(self) -> nn.Module:
        """The token table: ids -> vectors."""
        return self.backbone.get_input_embeddings()

    @property
    def trains_table(self) -> bool:
        """Whether anything of the token table gets a gradient."""
        return any(parameter.requires_grad for parameter in self.table.parameters())

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def _run(self, part: nn.Module, states: Tensor, where: Layout) -> Tensor:
        """Run some of the blocks. states: [texts, tokens, width], before and after."""
        first = blocks_of(part)[0]
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16 and not self.fused):
            if not (self.packed or self.fused):
                if isinstance(first, Enter):
                    first.entering = states
                return part(inputs_embeds=states, use_cache=False, **self._both_ways(where)).last_hidden_state
            row = varlen.pack(states, where)
            if self.fused:
                row = fused_block.run(part, row, where.lengths, self.pass_tokens, self.bf16)
            else:
                if isinstance(first, Enter):
                    first.entering = row[None]
                given = {"position_ids": where.positions, "use_cache": False, **where.attention}
                row = part(inputs_embeds=row[None], **given).last_hidden_state[0]
            return varlen.unpack(row, where)

    def _both_ways(self, where: Layout) -> dict[str, Any]:
        """Returns what makes attention look both ways, at real tokens only."""
        if not self.bidirectional:
            return {}
        real = torch.arange(where.longest, device=self.device) < where.lengths[:, None]
        # Where nothing is padded there is no mask to say so, and the attention function would be causal.
        return {"attention_mask": real.long(), "is_causal": False}

    def learn_temperature(self, start: float) -> None:
        """Train the temperature too, as CLIP does: log(1 / temperature) (Radford et al. 2021, section 2.5)."""
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(start), device=self.device))

    def temperature(self, given: float) -> float | Tensor:
        """Returns the temperature that the loss divides by: `given` unless it is learnt. Never below 0.01."""
        return given if self.logit_scale is None else torch.exp(-self.logit_scale).clamp(min=LOWEST_TEMPERATURE)


class Skip(nn.Module):
    """Stands where a block is left out; blocks are told apart by their place, so the place must stay."""

    def __init__(self, tuples: bool) -> None:
        super().__init__()
        self.tuples = tuples

    def forward(self, states: Tensor, *_: object, **__: object) -> Any:
        return (states,) if self.tuples else states


class Enter(Skip):
    """Stands for the first of the blocks that are left out, and gives the states that the others are to go on with.

    What a model does between its table and its first block (scaling, positions, a norm) was done to them before.
    """

    entering: Tensor
    """States before the first block that is run [texts, tokens, width]."""

    def forward(self, states: Tensor, *_: object, **__: object) -> Any:
        return super().forward(self.entering)


def decoder(backbone: nn.Module) -> nn.Module:
    """Returns the decoder inside what a method may have wrapped around it."""
    return backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone


def _must_reach_all(backbone: nn.Module) -> None:
    """Raises ValueError naming a trained parameter that the encoder would not run: all it runs is the decoder."""
    inner = decoder(backbone)
    table = inner.get_input_embeddings()
    if not isinstance(table, nn.Embedding | AdaptedTable):
        raise ValueError(
            f"the token table is wrapped in {type(table).__name__}; only its own weight or a plain adapter is trained"
        )
    inside = {id(parameter) for parameter in inner.parameters()}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad and id(parameter) not in inside:
            raise ValueError(f"{name} is trained, but is outside the decoder and would not be used")


def frozen_blocks(backbone: nn.Module) -> int:
    """Returns how many first blocks receive no gradient, with all that stands before them."""
    inner = decoder(backbone)
    of_blocks = {id(parameter) for parameter in blocks_of(inner).parameters()}
    final = {id(parameter) for parameter in getattr(inner, _family(inner).final_norm).parameters()}
    if any(each.requires_grad and id(each) not in of_blocks | final for each in inner.parameters()):
        return 0
    trained = [any(p.requires_grad for p in block.parameters()) for block in blocks_of(inner)]
    return trained.index(True) if True in trained else len(trained)


def _family(inner: nn.Module) -> Architecture:
    return ARCHITECTURES[inner.config.model_type]


def blocks(backbone: nn.Module, start: int, stop: int | None) -> nn.Module:
    """Returns a view on the decoder that runs only blocks start..stop; the final norm follows the last."""
    inner = decoder(backbone)
    family, layers = _family(inner), list(blocks_of(inner))
    kept = range(*slice(start, stop).indices(len(layers)))
    view = copy.copy(inner)
    view._modules = dict(inner._modules)
    places = [layer if place in kept else Skip(family.tuples) for place, layer in enumerate(layers)]
    if start:
        places[0] = Enter(family.tuples)
    view._modules[family.blocks] = nn.ModuleList(places)
    if stop is not None:
        view._modules[family.final_norm] = nn.Identity()
    return view


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Tells whether products run in bf16, over fp32 weights; see `Training.precision`."""
    return precision == "bf16" or (precision == "auto" and device.type == "cuda")


def make_encoder(
    model: ModelSpec,
    method: Method,
    pooling: str,
    device: torch.device,
    seed: int,
    precision: str = "auto",
    home: torch.device | None = None,
    bidirectional: bool = False,
) -> Encoder:
    """Returns a pretrained encoder ready to be tuned with `method`; `seed` fixes what the method initialises.

    home: where its weights lie, by default on the `device` that it is made for. bidirectional: attention looks both
    ways (its pretraining did not), as it does anyway where the model says so itself.
    """
    home = home or device
    if reason := method.refusal(model):
        raise ValueError(f"{method.name}: {reason}")
    torch.manual_seed(seed)
    backbone = method.apply(load_backbone(model, method.bits, str(home))).to(home)
    if method.foldable:
        fold(backbone)
    adapt_table(backbone)
    if bidirectional and not model.two_way:
        decoder(backbone).config.is_causal = False  # transformers then makes a mask of what is padding, and no other
    bidirectional = bidirectional or model.two_way
    bf16 = uses_bf16(precision, device)
    pack = not bidirectional and varlen.possible(decoder(backbone), device, bf16)
    fused = not bidirectional and fused_block.possible(decoder(backbone), device)
    return Encoder(backbone, pooling, bf16, pack, model.block_weights, bidirectional, fused)


def count_trainable(encoder: Encoder) -> int:
    """T: parameters with a gradient, embedding tables and the adapter of one aside."""
    tables = [module for module in encoder.backbone.modules() if isinstance(module, nn.Embedding | AdaptedTable)]
    apart = {id(parameter) for table in tables for parameter in table.parameters()}
    return sum(p.numel() for p in encoder.backbone.parameters() if p.requires_grad and id(p) not in apart)
