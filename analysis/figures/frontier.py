"""Best loss against compute, and where the best method changes."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.families import Array
from analysis.figures.axes import flops, label_ends, logarithmic
from analysis.figures.style import COLOURS, MARKERS, loss_label, shown
from analysis.frontier import budget_levels, crossings, frontier
from analysis.table import Table
from planner.laws import LawBook, MethodLaw


def draw_frontier(table: Table, book: LawBook) -> Figure:
    """Best loss against training FLOPs, one line a method; dashed beyond the runs; bands where the best changes."""
    laws = shown(table, book)
    figure, axes = plt.subplots(figsize=(7.2, 4.6))
    low, high = book.span.flops
    budgets = np.geomspace(low, high * 10, 120)
    labels, lines = [], []
    for law, colour, marker in zip(laws, COLOURS, MARKERS, strict=False):
        runs = table.rows[table.rows["method"] == law.label]
        line = frontier(law, runs, budgets)
        lines.append(line)
        seen = budgets <= high * 1.001
        axes.plot(budgets[seen], line.middle[seen], color=colour, linewidth=1.6)
        axes.plot(budgets[~seen], line.middle[~seen], color=colour, linewidth=1.4, linestyle=(0, (4, 2)))
        axes.fill_between(budgets, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
        best = [
            runs.loc[inside["loss"].idxmin()]
            for level in budget_levels(runs["flops"].to_numpy(float))
            if not (inside := runs[(runs["flops"] >= level.low) & (runs["flops"] <= level.high)]).empty
        ]
        points = [(row["flops"], row["loss"]) for row in best]
        axes.plot(
            *zip(*points, strict=True), marker, color=colour, markersize=6, markeredgecolor="white", label=law.label
        )
        if len(laws) > 1:
            labels.append((budgets[-1], line.middle[-1], law.label, colour))
    axes.axvline(high, color="#999999", linewidth=0.8, linestyle=":")
    axes.annotate(
        "largest run",
        (high, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -2),
        color="#666666",
        textcoords="offset points",
        va="top",
        fontsize=8,
    )
    _mark_crossings(axes, laws, lines, budgets)
    axes.set_xlabel("training compute C (FLOP)")
    axes.set_ylabel(loss_label(book))
    axes.set_title("Best loss at each budget (points: best run, lines: law, bands: 90 %)")
    logarithmic(axes, flops)
    label_ends(axes, labels)
    return figure


def _mark_crossings(axes: Axes, laws: Sequence[MethodLaw], lines: Sequence, budgets: Array) -> None:
    """Budgets at which the best method changes: a line at the estimate, a band over the 90 % interval."""
    for place, crossing in enumerate(crossings([law.label for law in laws], lines, budgets)):
        axes.axvspan(crossing.low, crossing.high, color="#000000", alpha=0.06, linewidth=0)
        axes.axvline(crossing.budget, color="#444444", linewidth=0.9)
        ends = f"{flops(crossing.low)} to {flops(crossing.high)}"
        text = f"{crossing.after} overtakes {crossing.before}\nat {flops(crossing.budget)} FLOP ({ends})"
        axes.annotate(
            text,
            (crossing.budget, 0.03 + 0.12 * place),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
            color="#444444",
        )
