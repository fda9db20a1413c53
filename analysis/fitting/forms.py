"""SHAPES lists the form of every family of planner.laws, ONE_SIZE_SHAPES those for runs that all have one size.

`shapes_of` says which families runs can have, and their forms where coefficients are held.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.fitting.batch_shape import BatchShape
from analysis.fitting.derived import DerivedShape
from analysis.fitting.hand_made import HAND_MADE, ONE_SIZE_SHAPES
from analysis.fitting.shape import Shape
from analysis.tables.rows import Rows
from planner.laws import LAWS, Law, coefficients_of

__all__ = ["ONE_SIZE_SHAPES", "SHAPES", "shapes_of"]

SHAPES: dict[str, Shape] = {
    name: HAND_MADE[name] if name in HAND_MADE else DerivedShape(law) for name, law in LAWS.items()
}
# Where all runs have one size, or tokens are not known: the term of it cannot be told from E and goes into that.
WITHOUT_SIZE = {"A": 0.0, "alpha": 0.0}
WITHOUT_TOKENS = {"B": 0.0, "beta": 0.0}
# Families that are left there.
IN_ONE_VARIABLE = {"N": ("chinchilla",), "D": tuple(ONE_SIZE_SHAPES)}


def one_size(rows: Rows) -> bool:
    """Whether the runs of every method have one size."""
    return all(len(np.unique(rows.N[rows.group == g])) == 1 for g in np.unique(rows.group))


def shapes_of(rows: Rows, held: Mapping[str, float], batch_form: str = "") -> dict[str, Shape]:
    """Family -> its form, of those that the runs can have and that know the coefficients `held`.

    With `batch_form`, those of N and D alone, each with that form of batch size.

    Raises ValueError where no family knows these, or nothing would be left of its factors.
    """
    plain = _shapes_of(rows, held)
    if not batch_form:
        return plain
    return {name: BatchShape(shape, batch_form) for name, shape in plain.items() if LAWS[name].inputs == Law.inputs}


def _shapes_of(rows: Rows, held: Mapping[str, float]) -> dict[str, Shape]:
    if one_size(rows):
        names, absent, usual = IN_ONE_VARIABLE["D"], WITHOUT_SIZE, ONE_SIZE_SHAPES
    elif len(np.unique(rows.D)) == 1:
        names, absent = IN_ONE_VARIABLE["N"], WITHOUT_TOKENS
        usual = {name: DerivedShape(LAWS[name], absent) for name in names}
    else:
        names, absent, usual = tuple(LAWS), {}, SHAPES
    if not held:
        return usual
    own = {name: [item for item in coefficients_of(LAWS[name]) if item not in absent] for name in names}
    knowing = [name for name in names if set(held) <= set(own[name])]
    if not knowing:
        known = "; ".join(f"{name}: {', '.join(coefficients)}" for name, coefficients in own.items())
        raise ValueError(f"`fix` holds {', '.join(held)}, which no family has together; they have {known}")
    shapes = {name: DerivedShape(LAWS[name], {**absent, **held}) for name in knowing}
    if not (left := {name: shape for name, shape in shapes.items() if shape.linear}):
        raise ValueError(f"`fix` holds {', '.join(held)}: no factor is left to fit")
    return dict(left)
