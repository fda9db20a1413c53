"""What a day or a dollar buys on a machine, and how much of a batch fits in its memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.quantities import SECONDS, with_unit
from sweeps.flops import memory_bytes
from sweeps.machine.hardware import CHIPS, Machine
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


def training_memory(model: ModelSpec, method: Method, tokens: float, mixed: bool = False) -> float:
    """Peak bytes of training with a micro-batch of `tokens`; `mixed` halves the activations, not the weights."""
    weights = memory_bytes(model, method, 0)
    per_token = memory_bytes(model, method, 1, 2 if mixed else 4) - memory_bytes(model, method, 0, 2 if mixed else 4)
    return weights + per_token * tokens


@dataclass(frozen=True)
class BatchMemory:
    """How a batch goes through the memory of a chip."""

    micro_batch_tokens: int
    """Tokens whose activations are held at once."""
    second_forward: float
    """Share of the batch, 0 to 1, that is embedded twice: its gradients come from a gradient cache."""
    peak_bytes: float
    """Peak memory of training, bytes."""


def fit_batch(
    model: ModelSpec, method: Method, batch: float, longest: int, limit: float = math.inf, mixed: bool = False
) -> BatchMemory | None:
    """How `batch` tokens go through `limit` bytes; None when even one text of `longest` tokens does not fit."""
    weights = training_memory(model, method, 0, mixed)
    per_token = training_memory(model, method, 1, mixed) - weights
    affordable = (limit - weights) / per_token
    if affordable < longest:
        return None
    tokens = math.ceil(batch) if affordable >= batch else int(affordable)
    return BatchMemory(tokens, max(0.0, 1 - tokens / batch), weights + per_token * tokens)
