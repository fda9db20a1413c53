"""The best training temperature as a power of the batch size, as `fit` makes it of a sweep of several temperatures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sweeps.support.checks import all_numbers, check_fields, number, require, within

LIMITS = {
    "temperature": (1e-4, 1e3),
    "batch_size": (2, 1e9),
    "exponent": (-5.0, 5.0),
    "scatter": (0.0, 10.0),
    "curves": (1, 1e6),
    "given_away": (-1.0, 1e3),
}
ENDS = {"tried": LIMITS["temperature"], "batches": LIMITS["batch_size"]}


@dataclass(frozen=True)
class TemperatureRule:
    """Temperature of the lowest held-out loss, read at one temperature: temperature (B / batch_size)**exponent."""

    runs: str
    """Name of the sweep."""
    temperature: float
    """The best temperature at `batch_size`."""
    batch_size: float
    """Pairs in a step, in the middle of those tried."""
    exponent: float
    """Power of the batch size; 0: one temperature for all."""
    covariance: tuple[tuple[float, ...], ...]
    """Covariance of ln(temperature) and the exponent."""
    scatter: float
    """Sd of ln(best temperature) about the rule, from one model and budget to another."""
    curves: int
    """Places of the grid where temperatures were tried."""
    tried: tuple[float, float]
    """Lowest and highest temperature."""
    batches: tuple[float, float]
    """Smallest and largest batch size."""
    given_away: Mapping[str, float] = field(default_factory=dict)
    """Temperature, as text -> mean share by which its loss lies above that of the best one tried."""
    by_scores: Mapping[str, float] = field(default_factory=dict)
    """Score -> temperature at `batch_size` where it is highest; scores know no temperature."""

    def best(self, batch_size: float) -> tuple[float, float, float]:
        """The best temperature at a batch size, and the ends of its 90 % interval."""
        log = math.log(batch_size / self.batch_size)
        centre = math.log(self.temperature) + self.exponent * log
        (level, both), (_, power) = self.covariance
        half = 1.645 * math.sqrt(max(level + 2 * both * log + power * log**2, 0.0))
        return math.exp(centre), math.exp(centre - half), math.exp(centre + half)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "covariance": [list(row) for row in self.covariance]}


def read_temperature_rule(content: Any, where: str) -> TemperatureRule | None:
    """The rule as a law file holds it. Raises ValueError naming what cannot be."""
    if content is None:
        return None
    check_fields(TemperatureRule, content, where, LIMITS)
    rows = content["covariance"]
    square = isinstance(rows, list) and len(rows) == 2 and all(isinstance(row, list) and len(row) == 2 for row in rows)
    require(f"{where}.covariance", rows, square, "two rows of two numbers")
    all_numbers(f"{where}.covariance", [value for row in rows for value in row])
    ends = {}
    for name, limits in ENDS.items():
        pair = content[name]
        require(f"{where}.{name}", pair, isinstance(pair, list) and len(pair) == 2, "two numbers, the lower first")
        low, high = (number(f"{where}.{name}", end) for end in pair)
        require(f"{where}.{name}", pair, low <= high, "two numbers, the lower first")
        within(f"{where}.{name}", [low, high], limits)
        ends[name] = (low, high)
    return TemperatureRule(**{**content, **ends, "covariance": tuple(map(tuple, rows))})
