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
    """What may be spent: FLOPs, and what it was asked as."""

    flops: float
    said: str
    kind: str = "flops"  # or "time", "money"


def read_budget(text: str, machine: Machine | None = None) -> Budget:
    """`1e19` FLOPs, `24h` on the machine or `$500` of it. Raises ValueError naming the flag and what is missing."""
    wanted = "a positive number of FLOP such as 1e19, a time such as 24h, or money such as '$500'"
    if text.startswith("$"):
        dollars = positive("--budget", text, wanted, text[1:].replace(",", ""))
        if machine is None or machine.price is None:
            raise ValueError(
                f"--budget is {text!r}: money needs --hardware such as 8xh100 and --price per chip and hour"
            )
        return Budget(dollars / (machine.count * machine.price) * 3600 * machine.rate, text, "money")
    if any(text.endswith(unit) for unit in SECONDS):
        seconds = with_unit("--budget", text, SECONDS, wanted)
        if machine is None:
            raise ValueError(f"--budget is {text!r}: time needs --hardware such as 8xh100; known: {', '.join(CHIPS)}")
        return Budget(seconds * machine.rate, text, "time")
    return Budget(positive("--budget", text, wanted), text)


def training_memory(model: ModelSpec, method: Method, tokens: float, mixed: bool = False) -> float:
    """Peak bytes of training with the graph of `tokens` at once; `mixed` halves the activations, not the weights."""
    still = memory_bytes(model, method, 0)
    moving = memory_bytes(model, method, 1, 2 if mixed else 4) - memory_bytes(model, method, 0, 2 if mixed else 4)
    return still + moving * tokens


@dataclass(frozen=True)
class Fit:
    """How a batch goes through memory. tokens: in one graph. second_forward: share of the batch embedded twice, since
    the gradients of the rest come from a gradient cache. bytes: the peak."""

    tokens: int
    second_forward: float
    bytes: float


def fit_batch(
    model: ModelSpec, method: Method, batch: float, longest: int, limit: float = math.inf, mixed: bool = False
) -> Fit | None:
    """How `batch` tokens go through `limit` bytes; None when even one text of `longest` tokens does not fit."""
    still = training_memory(model, method, 0, mixed)
    each = training_memory(model, method, 1, mixed) - still
    room = (limit - still) / each
    if room < longest:
        return None
    tokens = math.ceil(batch) if room >= batch else int(room)
    return Fit(tokens, max(0.0, 1 - tokens / batch), still + each * tokens)
