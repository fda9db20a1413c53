"""SHAPES lists the form of every family of planner.laws, ONE_SIZE_SHAPES those for runs that all have one size."""

from __future__ import annotations

from analysis.fitting.derived import DerivedShape
from analysis.fitting.hand_made import HAND_MADE, ONE_SIZE_SHAPES
from analysis.fitting.shape import Shape
from planner.laws import LAWS

__all__ = ["ONE_SIZE_SHAPES", "SHAPES"]

SHAPES: dict[str, Shape] = {
    name: HAND_MADE[name] if name in HAND_MADE else DerivedShape(law) for name, law in LAWS.items()
}
