"""The rounds of a goal: what was proposed, what was believed then, and why it ended; goal.json in the sweep's folder.

What is proposed follows from the recorded losses; the file saves proposing it anew, and shows how the regret fell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sweeps.experiment.sweep import Proposed, Sweep
from sweeps.support.atomic import write_text
from sweeps.support.checks import check_fields, require
from sweeps.support.json_io import read_json

FILE = "goal.json"
FORMAT = 1
NUMBERS = (-1e40, 1e40)
REFUSED = "refused"  # in place of a round: why there can be none


@dataclass(frozen=True)
class Contender:
    """A candidate for the recipe, as it stood."""

    model: str
    """Name of the backbone."""
    method: str
    """Label of the method."""
    loss: float
    """Expected held-out loss at the goal, nats per pair."""
    low: float
    """Lower end of its 90 % interval."""
    high: float
    """Upper end of it."""
    best: float
    """Probability of being the best, 0 to 1."""


@dataclass(frozen=True)
class GoalRound:
    """How a goal stood, and what was tried next."""

    proposed: tuple[Proposed, ...]
    """The trials of the round; none where the pursuit ended."""
    regret: float
    """Expected regret of choosing before this round, nats per pair."""
    spent: float
    """FLOPs of all trials before it."""
    cost: float
    """FLOPs of the round."""
    limit: float
    """FLOPs that all trials may take."""
    budget: float
    """FLOPs of the recipe."""
    laws: str
    """Name of the laws that the pursuit started from."""
    contenders: tuple[Contender, ...]
    """Candidates for the recipe, the one that is chosen first, then the likeliest."""
    remarks: tuple[str, ...] = ()
    """What to know, a sentence each."""
    stop: str = ""
    """Why the pursuit ended; "" where it goes on."""
    recipe: Mapping[str, Any] | None = None
    """The trial that is chosen, where the pursuit ended."""

    @classmethod
    def from_json(cls, content: Any, where: str) -> GoalRound:
        """Raises ValueError naming the place."""
        limits = dict.fromkeys(("regret", "spent", "cost", "limit", "budget", "loss", "low", "high", "best"), NUMBERS)
        check_fields(cls, content, where, limits)
        lists = {
            name: tuple(_record(kind, each, f"{where}.{name}[{i}]", limits) for i, each in enumerate(content[name]))
            for name, kind in (("proposed", Proposed), ("contenders", Contender))
        }
        return cls(**{**content, **lists, "remarks": tuple(content.get("remarks", ()))})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _record(kind: Any, content: Any, where: str, limits: Mapping[str, tuple[float, float]]) -> Any:
    check_fields(kind, content, where, limits)
    return kind(**content)


def read_rounds(folder: Path) -> list[GoalRound]:
    """The rounds of the sweep in a folder; none where it has begun none. Raises ValueError naming the place."""
    path = folder / FILE
    try:
        content = read_json(path)
    except FileNotFoundError:
        return []
    require(str(path), content, isinstance(content, dict) and isinstance(content.get("rounds"), list), "rounds")
    return [GoalRound.from_json(each, f"{path}: rounds[{i}]") for i, each in enumerate(content["rounds"])]


def write_rounds(folder: Path, rounds: Sequence[GoalRound]) -> None:
    """Keep the rounds in a folder, whole or not at all."""
    content = {"format": FORMAT, "rounds": [each.to_json() for each in rounds]}
    write_text(folder / FILE, json.dumps(content, indent=1) + "\n")


def with_rounds(sweep: Sweep, rounds: Iterable[GoalRound]) -> Sweep:
    """The sweep with what its goal has asked for so far."""
    return replace(sweep, proposed=tuple(each for own in rounds for each in own.proposed))
