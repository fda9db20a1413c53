"""Names at the ends of lines, moved apart where they would touch, in colours that can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import offset_copy
from matplotlib.typing import ColorType

from analysis.tables.rows import Array

Label = tuple[float, float, str, ColorType]  # where a line ends, what it is called, its colour


def label_ends(
    figure: Figure,
    labels: Mapping[Axes, Sequence[Label]],
    size: float = 8,
    markers: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Each line's name to the right of its panel, at the height of its end, pushed apart where they would touch.

    markers: by name the arguments of `plot` for the marker that is put before it.
    """
    markers = markers or {}
    annotations: dict[Axes, list[Annotation]] = {}
    for axes, ends in labels.items():
        beside = offset_copy(axes.get_yaxis_transform(), figure, x=14 if markers else 7, units="points")
        texts = [
            axes.annotate(
                text,
                (x, y),
                xytext=(1.0, y),
                textcoords=beside,
                color=readable(colour),
                fontsize=size,
                va="center",
                annotation_clip=False,
                arrowprops={
                    "arrowstyle": "-",
                    "color": colour,
                    "linewidth": 0.5,
                    "alpha": 0.6,
                    "shrinkA": 1,
                    "shrinkB": 0,
                },
            )
            for x, y, text, colour in sorted(ends, key=lambda end: end[1])
        ]
        annotations[axes] = texts
    figure.draw_without_rendering()  # the panels get their places
    for axes, texts in annotations.items():
        _push_apart(axes, texts, 1.3 * size * figure.dpi / 72)
        near = offset_copy(axes.get_yaxis_transform(), figure, x=9, units="points")
        for text, (_, _, name, colour) in zip(texts, sorted(labels[axes], key=lambda end: end[1]), strict=True):
            if name in markers:
                height = text.get_position()[1]
                style = {"color": colour, "mew": 0, **markers[name], "markersize": 4.5}
                axes.plot(1.0, height, **style, transform=near, clip_on=False)


def readable(colour: ColorType) -> tuple[float, float, float]:
    """The colour, darkened as far as words on white need it: a contrast of 4.5 (WCAG 2.2, 1.4.3)."""
    shade = np.array(to_rgb(colour))
    while contrast(tuple(shade)) < 4.5:
        shade *= 0.95
    red, green, blue = shade
    return float(red), float(green), float(blue)


def contrast(colour: ColorType) -> float:
    """The contrast of a colour on white, from 1 to 21 (WCAG 2.2)."""
    shade = np.array(to_rgb(colour))
    linear = np.where(shade <= 0.04045, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05))


def _push_apart(axes: Axes, texts: Sequence[Annotation], gap: float) -> None:
    if not texts:
        return
    heights = np.array([axes.transData.transform((1, text.xy[1]))[1] for text in texts])
    low, high = axes.bbox.y0 + gap / 3, axes.bbox.y1 - gap / 3
    placed = spread(np.clip(heights, low, high), gap)
    placed += max(0.0, low - placed[0]) - max(0.0, placed[-1] - high)
    for text, height in zip(texts, placed, strict=True):
        text.set_position((1.0, axes.transData.inverted().transform((0, height))[1]))


def spread(places: Array, gap: float) -> Array:
    """Ascending places moved as little as need be so that neighbours are at least `gap` apart."""
    merged: list[tuple[float, list[int]]] = []  # centre, members
    for i, place in enumerate(places):
        merged.append((float(place), [i]))
        while len(merged) > 1:
            (low, under), (high, over) = merged[-2], merged[-1]
            if high - low >= gap * (len(under) + len(over)) / 2:
                break
            members = under + over
            merged[-2:] = [(float(np.mean(places[members])), members)]
    out = np.empty(len(places))
    for centre, members in merged:
        out[members] = centre + gap * (np.arange(len(members)) - (len(members) - 1) / 2)
    return out
