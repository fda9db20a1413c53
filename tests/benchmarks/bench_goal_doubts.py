"""How likely the losses of measured grids are by the laws of elsewhere and what these may miss, beside other doubts.

    python tests/benchmarks/bench_goal_doubts.py

A row a grid: ln of the likelihood of all its losses under the beliefs that a goal starts from, and by how much
it changes where one doubt is left out, or another made.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from goal_worlds import World, table  # noqa: E402

from analysis.goal import beliefs, evidence  # noqa: E402
from planner.evidence import shipped  # noqa: E402
from planner.law_file import read_laws  # noqa: E402

_discrepancy = beliefs._discrepancy
GRIDS = (
    ("reference", 2e13, "ziarko2024"),
    ("language/dense", 3.2e12, "ziarko2024"),
    ("language/dense", 3.2e12, "reference"),
)
OTHERWISE: dict[str, dict[str, object]] = {
    "exponents sure": {"EXPONENT_SPREAD": 0.0},
    "exponents 0.15": {"EXPONENT_SPREAD": 0.15},
    "exponents 0.6": {"EXPONENT_SPREAD": 0.6},
    "chance unknown": {"_below_chance": lambda losses, pool: losses},
    "level 0.5": {"_discrepancy": lambda *places: 0.5**2 + _discrepancy(*places)},
    "no bend": {"BEND": 0.0, "METHOD_BEND": 0.0},
    "methods' slopes 0.2": {"METHOD_SLOPE": 0.2},
}


def likelihood(world: World) -> float:
    """ln of the likelihood of all losses of a world, at the usual scale."""
    grid = world.grid
    places = evidence.places_of(grid.pairs, grid.places, 256)
    every = np.arange(len(grid.places))
    covariance = places.covariance(every, every, places.usual) + grid.noise**2 * np.eye(len(every))
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, np.array([world.truth[place] for place in grid.places]) - places.mean)
    return float(-(white @ white) / 2 - np.log(np.diag(root)).sum())


def lines() -> Iterator[str]:
    yield "| losses | laws | as is | " + " | ".join(OTHERWISE) + " |"
    yield "|---|---|---|" + "---|" * len(OTHERWISE)
    for folder, goal, laws in GRIDS:
        world = table(folder, goal, read_laws(shipped()[laws]))
        now, cells = likelihood(world), []
        for changes in OTHERWISE.values():
            with ExitStack() as stack:
                for name, value in changes.items():
                    stack.enter_context(patch.object(evidence if hasattr(evidence, name) else beliefs, name, value))
                cells.append(f"{likelihood(world) - now:+.1f}")
        yield f"| {folder} | {laws} | {now:.1f} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    for line in lines():
        print(line, flush=True)
