"""The runs that enter a fit, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """What enters a fit, one array [rows] for each quantity."""

    N: Array
    """Parameters outside the embedding tables, positive."""
    D: Array
    """Training tokens, positive."""
    loss: Array
    """What the law is about, positive: nats per pair in our own sweeps, in a table of runs whatever it holds."""
    S: Array
    """Trained share of the parameters, 0 to 1; only the family trainable reads it."""
    U: Array
    """Unique training tokens, infinite where nothing repeats; only the family repeated reads it."""
    flops: Array
    """C: training FLOPs, positive. Backtests expand along it, and best sizes are looked for at equal C."""
    run: NDArray[np.int64]
    """Number of the training run that a row belongs to; rows of one run are resampled together."""
    group: NDArray[np.int64]
    """Number of the method, from 0; each has factors of its own."""
    name: NDArray[np.str_]
    """What messages call the row."""
    times: Array | float = 1.0
    """How many times each row counts."""
    B: Array | float = 1.0
    """Pairs of a training batch; one value where it is the same for all."""

    def __len__(self) -> int:
        return len(self.loss)

    def take(self, which: NDArray[np.bool_]) -> Rows:
        """The rows at which the mask `which` [rows] is true."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        taken: dict[str, Any] = {name: x if isinstance(x, float) else x[which] for name, x in values.items()}
        return Rows(**taken)

    @property
    def several_batches(self) -> bool:
        """Whether the rows differ in their batch size."""
        return len(np.unique(self.B)) > 1

    @cached_property
    def centre(self) -> tuple[float, float]:
        """Means of ln N and ln D."""
        return float(np.log(self.N).mean()), float(np.log(self.D).mean())

    @cached_property
    def n(self) -> Array:
        """ln N about its mean."""
        return np.log(self.N) - self.centre[0]

    @cached_property
    def d(self) -> Array:
        """ln D about its mean."""
        return np.log(self.D) - self.centre[1]
