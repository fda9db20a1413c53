"""An embedding space in two dimensions, before and after tuning, as `embed project` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.tables.rows import Array
from sweeps.support.json_io import read_json

PROJECTION = "projection.json"  # in a results folder
FORMAT = 1
SIDES = ("before", "after")


@dataclass(frozen=True)
class Side:
    """One state of the space."""

    query: Array
    """Queries [pairs, 2], about the mean of all points of this state."""
    document: Array
    """Documents [pairs, 2], row by row those of the queries, about the same mean."""
    variance: float
    """Share of this state's variance that the two axes hold, 0 to 1."""
    accuracy: float
    """Share of the queries whose own document is the nearest of those drawn, in all dimensions, 0 to 1."""


@dataclass(frozen=True)
class Projection:
    """Both states along the same two axes."""

    model: str
    """What was tuned."""
    method: str
    """How it was tuned."""
    data: str
    """Whose pairs these are."""
    dims: int
    """Dimensions of the whole space."""
    before: Side
    after: Side


def read_projection(path: Path) -> Projection | None:
    """The projection in a results folder; None where there is none. Raises ValueError naming the file and the place."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: no projection of format {FORMAT}; expected what `embed project` writes")
    try:
        states = {side: _side(content[side], side) for side in SIDES}
        model, method, data = (str(content[name]) for name in ("model", "method", "data"))
        return Projection(model, method, data, int(content["dims"]), states["before"], states["after"])
    except KeyError as error:
        raise ValueError(f"{path}: has no {error.args[0]!r}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _side(content: Mapping[str, Any], side: str) -> Side:
    points = {name: _points(content[name], f"{side}.{name}") for name in ("query", "document")}
    if len(points["query"]) != len(points["document"]):
        raise ValueError(f"{side} has {len(points['query'])} queries and {len(points['document'])} documents")
    return Side(**points, variance=_share(content, side, "variance"), accuracy=_share(content, side, "accuracy"))


def _points(content: Any, where: str) -> Array:
    points = np.array(content, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        raise ValueError(f"{where} must be a list of points, two finite numbers each")
    return points


def _share(content: Mapping[str, Any], side: str, name: str) -> float:
    value = float(content[name])
    if not 0 <= value <= 1:
        raise ValueError(f"{side}.{name} is {value}; it must be between 0 and 1")
    return value
