"""What a recipe predicts of its training, and what came of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.support.checks import is_number, require
from sweeps.support.toml_io import read_toml
from sweeps.trial import Observation

LOSS = "loss"
SCORE = "1 - "  # before a score's name: what laws of that score predict


@dataclass(frozen=True)
class Predicted:
    """One predicted quantity and what was measured of it."""

    name: str
    """The loss, 1 less a score, or a task and its score."""
    value: float
    """What was predicted."""
    low: float
    """Lower end of its 90 % prediction interval."""
    high: float
    """Upper end of its 90 % prediction interval."""
    got: float | None
    """What was measured; None where nothing was that can be compared."""
    why: str = ""
    """Why nothing can be compared; "" where it can."""

    @property
    def inside(self) -> bool | None:
        """Whether what was measured lies in the interval; None where nothing was."""
        return None if self.got is None else self.low <= self.got <= self.high

    def __str__(self) -> str:
        said = f"{self.name}: predicted {self.value:.3f} (90 %: {self.low:.3f} to {self.high:.3f})"
        if self.got is None:
            return f"{said}; {self.why}"
        return f"{said}, got {self.got:.3f}: {'inside' if self.inside else 'outside'}"

    def to_json(self) -> dict[str, Any]:
        ends = {"predicted": self.value, "interval": [self.low, self.high]}
        return {"name": self.name, **ends, "got": self.got, "inside": self.inside, "why": self.why}


@dataclass(frozen=True)
class Prediction:
    """What a recipe says under [predicted]."""

    measure: str
    """What `loss` is: the loss, or 1 less a score."""
    loss: tuple[float, float, float]
    """Predicted value, and the ends of its 90 % prediction interval."""
    pool_size: int
    """Pairs in a pool that the loss is predicted for; it grows with them."""
    scores: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """Predicted scores, with the ends of their 90 % intervals, by task and score."""

    def beside(self, observation: Observation) -> tuple[Predicted, ...]:
        """Each predicted quantity beside what an observation has measured of it."""
        scored = {name: observation.scores.get(name) for name in self.scores}
        return (
            self._loss_beside(observation),
            *(
                Predicted(name, *self.scores[name], got, "" if got is not None else "not scored in the training")
                for name, got in scored.items()
            ),
        )

    def _loss_beside(self, observation: Observation) -> Predicted:
        if self.measure != LOSS:
            score = observation.scores.get(self.measure.removeprefix(SCORE))
            got, why = (None, "not scored in the training") if score is None else (1 - score, "")
            return Predicted(self.measure, *self.loss, got, why)
        size = observation.trial.training.pool_size
        if size != self.pool_size:
            why = f"in pools of {self.pool_size} pairs; the held-out data are enough for {size}: not comparable"
            return Predicted(f"held-out {LOSS}", *self.loss, None, why)
        return Predicted(f"held-out {LOSS}", *self.loss, observation.loss)


def read_prediction(path: Path) -> Prediction | None:
    """What the recipe at `path` predicts; None where it predicts no loss. Raises ValueError naming the place."""
    content = read_toml(path)
    table = content.get("predicted", {})
    require("predicted", table, isinstance(table, dict), "a table")
    if table.get("loss") is None or table.get("interval") is None:
        return None
    training = content.get("training", {})
    size = training.get("pool_size", 0) if isinstance(training, dict) else 0
    scores = table.get("scores", {})
    require("predicted.scores", scores, isinstance(scores, dict), "a table")
    ends = table["interval"] if isinstance(table["interval"], list) else []
    return Prediction(
        str(table.get("measure", LOSS)),
        _three("predicted.loss and interval", [table["loss"], *ends]),
        size,
        {name: _three(f"predicted.scores.{name}", value) for name, value in scores.items()},
    )


def _three(where: str, value: Any) -> tuple[float, float, float]:
    fits = isinstance(value, list) and len(value) == 3 and all(map(is_number, value))
    require(where, value, fits, "three numbers: what is predicted, and the ends of its interval")
    return (float(value[0]), float(value[1]), float(value[2]))
