"""The trials of a sweep that compares joint training with merging, as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables.sweep_table import read_observations
from planner.law_book import Caveat
from sweeps.support.json_io import read_json
from sweeps.trial import JOINT, MERGES, Observation

SURFACE = "surface.json"
WAYS = (JOINT, *MERGES)
MEAN = "mean of the tasks"
PLACE = ("model", "method", "ratio", "way", "budget", "seed")


@dataclass(frozen=True)
class Comparison:
    """The trials of a comparison, one for each place and seed: that with the best learning rate."""

    name: str
    """Name of the results folder."""
    rows: pd.DataFrame
    """One line for each place, way and seed.

    Columns: model, method, ratio, way, budget and flops (FLOPs), seed, lr, and the held-out loss of each task and of
    MEAN, nats per pair.
    """
    tasks: tuple[str, ...]
    """The sources, whose losses are measured apart."""
    lost: dict[str, int] = field(default_factory=dict)
    """By way, how many trials have no loss."""
    surface: dict[str, Any] | None = None
    """What runner/merging/surface.py wrote of the losses between models; None where it wrote nothing."""
    caveats: tuple[Caveat, ...] = ()
    """Lines of the folder that could not be read."""

    @property
    def ways(self) -> list[str]:
        """The ways that were tried, in the order of WAYS."""
        present = set(self.rows["way"]) if len(self.rows) else set()
        return [way for way in WAYS if way in present]


def read_comparison(folder: Path) -> Comparison:
    """The comparison in a results folder. Raises ValueError naming file and line, or FileNotFoundError."""
    observations, caveats = read_observations(folder / "observations.jsonl")
    rows, lost = [], dict.fromkeys(WAYS, 0)
    tasks: dict[str, None] = {}
    for observation in observations:
        if observation.status == "done" and observation.loss is not None:
            rows.append(_row(observation))
            tasks |= dict.fromkeys(name for name, _ in observation.trial.training.sources)
        else:
            lost[observation.trial.training.merge or JOINT] += 1
    frame = pd.DataFrame(rows, columns=[*PLACE, "lr", "flops", MEAN, *tasks])
    best = frame.sort_values(MEAN, kind="stable").drop_duplicates(list(PLACE)).sort_values(list(PLACE))
    told = {way: count for way, count in lost.items() if count}
    return Comparison(folder.resolve().name, best, tuple(tasks), told, _surface(folder / SURFACE), caveats)


def _row(observation: Observation) -> dict[str, Any]:
    trial, sources = observation.trial, observation.trial.training.sources
    losses = {name: observation.scores.get(f"loss {name}", np.nan) for name, _ in sources}
    return {
        "model": trial.model,
        "method": trial.method.label,
        "ratio": ":".join(f"{weight:g}" for _, weight in sources),
        "way": trial.training.merge or JOINT,
        "budget": trial.budget or observation.flops,
        "seed": trial.seed,
        "lr": trial.lr,
        "flops": observation.flops,
        MEAN: observation.loss,
        **losses,
    }


def _surface(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        surface = read_json(path)
        shape = np.shape(np.array(surface["loss"], float))
        if (
            shape != (len(surface["y"]), len(surface["x"]))
            or np.shape(surface["path"])[1] != 2
            or len(surface["models"]) < 2
        ):
            raise ValueError(f"its grid is {shape}, with {len(surface['x'])} by {len(surface['y'])} places")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: is not what `embed merge --surface` writes: {error}") from None
    return surface
