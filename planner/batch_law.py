"""What batch size is worth: D training tokens in batches of B pairs teach as much as fewer at the best batch size.

A larger batch has more negatives and a less noisy gradient, but fewer steps. Below a critical batch, steps are not yet
the limit (McCandlish et al. 2018); it grows with the tokens and not with the model (Zhang et al. 2024, critical batch
size). So the best batch B* is taken to be a power of D alone, and a law of N and D holds for D share(D, B) in place of
D, with a share of 1 at B*. Every family takes such a term without a change. TERMS lists the forms.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from planner.laws import Law
from planner.quantiles import quantile

CLOSE = 1e-12  # of ln D
INVERTING = 30  # secants at most: five or so are enough in valleys as wide as any measured (s < 1)


class BatchTerm(ABC):
    """The share of its training tokens that a batch size makes use of."""

    @abstractmethod
    def best(self, D: Any) -> Any:
        """B*: pairs of the best batch for D tokens."""

    @abstractmethod
    def share(self, D: Any, B: Any) -> Any:
        """What a token in batches of B pairs is worth beside one in batches of the best size, 0 to 1."""

    @property
    def coefficients(self) -> dict[str, float]:
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Balanced(BatchTerm):
    """share = 1 / (1 + s (u + 1/u - 2)) with u = B / B*, B* = k D**q.

    Far above B* steps count and not tokens, far below it tokens lose what they lack in negatives.
    """

    k: float
    q: float
    s: float

    def best(self, D: Any) -> Any:
        return self.k * D**self.q

    def share(self, D: Any, B: Any) -> Any:
        u = B / (self.k * D**self.q)
        return 1 / (1 + self.s * (u + 1 / u - 2))


@dataclass(frozen=True)
class TwoSided(BatchTerm):
    """share in proportion to 1 / ((1 + B / Bc) (1 + Bn / B)): Bc = k D**q, the critical batch; Bn = s, below which
    negatives are too few. B* = (Bc Bn)**0.5."""

    k: float
    q: float
    s: float

    def best(self, D: Any) -> Any:
        return (self.k * D**self.q * self.s) ** 0.5

    def share(self, D: Any, B: Any) -> Any:
        critical = self.k * D**self.q
        most = (1 + (self.s / critical) ** 0.5) ** 2
        return most / ((1 + B / critical) * (1 + self.s / B))


TERMS: dict[str, type[BatchTerm]] = {"balanced": Balanced, "two-sided": TwoSided}


def term_name(term: BatchTerm) -> str:
    """Name of a term's form in TERMS."""
    return next(name for name, kind in TERMS.items() if isinstance(term, kind))


@dataclass(frozen=True)
class AtBatch(Law):
    """A law as it is for trainings of one batch size: of N and D alone."""

    inputs: ClassVar[tuple[str, ...]] = ("N", "D")
    factors: ClassVar[tuple[str, ...]] = ()
    law: Law
    """The law of the runs."""
    term: BatchTerm
    """What batch size is worth."""
    batch: float
    """Pairs in a step."""
    own: float
    """The batch size that `law` holds for; 0: the best one for every D."""

    def loss(self, N: Any, D: Any) -> Any:
        worth = D * self.term.share(D, self.batch)
        if self.own:
            worth = same_worth(self.term, worth, self.own)
        return self.law.loss(N, worth)


@dataclass(frozen=True)
class BatchLaw:
    """What a sweep of several batch sizes found of them, for one tuning method."""

    term: BatchTerm
    """What a batch size is worth."""
    draws: tuple[BatchTerm, ...]
    """The same by bootstrap resamples; draw i is of the resample of draw i of the method's law."""
    sizes: tuple[int, ...]
    """The batch sizes that were tried, pairs, ascending."""
    tokens: tuple[float, float]
    """Fewest and most training tokens of the runs."""
    runs: str
    """Name of the sweep."""
    own: int = 0
    """The batch size that the method's law holds for, where the term comes from another sweep than the law; 0: the law
    is that of the best batch size for every D."""
    backtest: Mapping[str, Any] = field(default_factory=dict)
    """How this form and its rivals predicted larger runs that a fit had not seen: analysis/fitting/batch_forms.py."""

    def best(self, tokens: float) -> float:
        """B*: pairs of the best batch for so many tokens."""
        return float(self.term.best(tokens))

    def interval(self, tokens: float) -> tuple[float, float] | None:
        """90 % interval of B*; None without draws."""
        drawn = sorted([float(term.best(tokens)) for term in self.draws])
        return (quantile(drawn, 0.05), quantile(drawn, 0.95)) if drawn else None

    def term_of(self, draw: int) -> BatchTerm:
        """The term of a draw of the method's law; terms of another sweep take turns."""
        return self.draws[draw % len(self.draws)] if self.draws else self.term

    def to_json(self) -> dict[str, Any]:
        names = list(self.term.coefficients)
        return {
            "form": term_name(self.term),
            "coefficients": self.term.coefficients,
            "draws": {name: [term.coefficients[name] for term in self.draws] for name in names},
            "sizes": list(self.sizes),
            "tokens": list(self.tokens),
            "runs": self.runs,
            **({"own": self.own} if self.own else {}),
            "backtest": dict(self.backtest),
        }


def same_worth(term: BatchTerm, tokens: float, batch: float) -> float:
    """How many tokens in batches of this size are worth `tokens` at the best one: by secants in ln D."""
    aim = math.log(tokens)
    before, off_before = aim, math.log(term.share(tokens, batch))
    found = before - off_before
    for _ in range(INVERTING):
        off = found + math.log(term.share(math.exp(found), batch)) - aim
        if abs(off) < CLOSE:
            break
        change = off * (found - before) / (off - off_before)
        before, off_before, found = found, off, found - change
    return math.exp(found)
