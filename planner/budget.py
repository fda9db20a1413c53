"""What a day or a dollar buys on a machine, and how much of a batch fits in its memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.quantities import SECONDS, with_unit
from sweeps.machine.chips import CHIPS
from sweeps.machine.hardware import Machine
from sweeps.memory import SHARE, micro_tokens, training_memory
from sweeps.methods import Method
from sweeps.models import ModelSpec
from sweeps.support.console import positive


@dataclass(frozen=True)
class Budget:
    """What may be spent on training and serving."""

    flops: float
    """FLOPs to spend; of a time or a sum of money, those that the machine makes in it."""
    asked: str
    """The budget as it was written: "1e19", "24h" or "$500"."""
    kind: str = "flops"
    """"flops", "time" or "money"."""


def read_budget(text: str, machine: Machine | None = None) -> Budget:
    """`1e19` FLOPs, `24h` on the machine or `$500` of it. Raises ValueError naming what is missing."""
    wanted = "a positive number of FLOP such as 1e19, a time such as 24h, or money such as '$500'"
    if text.startswith("$"):
        dollars = positive("`budget`", text, wanted, text[1:].replace(",", ""))
        if machine is None or machine.price is None:
            raise ValueError(
                f"`budget` is {text!r}: money needs `hardware` such as 8xh100 and `price` per chip and hour"
            )
        return Budget(dollars / (machine.count * machine.price) * 3600 * machine.rate, text, "money")
    if any(text.endswith(unit) for unit in SECONDS):
        seconds = with_unit("`budget`", text, SECONDS, wanted)
        if machine is None:
            raise ValueError(f"`budget` is {text!r}: time needs `hardware` such as 8xh100; known: {', '.join(CHIPS)}")
        return Budget(seconds * machine.rate, text, "time")
    return Budget(positive("`budget`", text, wanted), text)


@dataclass(frozen=True)
class BatchMemory:
    """How a batch goes through the memory of a chip."""

    micro_batch_tokens: int
    """Tokens whose activations are held at once."""
    second_forward: float
    """Share of the batch, 0 to 1, that is embedded twice: its gradients come from a gradient cache."""
    peak_bytes: float
    """Peak memory of training, bytes."""
    pass_tokens: float = math.inf
    """Tokens that go through the model together, at most."""
    sharded: bool = False
    """Whether each chip keeps only its part of the model, as with `embed train --shard`."""


def fit_batch(
    model: ModelSpec,
    method: Method,
    batch: float,
    longest: int,
    limit: float = math.inf,
    mixed: bool = False,
    chips: int = 1,
) -> tuple[BatchMemory, ...]:
    """The ways in which `batch` tokens on each of `chips` go through `limit` bytes: with the model whole on each chip,
    and shared out among them. None where not even one text of `longest` tokens fits.

    mixed: products in 16 bits over fp32 weights. Weights in 4 bits are not shared out: FSDP cannot cut them.
    """
    memory, kind = training_memory(model, method, mixed), "cuda" if mixed else "cpu"
    ways = []
    for shards in dict.fromkeys((1, 1 if method.bits else chips)):
        affordable = (limit - memory.fixed(shards)) / memory.token
        if affordable >= longest:
            kept = max(float(longest), SHARE[kind] * affordable)
            tokens = math.ceil(batch) if kept >= batch else int(kept)
            again, together = max(0.0, 1 - tokens / batch), min(tokens, micro_tokens(model, kind))
            ways.append(BatchMemory(tokens, again, memory.peak(tokens, shards), together, shards > 1))
    return tuple(ways)
