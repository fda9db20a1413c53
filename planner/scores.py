"""The score on a task that is to be expected of a held-out loss, by the relation that `fit` found over a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ScoreLaw:
    """How a task's score follows the held-out loss L: lowest + (1 - lowest) / (1 + exp(-(a + b L + c ln N)))."""

    score: str
    """What observations call the score, such as "scifact-test ndcg@10"."""
    lowest: float
    """The least that it can be: 0, or -1 for a correlation. The most is 1."""
    a: float
    """Log odds of the score at loss 0."""
    b: float
    """What a nat of loss adds to the log odds; negative."""
    c: float
    """What e times the parameters N add at the same loss; 0 where that cannot be told from none."""
    covariance: tuple[tuple[float, ...], ...]
    """Of a, b and c [3][3]."""
    noise: float
    """Standard deviation of one trial's score about the curve."""
    width: float
    """Half of a 90 % interval in standard deviations: Student's t with the degrees of freedom that are left."""
    rows: int
    """Trials that the relation was fitted to."""
    losses: tuple[float, float]
    """Lowest and highest loss among them, nats per pair."""
    params: tuple[float, float]
    """Lowest and highest N among them."""
    correlation: float
    """Spearman's rank correlation of loss and score over them, -1 to 1."""

    def at(self, loss: float, params: float) -> float:
        """The score of a model with so many parameters at a loss in nats per pair."""
        return self._of(self._odds(loss, params))

    def interval(self, loss: float, low: float, high: float, params: float) -> tuple[float, float]:
        """90 % interval of one trial's score where the loss is predicted with a 90 % interval from `low` to `high`.

        The doubt about the loss, about the curve and the scatter about it add up in quadrature.
        """
        x = (1.0, loss, math.log(params))
        variance = sum(x[i] * x[j] * self.covariance[i][j] for i in range(3) for j in range(3))
        doubt, noise = self.width * math.sqrt(max(0.0, variance)), self.width * self.noise
        odds, score = self._odds(loss, params), self.at(loss, params)
        below = math.hypot(score - self._of(odds - doubt), score - min(score, self.at(high, params)), noise)
        above = math.hypot(self._of(odds + doubt) - score, max(score, self.at(low, params)) - score, noise)
        return max(self.lowest, score - below), min(1.0, score + above)

    def _odds(self, loss: float, params: float) -> float:
        return self.a + self.b * loss + self.c * math.log(params)

    def _of(self, odds: float) -> float:
        return self.lowest + (1 - self.lowest) * 0.5 * (1 + math.tanh(odds / 2))  # the same, and never overflows


@dataclass(frozen=True)
class ExpectedScore:
    """A task's score that is to be expected of a recipe."""

    task: str
    """Name of the task and of the score, such as "scifact-test ndcg@10"."""
    score: float
    """The expected score."""
    low: float
    """Lower end of its 90 % prediction interval."""
    high: float
    """Upper end of its 90 % prediction interval."""
    within_range: bool
    """Whether trials of as low and as high a loss, and of as small and as large a model, were scored."""


def expected_scores(
    laws: Sequence[ScoreLaw], loss: float, low: float, high: float, params: float
) -> tuple[ExpectedScore, ...]:
    """What is to be expected on every task of a law book (`LawBook.scores`) at a predicted loss, nats per pair.

    low, high: the 90 % prediction interval of the loss. params: N of the model.
    """
    return tuple(
        ExpectedScore(
            law.score,
            law.at(loss, params),
            *law.interval(loss, low, high, params),
            law.losses[0] <= loss <= law.losses[1] and law.params[0] <= params <= law.params[1],
        )
        for law in laws
    )
