"""Loss against model size at equal budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from analysis.figures.axes import count, limits, log_axis, plain_number
from analysis.figures.budgets import bar, shades
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels, why_empty
from analysis.figures.style import Shown, left_out, loss_label, shown
from analysis.frontier import Level, Spending, at_level, budget_levels, law_losses
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import LawBook, MethodLaw

TITLE = "Loss against model size at equal training compute"
FOOT, BAR = 0.03, 0.025  # of a panel: where the first bar lies, and how far the next one is from it


def draw_isoflop(table: Table, book: LawBook) -> Figure | NotDrawn:
    """One panel a method: runs, law and its 90 % interval at each budget, and the best size with and without a law."""
    if reason := why_empty(table):
        return NotDrawn(reason)
    if table.rows["params"].nunique() == 1:
        size = count(table.rows["params"].iloc[0])
        return NotDrawn(f"every run has the same size, N = {size}: there is no curve over sizes")
    methods = [method for method in shown(table, book) if not method.runs.empty]
    figure, axes_of = panels(len(methods), sharex=True, sharey=True)
    levels = budget_levels(table.rows["flops"].to_numpy(float))
    colours = shades(len(levels))
    bars: dict[Axes, list[tuple[Mapping[str, Any], ColorType]]] = {}
    heights = [table.rows["loss"].to_numpy(float)]
    for axes, method in zip(axes_of, methods, strict=True):
        for level, shade in zip(levels, colours, strict=True):
            some = at_level(method.runs, level)
            if not some.empty:
                axes.plot(some["params"], some["loss"], "o", color=shade, markersize=4, mec="white", mew=0.4, zorder=3)
                _curve(axes, method, level, shade, heights)
        if method.law:
            bars[axes] = [(each, _shade(each, levels, colours)) for each in _minima(method.law)]
        axes.set_title(method.name)
        if method.law is None:
            axes.text(0.98, 0.98, "too few runs for a law", transform=axes.transAxes, ha="right", va="top", fontsize=8)
    low, high = limits(*heights, room=1.04)
    foot = FOOT + BAR * max(map(len, bars.values())) if any(bars.values()) else 0.0
    low *= (low / high) ** (foot / (1 - foot))  # the bars have the foot of the panels to themselves
    for axes in axes_of:
        axes.set_ylim(low, high)
        _draw_minima(axes, bars.get(axes, ()))
        log_axis(axes, "x", count, 5)
        log_axis(axes, "y", plain_number)
    figure.supxlabel("model size N (parameters outside the embedding tables)", fontsize=9)
    figure.supylabel(loss_label(table), fontsize=9)
    note = "Points: runs, coloured by budget. "
    if book.laws:
        note += "Lines and bands: the law, 90 %. White diamonds: its best size, if between tried ones. "
        if any(_minima(law) for law in book.laws):
            note += "Bars below: minima of the runs without a law, 90 %. "
    head(figure, TITLE, note + left_out(table))
    bar(figure, axes_of, [nominal(at_level(table.rows, level)) for level in levels])
    return figure


def _minima(law: MethodLaw) -> list[Mapping[str, Any]]:
    """The isoFLOP minima of a law that have an interval; those of law files of earlier versions have none."""
    return [bottom for bottom in law.isoflop.get("bottoms", ()) if bottom.get("interval")]


def _shade(bottom: Mapping[str, Any], levels: Sequence[Level], colours: Array) -> ColorType:
    """The colour of the level that is nearest to a minimum's budget."""
    return tuple(colours[np.argmin([abs(np.log(level.middle / bottom["budget"])) for level in levels])])


def _draw_minima(axes: Axes, bars: Sequence[tuple[Mapping[str, Any], ColorType]]) -> None:
    """Minima and their 90 % intervals as bars at the foot of a panel, the largest budget lowest."""
    for place, (bottom, shade) in enumerate(reversed(bars)):
        height = FOOT + BAR * place
        low, high = bottom["interval"]
        foot = axes.get_xaxis_transform()
        axes.plot([low, high], [height] * 2, color=shade, linewidth=1.4, transform=foot, zorder=3)
        axes.plot(bottom["params"], height, "|", color=shade, markersize=6, mew=1.6, transform=foot, zorder=4)


def nominal(runs: pd.DataFrame) -> float:
    """The budget that runs of a level were cut for; what they spent differs by the rounding to whole steps."""
    return float(runs["budget" if "budget" in runs else "flops"].median())


def _curve(axes: Axes, method: Shown, level: Level, shade: ColorType, heights: list[Array]) -> None:
    """Draw the law at one budget."""
    if method.law is None:
        return
    sizes = at_level(method.runs, level)["params"].to_numpy(float)
    spending = Spending.of(method.runs)
    grid = np.geomspace(sizes.min() / 1.3, sizes.max() * 1.3, 60)
    drawn = law_losses(method.law, grid, spending.tokens(level.middle, grid), spending)
    axes.plot(grid, drawn.middle, color=shade, linewidth=1.4)
    axes.fill_between(grid, drawn.low, drawn.high, color=shade, alpha=0.18, linewidth=0)
    heights.append(drawn.middle)
    lowest = int(np.argmin(drawn.middle))
    if sizes.min() < grid[lowest] < sizes.max():
        axes.plot(grid[lowest], drawn.middle[lowest], "D", color="white", mec=shade, mew=1.2, markersize=4.5, zorder=4)
