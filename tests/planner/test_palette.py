"""The looks of methods: of one family alike, of two apart for every eye, and the same beside any others."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from planner.palette import FAMILIES, MOST, OTHERS, looks
from sweeps.methods import METHODS, BiasOnly, FreezeBlocks, Full, LoRA, Method, QLoRA

# Machado, Oliveira and Fernandes (2009): what an eye without one kind of cones sees of linear red, green and blue.
EYES = {
    "all cones": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(colour: str, eye: str) -> np.ndarray:
    """The colour in CIELAB [3], where 2 can just be told."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(EYES[eye]) @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def of(*methods: Method):
    return looks({method.label: {"name": method.name, **method.options} for method in methods})


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("ground", ["colour", "on_dark"])
def test_two_families_are_told_apart_by_every_eye(eye, ground):
    for one, other in combinations([*FAMILIES.values(), *OTHERS], 2):
        gap = np.linalg.norm(seen(getattr(one, ground), eye) - seen(getattr(other, ground), eye))
        assert gap > 10 and one.marker != other.marker, (one, other)


def test_every_method_of_the_project_has_a_look_of_its_own():
    assert set(METHODS) <= set(FAMILIES) and len({look.marker for look in [*FAMILIES.values(), *OTHERS]}) == MOST


def test_a_method_looks_alike_beside_any_others():
    every = of(Full(), *(LoRA(rank=rank) for rank in (2, 8, 32)), FreezeBlocks(share=0.5), BiasOnly())
    for method in (LoRA(rank=8), BiasOnly()):
        assert of(method)[method.label] == every[method.label]
    assert of(QLoRA(rank=8), LoRA(rank=8)) == of(LoRA(rank=8), QLoRA(rank=8))


def test_a_larger_rank_is_darker_on_white_and_brighter_on_black():
    found = list(of(*(LoRA(rank=2**power) for power in range(10))).values())
    assert {look.marker for look in found} == {"s"} and not any(look.hollow for look in found)
    assert (np.diff([seen(look.colour, "all cones")[0] for look in found]) < -2).all()
    assert (np.diff([seen(look.on_dark, "all cones")[0] for look in found]) > 2).all()


def test_settings_of_the_token_table_hollow_the_marker_and_others_do_from_the_second_on():
    plain, table = LoRA(rank=8), LoRA(rank=8, token_table="train")
    assert [look.hollow for look in of(plain, table).values()] == [False, True]
    assert [look.hollow for look in of(plain, LoRA(rank=8, alpha=16.0)).values()] == [False, True]


def test_families_that_are_not_listed_look_different_as_long_as_there_are_looks():
    names = ["full", *(f"kind {i}" for i in range(MOST - 1))]
    found = looks({name: {"name": name} for name in names})
    assert len({look.marker for look in found.values()}) == MOST and found["full"] == FAMILIES["full"]
