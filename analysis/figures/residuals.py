"""What the laws leave unexplained."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from analysis.figures.axes import count, few_ticks
from analysis.figures.style import COLOURS, MARKERS, shown
from analysis.table import Table
from planner.laws import LawBook


def draw_residuals(table: Table, book: LawBook) -> Figure:
    """Measured over predicted loss against N and against D: a trend here is something the law does not know."""
    laws = shown(table, book)
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True, layout="constrained")
    for law, colour, marker in zip(laws, COLOURS, MARKERS, strict=False):
        runs = table.rows[table.rows["method"] == law.label]
        columns = [runs[name].to_numpy(float) for name in ("params", "tokens", "share", "unique")]
        ratio = 100 * (runs["loss"].to_numpy(float) / law.law.at(*columns) - 1)
        for axes, values in zip(panels, columns[:2], strict=True):
            axes.plot(
                values, ratio, marker, color=colour, markersize=4.5, alpha=0.8, markeredgewidth=0, label=law.label
            )
    for axes, title in zip(panels, ("model size N (parameters)", "training tokens D"), strict=True):
        axes.axhline(0, color="#666666", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xlabel(title)
        few_ticks(axes, count)
    panels[0].set_ylabel("measured over predicted loss, minus 1 (%)")
    if len(laws) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return figure
