"""Budgets by colour, and the one bar beside the panels that says which is which."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from analysis.figures.axes import Names, flops
from analysis.tables.rows import Array

COLOURS = plt.get_cmap("viridis")
LAST = 0.85  # of the colour map: its end is too pale on white
MOST_NAMES = 10  # beside a bar


def shades(count: int) -> Array:
    """Colours from the smallest to the largest [count, 4]."""
    return np.asarray(COLOURS(np.linspace(0.0, LAST, count)))


def bar(
    figure: Figure, beside: Sequence[Axes], values: Sequence[float], label: str = "budget (FLOP)", name: Names = flops
) -> None:
    """A bar at the right of these panels with a block for each value, in the colours of `shades`, the lowest below."""
    edges = np.arange(len(values) + 1)
    mappable = ScalarMappable(BoundaryNorm(edges, len(values)), ListedColormap(shades(len(values))))
    drawn = figure.colorbar(mappable, ax=list(beside), aspect=30, pad=0.02, fraction=0.06)
    every = -(-len(values) // MOST_NAMES)
    named = list(range(len(values)))[::-every]
    drawn.set_ticks([place + 0.5 for place in named], labels=[name(values[place]) for place in named])
    drawn.ax.tick_params(length=0, labelsize=8)
    drawn.ax.minorticks_off()
    drawn.outline.set_visible(False)  # type: ignore[operator]  # matplotlib's stubs take the outline for a method
    drawn.set_label(label, fontsize=9)
