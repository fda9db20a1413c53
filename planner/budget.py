"""What a day or a dollar buys on a machine, and how much of a batch fits in its memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.quantities import SECONDS, with_unit
from sweeps.machine.chips import CHIPS
from sweeps.machine.hardware import Machine
from sweeps.memory import SHARE, micro_tokens, training_memory
from sweeps.methods import Method
from sweeps.models import ModelSpec
from sweeps.support.console import positive

WORTH_AN_OPTION = 0.9  # of a step's time: what is saved must be worth another option of `embed train`


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
    recompute: bool = False
    """Whether gradient checkpointing is used, as with `embed train --recompute`."""

    @property
    def repeated(self) -> float:
        """Forward passes of the trained blocks beyond the first, as a share of the batch, 0 to 2."""
        return self.second_forward + (1.0 if self.recompute else 0.0)


def fit_batch(
    model: ModelSpec,
    method: Method,
    batch: float,
    longest: int,
    limit: float = math.inf,
    mixed: bool = False,
    chips: int = 1,
) -> tuple[BatchMemory, ...]:
    """The ways in which `batch` tokens on each of `chips` go through `limit` bytes, the simplest first: with the model
    whole on each chip or shared out among them, and with what blocks keep or recomputed. None where not even one text
    of `longest` tokens fits.

    mixed: products in 16 bits over fp32 weights. Weights in 4 bits are not shared out: FSDP cannot cut them.
    """
    kind, ways = "cuda" if mixed else "cpu", []
    for shards in dict.fromkeys((1, 1 if method.bits else chips)):
        for recompute in (False, True):
            memory = training_memory(model, method, mixed, recompute)
            affordable = (limit - memory.fixed(shards)) / memory.token
            if affordable >= longest:
                kept = max(float(longest), SHARE[kind] * affordable)
                tokens = math.ceil(batch) if kept >= batch else int(kept)
                again, together = max(0.0, 1 - tokens / batch), min(tokens, micro_tokens(model, kind))
                peak = memory.peak(tokens, shards)
                ways.append(BatchMemory(tokens, again, peak, together, shards > 1, recompute))
    return tuple(ways)


def fastest(seconds: Sequence[float]) -> int:
    """The place of the way that a step takes the fewest seconds in. A simpler one goes first unless the other saves a
    tenth of its time."""
    best = 0
    for place, taken in enumerate(seconds):
        if taken < WORTH_AN_OPTION * seconds[best]:
            best = place
    return best
