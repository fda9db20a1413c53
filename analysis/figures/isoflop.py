"""Loss against model size at equal budgets."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from analysis.figures.axes import count, flops, limits, log_axis, plain_number
from analysis.figures.labels import Label, label_ends
from analysis.figures.layout import head, panels, say, why_empty
from analysis.figures.style import BUDGET_COLOURS, Shown, left_out, loss_label, shown
from analysis.frontier import Level, Spending, at_level, budget_levels, law_losses
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import LawBook

TITLE = "Loss against model size at equal training compute"


def draw_isoflop(table: Table, book: LawBook) -> Figure:
    """One panel a method: the runs, the law and its 90 % interval at each budget, and the law's best size."""
    if reason := why_empty(table):
        return say(TITLE, reason)
    if table.rows["params"].nunique() == 1:
        size = count(table.rows["params"].iloc[0])
        return say(TITLE, f"Every run has the same size, N = {size}: there is no curve over sizes to draw.")
    methods = [method for method in shown(table, book) if not method.runs.empty]
    figure, axes_of = panels(len(methods), sharex=True, sharey=True)
    levels = budget_levels(table.rows["flops"].to_numpy(float))
    shades = BUDGET_COLOURS(np.linspace(0.0, 0.85, len(levels)))
    labels: dict[Axes, list[Label]] = {}
    heights = [table.rows["loss"].to_numpy(float)]
    for axes, method in zip(axes_of, methods, strict=True):
        labels[axes] = []
        for level, shade in zip(levels, shades, strict=True):
            some = at_level(method.runs, level)
            if not some.empty:
                axes.plot(some["params"], some["loss"], "o", color=shade, markersize=4, mec="white", mew=0.4, zorder=3)
                x, y = _curve(axes, method, level, shade, heights) or _end(some)
                labels[axes].append((x, y, flops(nominal(some)), shade))
        axes.set_title(method.name)
        if method.law is None:
            axes.text(0.98, 0.98, "too few runs for a law", transform=axes.transAxes, ha="right", va="top", fontsize=8)
    for axes in axes_of:
        axes.set_ylim(*limits(*heights, room=1.04))
        log_axis(axes, "x", count, 5)
        log_axis(axes, "y", plain_number)
    figure.supxlabel("model size N (parameters outside the embedding tables)", fontsize=9)
    figure.supylabel(loss_label(table), fontsize=9)
    note = "Points: runs, the lines named by their budget in FLOP. "
    if book.laws:
        note += "Lines and bands: the law, 90 %. White diamonds: its best size, if between tried ones. "
    head(figure, TITLE, note + left_out(table))
    label_ends(figure, labels, 7.5)
    return figure


def nominal(runs: pd.DataFrame) -> float:
    """The budget that runs of a level were cut for; what they spent differs by the rounding to whole steps."""
    return float(runs["budget" if "budget" in runs else "flops"].median())


def _curve(
    axes: Axes, method: Shown, level: Level, shade: ColorType, heights: list[Array]
) -> tuple[float, float] | None:
    """Draw the law at one budget; returns where it ends."""
    if method.law is None:
        return None
    sizes = at_level(method.runs, level)["params"].to_numpy(float)
    spending = Spending.of(method.runs)
    grid = np.geomspace(sizes.min() / 1.3, sizes.max() * 1.3, 120)
    drawn = law_losses(method.law, grid, spending.tokens(level.middle, grid), spending)
    axes.plot(grid, drawn.middle, color=shade, linewidth=1.4)
    axes.fill_between(grid, drawn.low, drawn.high, color=shade, alpha=0.18, linewidth=0)
    heights.append(drawn.middle)
    lowest = int(np.argmin(drawn.middle))
    if sizes.min() < grid[lowest] < sizes.max():
        axes.plot(grid[lowest], drawn.middle[lowest], "D", color="white", mec=shade, mew=1.2, markersize=4.5, zorder=4)
    return grid[-1], drawn.middle[-1]


def _end(runs: pd.DataFrame) -> tuple[float, float]:
    last = runs.loc[runs["params"].idxmax()]
    return float(last["params"]), float(last["loss"])
