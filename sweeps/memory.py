"""Memory that training takes, and how much of a batch goes through the model at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sweeps.methods import Method
from sweeps.models import ModelSpec

QUANTIZED_BYTES = 4 / 8 + 4 / 64  # of a weight in 4 bits and its part of a scale
# A CPU is fastest when what one block writes stays in its cache; a GPU needs enough for each of its many cores.
MICRO_BYTES = {"cpu": 8 * 2**20, "cuda": 2**27}  # of the widest states of one micro-batch
MICRO_TOKENS = {"cpu": (512, 8192), "cuda": (4096, 2**18)}  # least and most
SHARE = {"cpu": 0.25, "cuda": 0.8}  # of the free memory that may be kept: other workers want theirs of a CPU's


def micro_tokens(model: ModelSpec, kind: str) -> int:
    """Returns the padded tokens of a micro-batch: a fixed choice, for a cut decides the last bits of a result.

    kind: "cpu" or "cuda".
    """
    least, most = MICRO_TOKENS[kind]
    return min(most, max(least, MICRO_BYTES[kind] // (4 * model.mlp_width)))


@dataclass(frozen=True)
class Memory:
    """Bytes that training takes on each chip."""

    state: float
    """Weights, gradients and Adam's moments, in fp32; sharded (FSDP), each chip keeps its part of them."""
    folded: float
    """Weights with the adapters folded in, which are kept beside those without; sharded, adapters run unfolded."""
    gathered: float
    """What sharded training holds whole at a time: the token table, or two blocks with the gradients of both."""
    working: float
    """Copies of the weights in 16 bits in the graph of a micro-batch, on every chip, sharded or not. Where blocks
    are recomputed: those of one block, and its graph."""
    token: float
    """What the graph of one token holds, its share of those copies included."""

    def fixed(self, shards: int = 1) -> float:
        """Bytes that are there whatever the tokens. shards: chips that share the model out; 1: each has it whole."""
        whole = self.state + self.folded if shards == 1 else self.state / shards + self.gathered
        return whole + self.working

    def peak(self, tokens: float, shards: int = 1) -> float:
        """Bytes with the graphs of `tokens` held at once."""
        return self.fixed(shards) + self.token * tokens


@cache  # a plan asks for one model and method at every batch size
def training_memory(model: ModelSpec, method: Method, mixed: bool = False, recompute: bool = False) -> Memory:
    """Returns the memory that training takes. mixed: products in 16 bits over fp32 weights, as on a GPU. recompute:
    blocks keep their inputs only, and run once more in the backward pass, one at a time.

    An estimate of what torch allocates, without its context and what is lost between allocations.
    """
    family, trained_blocks = model.family.elementwise, method.backward_layers(model)
    table = model.embedding_params + method.table_adapter(model)
    trained = method.trainable(model) + method.table_trainable(model)
    adapters, together = method.adapters(model), micro_tokens(model, "cuda" if mixed else "cpu")
    backbone = model.params * (QUANTIZED_BYTES if method.bits else 4)
    kept = sum(size * units for size, units in zip(family.kept, model.units, strict=True)) * (1 if mixed else 2)
    casts = 2 * (model.block_weights + adapters / model.layers) if mixed and not method.bits else 0.0
    token = trained_blocks * (4 * model.width if recompute else kept + casts / together)
    return Memory(
        state=backbone + 4 * (adapters + table) + 12 * trained,
        folded=4 * model.layers * model.block_weights if method.foldable else 0,
        gathered=4 * max(table + method.table_trainable(model), 2 * _block(model, method)),
        working=casts + kept * together if recompute else casts * trained_blocks,
        token=token,
    )


def _block(model: ModelSpec, method: Method) -> float:
    """Entries of one block's parameters, adapters included, and of their gradients."""
    adapters, trained = method.adapters(model), method.trainable(model)
    return model.block_params + (adapters + trained) / model.layers
