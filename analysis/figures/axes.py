"""Panels, axes with readable ticks, numbers in words, and labels at the ends of lines that do not touch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.families import Array


def panels(count: int, below: str) -> tuple[Figure, list[Axes]]:
    columns = 2 if count == 4 else min(count, 3)
    lines = -(-count // columns)
    size = (3.3 * columns + 0.6, 2.9 * lines + 0.5) if count > 1 else (6.4, 4.4)
    figure, grid = plt.subplots(
        lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    panels = list(grid.ravel())
    for unused in panels[count:]:
        unused.set_visible(False)
    for lowest in panels[max(0, count - columns) : count]:
        lowest.tick_params(labelbottom=True)  # sharing the axis hides the labels above an unused panel
    figure.supxlabel(below, fontsize=9)
    return figure, panels[:count]


def logarithmic(axes: Axes, name: Callable[[float], str]) -> None:
    """Both axes logarithmic; `name` says a value of the horizontal one."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_losses(axes)
    few_ticks(axes, name)


def plain_losses(axes: Axes) -> None:
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(FixedLocator(loss_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def loss_ticks(low: float, high: float) -> list[float]:
    """Round numbers: evenly spaced where losses span little, by decade where they span much."""
    if high < 4 * low:
        step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0) if (high - low) / s <= 8), 10.0)
        return [step * i for i in range(int(np.ceil(low / step)), int(high / step) + 1)]
    steps = [1, 1.5, 2, 3, 4, 6] if high < 12 * low else [1, 2, 5] if high < 300 * low else [1]
    return [m * 10.0**e for e in range(-4, 5) for m in steps if low <= m * 10.0**e <= high]


def few_ticks(axes: Axes, name: Callable[[float], str]) -> None:
    """Round numbers along x, few enough that their names do not touch."""
    low, high = axes.get_xlim()
    decades = np.log10(high / low)
    steps = [1] if decades > 3 else [1, 3] if decades > 1.5 else [1, 2, 5]
    ticks = [m * 10.0**e for e in range(0, 30) for m in steps if low <= m * 10.0**e <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: name(value)))


def count(value: float) -> str:
    """25000 as 25 k."""
    for unit, name in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def flops(value: float) -> str:
    exponent = int(np.floor(np.log10(value)))
    mantissa = f"{value / 10**exponent:.2g}"
    if mantissa == "10":
        exponent, mantissa = exponent + 1, "1"
    return f"$10^{{{exponent}}}$" if mantissa == "1" else f"${mantissa}\\times10^{{{exponent}}}$"


def label_ends(axes: Axes, labels: Sequence[tuple[float, float, str, object]]) -> None:
    """Each line's name to the right of its end, pushed apart where they would touch."""
    if not labels:
        return
    figure = axes.figure
    figure.canvas.draw()
    ordered = sorted(labels, key=lambda label: label[1])
    pixels = np.array([axes.transData.transform((x, y))[1] for x, y, _, _ in ordered])
    gap = 11 * figure.dpi / 72
    placed = spread(pixels, gap)
    right = axes.transData.transform((max(x for x, _, _, _ in ordered), 1))[0]
    for (x, y, text, colour), height in zip(ordered, placed, strict=True):
        place = axes.transData.inverted().transform((right + 5 * figure.dpi / 72, height))
        axes.annotate(
            text,
            (x, y),
            xytext=place,
            textcoords="data",
            color=colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.5, "shrinkA": 1, "shrinkB": 0},
        )


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
