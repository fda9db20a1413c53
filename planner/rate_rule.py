"""The best learning rate as a power law in model size, batch size and rank, as `fit` makes it of a sweep's searches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sweeps.support.checks import all_numbers, check_fields, choice, number, require, within

COVARIANCE = (-1e6, 1e6)
MOST_SD = 50.0  # of ln(rate), where nothing is known of it
LIMITS = {"rate": (1e-12, 100.0), "scatter": (0.0, 10.0), "searches": (1, 1e6), "exponents": (-5.0, 5.0)}
SPAN = (1e-3, 1e15)  # of what a rate may follow
LETTERS = {"params": "N", "batch_size": "B", "rank": "rank"}  # what a rate may follow, in the order of `covariance`


@dataclass(frozen=True)
class RateRule:
    """Best peak rate of a method = rate (N / N0)**a (B / B0)**b (rank / rank0)**c, where it has a rank.

    N: parameters outside the embedding tables; B: pairs in a step. One rule speaks for a method with one treatment of
    the token table; methods differ in their rate, and slightly in their exponents.
    """

    rate: float
    """Best peak learning rate at `at`."""
    at: Mapping[str, float]
    """N0, B0 and, of a method with a rank, rank0: params, batch_size, rank."""
    exponents: Mapping[str, float]
    """a, b and, of a method with a rank, c, under the same names."""
    covariance: tuple[tuple[float, ...], ...]
    """Covariance of ln(rate) and the exponents, in this order."""
    scatter: float
    """Sd of ln(best rate) of one model and batch about the rule, what a search can tell of it aside."""
    searches: int
    """Searches of the method that the rule was fitted to, with any rank; those of others steady its exponents."""
    ranges: Mapping[str, tuple[float, float]]
    """Lowest and highest of each quantity in them."""
    tried: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Model -> batch size, as text -> best of the rates tried there with this method and its settings."""
    left_out: Mapping[str, float] = field(default_factory=dict)
    """Of searches that a rule had not seen, a model at a batch size left out at a time: how many `searches`, the
    `median_factor` to the best rate tried, the mean and the largest regret against it, shares of the loss,
    (`given_away`, `worst`), and of how many that is `unknown`, for the rate lies beside one that diverged."""
    batches_from: str = ""
    """Name of the law book whose searches tell the power of the batch size; "": the rule's own."""

    def measured(self, model: str, batch_size: int) -> float | None:
        """The best rate tried for a model at a batch size; None where none was."""
        return self.tried.get(model, {}).get(str(batch_size))

    def predict(self, params: float, batch_size: float, rank: float = 1.0) -> tuple[float, float]:
        """The best rate by the rule, and the sd of its ln."""
        given = {"params": params, "batch_size": batch_size, "rank": rank}
        logs = {name: math.log(given[name] / self.at[name]) for name in self.exponents}
        centre = math.log(self.rate) + sum(self.exponents[name] * log for name, log in logs.items())
        row = [1.0, *(log for _, log in logs.items())]
        products = [sum(x * c for x, c in zip(row, line, strict=True)) for line in self.covariance]
        variance = sum(x * c for x, c in zip(row, products, strict=True))
        return math.exp(centre), min(math.sqrt(max(variance, 0.0) + self.scatter**2), MOST_SD)

    def with_batches_of(self, other: RateRule, book: str) -> RateRule:
        """The rule with the other's power of the batch size, where it knows one size alone and the other several.

        book: name of the other's law book.
        """
        (low, high), (least, most) = (rule.ranges["batch_size"] for rule in (self, other))
        if low != high or least == most:
            return self
        place, theirs = (list(rule.exponents).index("batch_size") + 1 for rule in (self, other))
        own = [list(row) for row in self.covariance]
        for i, row in enumerate(own):
            row[place] = 0.0
            own[place][i] = 0.0
        own[place][place] = other.covariance[theirs][theirs]
        return replace(
            self,
            exponents={**self.exponents, "batch_size": other.exponents["batch_size"]},
            covariance=tuple(map(tuple, own)),
            ranges={**self.ranges, "batch_size": other.ranges["batch_size"]},
            batches_from=book,
        )

    def formula(self) -> str:
        """The rule as people write it: 0.0021 (N / 1e+05)^-0.30 (B / 24)^0.31."""
        parts = [f"({LETTERS[name]} / {self.at[name]:.3g})^{power:.2f}" for name, power in self.exponents.items()]
        return " ".join([f"{self.rate:.2g}", *parts])

    def to_json(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "at": dict(self.at),
            "exponents": dict(self.exponents),
            "covariance": [list(row) for row in self.covariance],
            "scatter": self.scatter,
            "searches": self.searches,
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "tried": {model: dict(rates) for model, rates in self.tried.items()},
            "left_out": dict(self.left_out),
            **({"batches_from": self.batches_from} if self.batches_from else {}),
        }


def read_rate_rule(content: Any, where: str) -> RateRule | None:
    """The rule as a law file holds it. Raises ValueError naming what cannot be."""
    if content is None:
        return None
    check_fields(RateRule, content, where, LIMITS)
    names = list(content["exponents"])
    for name in names:
        choice(f"{where}.exponents, a name in which", name, list(LETTERS))
    for part in ("at", "ranges"):
        known = isinstance(content[part], dict) and list(content[part]) == names
        require(f"{where}.{part}", content[part], known, f"an object of {', '.join(names)}")
    within(f"{where}.at", content["at"], SPAN)
    size = len(names) + 1
    rows = content["covariance"]
    square = isinstance(rows, list) and all(isinstance(row, list) and len(row) == size for row in rows)
    require(f"{where}.covariance", rows, square and len(rows) == size, f"{size} rows of {size} numbers")
    every = [value for row in rows for value in row]
    all_numbers(f"{where}.covariance", every)
    within(f"{where}.covariance", every, COVARIANCE)
    ranges = {name: _ends(content["ranges"][name], f"{where}.ranges.{name}") for name in names}
    tried = _tried(content.get("tried", {}), f"{where}.tried")
    return RateRule(**{**content, "covariance": tuple(map(tuple, rows)), "ranges": ranges, "tried": tried})


def _ends(ends: Any, where: str) -> tuple[float, float]:
    require(where, ends, isinstance(ends, list) and len(ends) == 2, "two numbers, the lower first")
    low, high = (number(where, end) for end in ends)
    require(where, ends, low <= high, "two numbers, the lower first")
    within(where, [low, high], SPAN)
    return low, high


def _tried(content: Any, where: str) -> Mapping[str, Mapping[str, float]]:
    fits = isinstance(content, dict) and all(isinstance(rates, dict) for rates in content.values())
    require(where, content, fits, "an object: model -> batch size -> rate")
    for model, rates in content.items():
        for batch, rate in rates.items():
            require(f"{where}.{model}, a batch size in which", batch, batch.isdecimal(), "a whole number")
            within(f"{where}.{model}.{batch}", number(f"{where}.{model}.{batch}", rate), LIMITS["rate"])
    return content
