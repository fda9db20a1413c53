"""The embedding space in two dimensions, before and after tuning."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels
from analysis.figures.style import plain
from analysis.tables.projection import Side
from analysis.tables.table import Table
from planner.law_book import LawBook

QUERY, DOCUMENT = ("o", "#5E3C99"), ("^", "#2A9D8F")  # no method's colours


def draw_projection(table: Table, book: LawBook) -> Figure | NotDrawn:
    """Queries and documents along the two directions of most variance, a line from each query to its document."""
    projection = table.projection
    if projection is None:
        return NotDrawn("the folder has no projection.json (embed project)")
    figure, axes_of = panels(2, columns=2, size=(3.7, 3.6), sharex=True, sharey=True)
    every = [points for side in (projection.before, projection.after) for points in (side.query, side.document)]
    ends = 1.05 * float(np.abs(np.concatenate(every)).max())
    for axes, name, side in zip(axes_of, ("before", "after"), (projection.before, projection.after), strict=True):
        _draw(axes, side)
        axes.set_title(
            f"{name}: {100 * side.accuracy:.0f} % of queries find their own\n"
            f"{100 * side.variance:.0f} % of the variance is shown"
        )
        axes.set_xlabel("first direction (of unit vectors)")
        axes.set_xlim(-ends, ends)
        axes.set_ylim(-ends, ends)
    axes_of[0].set_ylabel("second direction")
    keys = [
        Line2D([], [], linestyle="", marker=marker, color=colour, label=name)
        for name, (marker, colour) in (("query", QUERY), ("document", DOCUMENT))
    ]
    keys.append(Line2D([], [], color="#8A8A8A", linewidth=0.8, label="a pair"))
    title = f"{plain(projection.model)} before and after {plain(projection.method, 60)}"
    note = (
        f"{len(projection.before.query)} held-out pairs of {plain(projection.data, 40)}, vectors of {projection.dims} "
        "dimensions, each state about its own mean, along the same two directions and in one scale. What these two "
        "directions do not show is most of the space: judge by the shares, not by the shape alone."
    )
    head(figure, title, note, keys)
    return figure


def _draw(axes: Axes, side: Side) -> None:
    ends = np.stack([side.query, side.document], axis=1)  # [pairs, 2 ends, 2]
    axes.add_collection(LineCollection(list(ends), colors="#8A8A8A", linewidths=0.5, alpha=0.6))
    for (marker, colour), points in ((QUERY, side.query), (DOCUMENT, side.document)):
        axes.plot(*points.T, marker, color=colour, markersize=3.5, alpha=0.8, mew=0)
