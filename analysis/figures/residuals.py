"""What the laws leave unexplained."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.axes import count, flops, log_axis
from analysis.figures.layout import head, panels, say, why_empty
from analysis.figures.style import left_out, shown
from analysis.tables.table import Table
from planner.law_book import NORMAL, LawBook

TITLE = "Measured loss against the laws'"
AXES = {
    "params": ("model size N (parameters)", count),
    "tokens": ("training tokens D", count),
    "flops": ("training compute C (FLOP)", flops),
}


def draw_residuals(table: Table, book: LawBook) -> Figure:
    """Measured over predicted loss against N, D and C: a trend here is something the law does not know."""
    if reason := why_empty(table):
        return say(TITLE, reason)
    fitted = [(method, method.law) for method in shown(table, book) if method.law and not method.runs.empty]
    if not fitted:
        return say(TITLE, f"No method has runs enough for a law, so there is nothing to hold the {len(table.rows)} to.")
    figure, axes_of = panels(3, size=(2.9, 2.9), sharey=True)
    for method, law in fitted:
        columns = [method.runs[name].to_numpy(float) for name in ("params", "tokens", "share", "unique")]
        gap = 100 * (method.runs["loss"].to_numpy(float) / law.law.at(*columns) - 1)
        for axes, name in zip(axes_of, AXES, strict=True):
            values = method.runs[name]
            axes.plot(values, gap, **method.points(rim=0.3, markersize=4.5, alpha=0.85, linestyle=""))
    noise = 100 * NORMAL * float(np.median([law.noise for _, law in fitted]))
    for axes, (title, words) in zip(axes_of, AXES.values(), strict=True):
        axes.axhspan(-noise, noise, color="#000000", alpha=0.05, linewidth=0)
        axes.axhline(0, color="#666666", linewidth=0.8)
        axes.set_xlabel(title)
        axes.set_xscale("log")
        log_axis(axes, "x", words, 4)
    axes_of[0].set_ylabel("measured over predicted, minus 1 (%)")
    axes_of[0].yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    note = f"Grey: where 90 % of runs should lie by the laws' own noise, {noise:.2g} %. A trend is what a law misses. "
    keys = [method.key(linestyle="") for method, _ in fitted]
    head(figure, TITLE, note + left_out(table), keys)
    return figure
