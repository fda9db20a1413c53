"""Joint training beside merging: held-out loss against FLOPs."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from analysis.figures.axes import flops, limits, log_axis, plain_number
from analysis.figures.files import NotDrawn
from analysis.figures.labels import Label, label_ends
from analysis.figures.layout import head
from analysis.figures.style import COLOURS, MARKERS, plain
from analysis.tables.comparison import MEAN, PLACE, WAYS, Comparison

MOST_TICKS = 4
APART = 1.06  # factor by which points of one budget are moved apart
TITLE = "Merged or trained together, at equal FLOPs"


def draw_merging(comparison: Comparison) -> Figure | NotDrawn:
    """Held-out loss against FLOPs: a line of panels for each ratio, a panel for each task, a line for each way."""
    if comparison.rows.empty:
        return NotDrawn(f"no trial has ended with a loss. {_lost(comparison)}".strip(" ."))
    groups = list(comparison.rows.groupby(["model", "method", "ratio"], sort=False))
    columns = [*comparison.tasks, MEAN]
    short = short_names(comparison.tasks)
    figure, grid = plt.subplots(
        len(groups),
        len(columns),
        figsize=(2.35 * len(columns) + 1.1, 2.3 * len(groups)),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    ends = {}
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(short[name])
    for line, ((model, method, ratio), rows) in zip(grid, groups, strict=True):
        for axes, name in zip(line, columns, strict=True):
            labels = _draw_ways(axes, comparison.ways, rows, name)
            if name == MEAN:
                ends[axes] = labels
        line[0].set_ylabel(f"{plain(str(model))} {plain(str(method))}, {ratio}\nheld-out loss (nats per pair)")
    for axes in grid[-1]:
        axes.set_xlabel("training compute C (FLOP)")
    head(figure, finding(comparison), _note(comparison))
    label_ends(figure, ends, 7.5, {way: {"marker": marker} for way, marker in zip(WAYS, MARKERS, strict=False)})
    return figure


def _draw_ways(axes: Axes, ways: list[str], rows: pd.DataFrame, name: str) -> list[Label]:
    """A line for each way; where and how each ends."""
    labels: list[Label] = []
    for place, way in enumerate(WAYS):
        own = rows[rows["way"] == way].dropna(subset=[name])
        if own.empty or way not in ways:
            continue
        by_budget = own.groupby("budget")[name].agg(["mean", "min", "max"])
        apart = APART ** (place - (len(WAYS) - 1) / 2)
        x, middle = by_budget.index.to_numpy(float) * apart, by_budget["mean"].to_numpy(float)
        colour = COLOURS[place]
        axes.vlines(x, by_budget["min"], by_budget["max"], linewidth=1.6, alpha=0.55, color=colour, zorder=3)
        axes.plot(
            x,
            middle,
            linewidth=1.1,
            marker=MARKERS[place],
            markersize=4.5,
            mec="white",
            mew=0.5,
            color=colour,
            zorder=3,
        )
        labels.append((float(x[-1]), float(middle[-1]), way, colour))
    axes.set_xlim(*limits(rows["budget"].to_numpy(float), room=1.6))
    if rows[name].notna().any():
        axes.set_ylim(*limits(rows[name].to_numpy(float), room=1.04))
    log_axis(axes, "x", flops, 4)
    budgets = sorted(set(rows["budget"]))
    if len(budgets) <= MOST_TICKS:
        axes.xaxis.set_major_locator(FixedLocator(budgets))
    log_axis(axes, "y", plain_number, 6)
    return labels


def finding(comparison: Comparison) -> str:
    """Which way has the lowest mean loss, and whether that is more than the seeds' range."""
    if len(comparison.ways) < 2:
        return TITLE
    places = [rows for _, rows in comparison.rows.groupby(["model", "method", "ratio", "budget"])]
    firsts = [_first(rows) for rows in places if rows["way"].nunique() > 1]
    ways = list(dict.fromkeys(way for way, _ in firsts))
    if len(ways) != 1:
        return f"{TITLE}: which is best depends on budget and ratio"
    clear = sum(beyond for _, beyond in firsts)
    return f"{TITLE}: {ways[0]} is best, at {clear} of {len(firsts)} places by more than the range of seeds"


def _first(rows: pd.DataFrame) -> tuple[str, bool]:
    """The way of the lowest mean, and whether none of its seeds is as high as the lowest of any other.

    A single seed has no range.
    """
    of_way = rows.groupby("way")[MEAN]
    best = str(of_way.mean().idxmin())
    return best, bool(of_way.size().min() > 1 and of_way.max()[best] < of_way.min().drop(best).min())


def _note(comparison: Comparison) -> str:
    counts = comparison.rows.groupby(list(PLACE[:-1])).size()
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    note = f"Points: mean of {seeds} seeds, bars: their range; points of one budget are moved apart along x. "
    note += (
        "The compute is that of the whole recipe: all parts, and the search. Ratios, in the order of the tasks, are "
    )
    note += "those of the steps and of the merge. "
    if comparison.rows["budget"].nunique() == 1:
        note += "There is one budget, hence no line. "
    return note + _lost(comparison)


def _lost(comparison: Comparison) -> str:
    note = ", ".join(f"{count} {way}" for way, count in comparison.lost.items())
    return f"Without a loss, and not drawn: {note}." if note else ""


def short_names(tasks: tuple[str, ...]) -> dict[str, str]:
    """Sources by the ends of their paths, where these tell them apart."""
    ends = [Path(task).name.split(".")[0] for task in tasks]
    names = ends if len(set(ends)) == len(ends) else list(tasks)
    return {**{task: plain(name) for task, name in zip(tasks, names, strict=True)}, MEAN: MEAN}
