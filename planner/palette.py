"""The colour and the marker of each tuning method, wherever one is drawn: figures, the page, `plot()`.

A method's family gives hue and marker; its rank or share gives the shade, the more the stronger; other settings of the
token table hollow the marker. So a method looks alike beside any others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import log2
from typing import Any

from sweeps.methods import RANKS


@dataclass(frozen=True)
class Look:
    """How a tuning method is drawn."""

    colour: str
    """#rrggbb on a white ground."""
    on_dark: str
    """#rrggbb on a dark ground."""
    marker: str
    """Its shape, by matplotlib's letter."""
    hollow: bool = False
    """Whether the marker is an outline."""


# Hues after Okabe and Ito (2008); tests/planner/test_palette.py holds that they are told apart
# under the three kinds of colour blindness.
FAMILIES = {
    "full": Look("#0072B2", "#3D96E0", "o"),
    "lora": Look("#D55E00", "#F07830", "s"),
    "freeze": Look("#009E73", "#1FB890", "^"),
    "bias": Look("#C868A0", "#EE8CC8", "D"),
    "qlora": Look("#E69F00", "#F2D04A", "v"),
    "dora": Look("#56B4E9", "#A6E0FF", "P"),
}
# Of families that are not listed, such as those of a table of runs, in their order; then what is free of FAMILIES.
OTHERS = (Look("#2F2F2F", "#FFFFFF", "X"), Look("#6A6A6A", "#868686", "*"))
MOST = len(FAMILIES) + len(OTHERS)  # families that look different
TOWARDS_GROUND, FROM_GROUND = 0.45, 0.55  # how far the shades of a family reach from its colour, shares of the way
STRENGTH: Mapping[str, Callable[[float], float]] = {  # setting -> -1, the weakest shade, to 1
    "rank": lambda rank: 2 * log2(rank) / (RANKS - 3) - 1,
    "share": lambda share: 2 * share - 1,
}


def looks(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Look]:
    """Returns the look of each method by its label.

    methods: by label the settings, with the family's name under "name". Two that differ in other settings alone have
    one shade, the second a hollow marker.
    """
    families = _families([str(settings["name"]) for settings in methods.values()])
    given: dict[str, Look] = {}
    for label, settings in methods.items():
        look = _shaded(families[str(settings["name"])], settings)
        given[label] = replace(look, hollow=True) if look in given.values() else look
    return given


def _families(names: list[str]) -> dict[str, Look]:
    """The look of each family; those beyond MOST begin again."""
    others = [name for name in dict.fromkeys(names) if name not in FAMILIES]
    free = [*OTHERS, *(look for name, look in FAMILIES.items() if name not in names)]
    return FAMILIES | {name: free[place % len(free)] for place, name in enumerate(others)}


def _shaded(look: Look, settings: Mapping[str, Any]) -> Look:
    """The look in the shade of these settings."""
    strength = next((of(settings[name]) for name, of in STRENGTH.items() if settings.get(name)), 0.0)
    strength = max(-1.0, min(1.0, strength))
    return Look(
        _mixed(look.colour, strength, "#FFFFFF", "#000000"),
        _mixed(look.on_dark, strength, "#000000", "#FFFFFF"),
        look.marker,
        "token_table" in settings,
    )


def _mixed(colour: str, strength: float, ground: str, far: str) -> str:
    """The colour with the ground mixed in where it is weak, and with what is farthest from it where it is strong."""
    part = strength * (FROM_GROUND if strength > 0 else -TOWARDS_GROUND)
    target = far if strength > 0 else ground
    pairs = ((int(colour[i : i + 2], 16), int(target[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(own + part * (other - own)):02X}" for own, other in pairs)
