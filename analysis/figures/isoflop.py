"""Loss against model size at equal budgets."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.axes import count, flops, label_ends, logarithmic, panels
from analysis.figures.style import BUDGET_COLOURS, loss_label, shown
from analysis.frontier import Spending, budget_levels, law_losses
from analysis.table import Table
from planner.laws import LawBook


def draw_isoflop(table: Table, book: LawBook) -> Figure:
    """One panel a method: loss against model size at each budget, the law and its 90 % interval through the runs."""
    laws = shown(table, book)
    figure, axes_of_laws = panels(len(laws), "model size N (parameters outside the embedding tables)")
    levels = budget_levels(table.rows["flops"].to_numpy(float))
    shades = BUDGET_COLOURS(np.linspace(0.0, 0.85, len(levels)))
    for axes, law in zip(axes_of_laws, laws, strict=True):
        runs = table.rows[table.rows["method"] == law.label]
        spending = Spending.of(runs)
        labels = []
        for level, shade in zip(levels, shades, strict=True):
            some = runs[(runs["flops"] >= level.low) & (runs["flops"] <= level.high)]
            if some.empty:
                continue
            sizes, losses = some["params"].to_numpy(float), some["loss"].to_numpy(float)
            axes.plot(sizes, losses, "o", color=shade, markersize=4.5, markeredgecolor="white", markeredgewidth=0.5)
            grid = np.geomspace(sizes.min() / 1.4, sizes.max() * 1.4, 80)
            drawn = law_losses(law, grid, spending.tokens(level.middle, grid), spending)
            axes.plot(grid, drawn.middle, color=shade, linewidth=1.4)
            axes.fill_between(grid, drawn.low, drawn.high, color=shade, alpha=0.18, linewidth=0)
            labels.append((grid[-1], drawn.middle[-1], f"{flops(level.middle)} FLOP", shade))
        axes.set_title(law.label if len(laws) > 1 else "")
        logarithmic(axes, count)
        label_ends(axes, labels)
    figure.supylabel(loss_label(book), fontsize=9)
    figure.suptitle("Loss at equal training compute (points: runs, lines: law, bands: 90 %)", fontsize=10)
    return figure
