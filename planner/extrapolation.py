"""How far an answer lies from what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.law_book import MethodLaw

TOLERANCE = 1.05  # whole steps miss a budget by a few per cent
NAMES = {"flops": "compute", "params": "model", "tokens": "data size"}
ELSEWHERE = 1.0  # decades that a suite, or data, which a law book has not seen counts as


@dataclass(frozen=True)
class Extrapolation:
    """How many times an answer lies beyond the measured range of its law, on either side; 1 inside."""

    flops: float
    """Of the training FLOPs, the exact count."""
    params: float
    """Of N, the parameters outside the embedding tables."""
    tokens: float
    """Of D, the training tokens."""
    below: tuple[str, ...] = ()
    """Names of those of the three that lie below the smallest measured value; the others lie above the largest."""
    evidence: str = "measured"
    """What the range is: measured, or published where a paper's grid is all that is known."""
    unseen: tuple[str, ...] = ()
    """The suite and the data of the answer, where the laws have not seen them."""

    @classmethod
    def of(
        cls, flops: float, params: float, tokens: float, law: MethodLaw, unseen: tuple[str, ...] = ()
    ) -> Extrapolation:
        """How far a recipe that spends these lies beyond what the law was measured on."""
        asked = {"flops": flops, "params": params, "tokens": tokens}
        factors = {name: extrapolation_factor(value, getattr(law.measured, name)) for name, value in asked.items()}
        below = tuple(name for name in asked if factors[name] > 1 and asked[name] < getattr(law.measured, name)[0])
        return cls(**factors, below=below, evidence="measured" if law.rows else "published", unseen=unseen)

    @property
    def within_range(self) -> bool:
        """Whether the answer lies inside the measured range in all three."""
        return max(self.flops, self.params, self.tokens) == 1

    @property
    def decades(self) -> float:
        """Decades beyond the range in that of the three which lies farthest."""
        return math.log10(max(self.flops, self.params, self.tokens))

    @property
    def distance(self) -> float:
        """Decades beyond the range in compute, N and D together; a suite or data that was not seen counts as one."""
        return math.log10(self.flops * self.params * self.tokens) + ELSEWHERE * len(self.unseen)

    def to_json(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in NAMES}

    def __str__(self) -> str:
        if self.within_range:
            return f"within the {self.evidence} range"
        return ", ".join(self._sentence(name) for name, factor in self.to_json().items() if factor > 1)

    def _sentence(self, name: str) -> str:
        end = "below the smallest" if name in self.below else "beyond the largest"
        return f"{times(getattr(self, name))} {end} {NAMES[name]} {self.evidence}"


def extrapolation_factor(value: float, measured: tuple[float, float]) -> float:
    """How many times `value` lies beyond the measured range (lowest, highest), on either side; 1 inside."""
    low, high = measured
    factor = max(value / high, low / value)
    return factor if factor > TOLERANCE else 1.0


def times(factor: float) -> str:
    """1.6x, 83x, 610x, 1e6x."""
    if 99.5 <= factor < 1e4:
        return f"{float(f'{factor:.2g}'):,.0f}x"
    return f"{factor:.2g}x" if factor < 1e4 else f"{factor:.0e}x".replace("e+0", "e").replace("e+", "e")
