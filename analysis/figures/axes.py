"""Panels, headings, axes with readable ticks, numbers in words, and labels at the ends of lines that do not touch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import offset_copy

from analysis.figures.style import INK, PALE, plain
from analysis.tables.rows import Array
from analysis.tables.sweep_table import Table

EDGE = 0.08  # inches between words and the figure's edge
Names = Callable[[float], str]
Label = tuple[float, float, str, object]  # where a line ends, what it is called, its colour


def panels(
    count: int, columns: int = 3, size: tuple[float, float] = (3.1, 2.6), **sharing
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels of this size in inches, at most so many a line; a single one is larger."""
    columns = 2 if count == 4 and columns == 3 else 4 if count > 6 and columns == 3 else min(count, columns)
    lines = -(-count // columns)
    wide, high = (max(size[0], 6.6), max(size[1], 4.2)) if count == 1 else size
    figure, grid = plt.subplots(
        lines, columns, figsize=(wide * columns, high * lines), squeeze=False, layout="constrained", **sharing
    )
    made = list(grid.ravel())
    for unused in made[count:]:
        unused.remove()
    for lowest in made[max(0, count - columns) : count]:
        lowest.tick_params(labelbottom=True)  # sharing the axis hides the labels above an unused panel
    return figure, made[:count]


def head(figure: Figure, title: str, note: str = "", keys: Sequence[Artist] = ()) -> None:
    """Title, what to know, and a key above the panels, which get the rest; the figure grows by what it takes."""
    width, height = figure.get_size_inches()
    made: list[Text | Artist] = []
    for text, style in (
        (title, {"fontsize": 11, "fontweight": "bold"}),
        (note.strip(), {"fontsize": 8, "color": INK}),
    ):
        if text:
            made.append(_wrapped(figure, text, width - 2 * EDGE, style))
    if keys:
        made.append(_key(figure, keys, width - 2 * EDGE))
    heights = [artist.get_window_extent().height / figure.dpi + 0.06 for artist in made]
    top = height + sum(heights) + EDGE
    figure.set_size_inches(width, top)
    down = top - EDGE
    for artist, taken in zip(made, heights, strict=True):
        place = (EDGE / width, down / top)
        if isinstance(artist, Text):
            artist.set_position(place)
        else:
            artist.set_bbox_to_anchor(place, figure.transFigure)  # type: ignore[attr-defined]
        down -= taken
    figure.get_layout_engine().set(rect=(0, 0, 1, height / top))


def _wrapped(figure: Figure, text: str, width: float, style: Mapping[str, object]) -> Text:
    """The text in as many lines as the width in inches takes; letters are a little wider at some resolutions."""
    made = figure.text(0, 1, "", va="top", linespacing=1.25, **style)
    made.set_in_layout(False)
    lines = [""]
    for word in text.split(" "):
        made.set_text(f"{lines[-1]} {word}".strip())
        if lines[-1] and made.get_window_extent().width > 0.96 * width * figure.dpi:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    made.set_text("\n".join(lines))
    return made


def _key(figure: Figure, keys: Sequence[Artist], width: float) -> Artist:
    """All entries in as few lines as the width in inches takes."""
    for columns in range(len(keys), 0, -1):
        made = figure.legend(
            handles=list(keys),
            loc="upper left",
            ncols=columns,
            borderaxespad=0,
            borderpad=0.2,
            handletextpad=0.4,
            columnspacing=1.3,
        )
        made.set_in_layout(False)
        if columns == 1 or made.get_window_extent().width <= width * figure.dpi:
            return made
        made.remove()
    raise AssertionError("there is always one column")


def say(title: str, text: str) -> Figure:
    """A figure that can show nothing, and says why."""
    figure = plt.figure(figsize=(6.6, 0.1), layout="constrained")
    head(figure, title, text)
    return figure


def say_in(axes: Axes, text: str) -> None:
    """Words in the middle of a panel that can show nothing."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=8, color=PALE)


def why_empty(table: Table) -> str:
    """In words why no run entered the fit, or nothing when some did."""
    if not table.rows.empty:
        return ""
    if not table.excluded:
        return "The sweep has no observation yet: nothing was run, or nothing has ended."
    counts = Counter(reason.split(":")[0].split(" (")[0] for _, reason in table.excluded).most_common(4)
    said = "; ".join(f"{count} x {plain(reason, 60)}" for reason, count in counts)
    return f"None of {len(table.excluded)} trials can enter a fit: {said}."


def log_axis(axes: Axes, which: str, name: Names, most: int = 6) -> None:
    """A logarithmic axis, x or y, with a few round numbers and no others. Its limits must be final."""
    if which == "x":
        axes.set_xscale("log")
    else:
        axes.set_yscale("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(round_numbers(low, high, most, fine=which == "y")))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: name(value)))


def round_numbers(low: float, high: float, most: int, fine: bool = False) -> list[float]:
    """At most so many round numbers from low to high: by decade where they span much, evenly spaced where little.

    fine: 1.5 and the like count as round.
    """
    if high > 4 * low:
        first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
        finest = [((1, 1.5, 2, 3, 5, 7), 1)] if fine else []
        for steps, apart in (*finest, ((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3), ((1,), 6)):
            found = [m * 10.0**e for e in range(first, last + 1) if e % apart == 0 for m in steps]
            inside = [value for value in found if low <= value <= high]
            if len(inside) <= most:
                break
        if len(inside) > 1:
            return inside
    found = MaxNLocator(most - 1, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(value) for value in found if low <= value <= high]


def limits(*values: Array, room: float = 1.15) -> tuple[float, float]:
    """Ends of a logarithmic axis that holds these, with some room; values that are not finite do not count."""
    every = np.concatenate([np.ravel(v) for v in values])
    every = every[np.isfinite(every) & (every > 0)]
    return float(every.min() / room), float(every.max() * room)


def plain_number(value: float) -> str:
    return f"{value:.4g}"


def count(value: float) -> str:
    """25000 as 25 k."""
    for unit, name in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def flops(value: float) -> str:
    """Of a number of FLOPs, 3e12 as a power of ten."""
    mantissa, exponent = f"{value:.1e}".split("e")
    mantissa = mantissa.removesuffix(".0")
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if mantissa == "1" else f"${mantissa}\\times{power}$"


def label_ends(
    figure: Figure, labels: Mapping[Axes, Sequence[Label]], size: float = 8, markers: Mapping[str, str] | None = None
) -> None:
    """Each line's name to the right of its panel, at the height of its end, pushed apart where they would touch.

    markers: by name, put before it.
    """
    markers = markers or {}
    made: list[tuple[Axes, list[Annotation]]] = []
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
        made.append((axes, texts))
    figure.draw_without_rendering()  # the panels get their places
    for axes, texts in made:
        _push_apart(axes, texts, 1.3 * size * figure.dpi / 72)
        near = offset_copy(axes.get_yaxis_transform(), figure, x=9, units="points")
        for text, (_, _, name, colour) in zip(texts, sorted(labels[axes], key=lambda end: end[1]), strict=True):
            if name in markers:
                style = {"color": colour, "markersize": 4.5, "mew": 0, "transform": near, "clip_on": False}
                axes.plot(1.0, text.get_position()[1], markers[name], **style)


def readable(colour: Any) -> tuple[float, float, float]:
    """The colour, darkened as far as words on white need it: a contrast of 4.5 (WCAG 2.2, 1.4.3)."""
    shade = np.array(to_rgb(colour))
    while (1.05 / (_luminance(shade) + 0.05)) < 4.5:
        shade *= 0.95
    return tuple(shade)


def _luminance(shade: Array) -> float:
    linear = np.where(shade <= 0.04045, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


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
    blocks = [[place, [i]] for i, place in enumerate(places)]  # centre, members
    merged: list[list] = []
    for block in blocks:
        merged.append(block)
        while len(merged) > 1:
            (low, under), (high, over) = merged[-2], merged[-1]
            if high - low >= gap * (len(under) + len(over)) / 2:
                break
            members = under + over
            merged[-2:] = [[float(np.mean(places[members])), members]]
    out = np.empty(len(places))
    for centre, members in merged:
        out[members] = centre + gap * (np.arange(len(members)) - (len(members) - 1) / 2)
    return out
