"""What the laws leave unexplained."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.axes import count, flops, log_axis
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels, why_empty
from analysis.figures.style import left_out, shown
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import NORMAL, LawBook

TITLE = "Measured loss against that of the laws"
PART = 10  # of the logarithmic axis: one part is the standard deviation of the running mean
AXES = {
    "params": ("model size N (parameters)", count),
    "tokens": ("training tokens D", count),
    "flops": ("training compute C (FLOP)", flops),
}


def draw_residuals(table: Table, book: LawBook) -> Figure | NotDrawn:
    """Measured over predicted loss against N, D and C: a trend here is something the law does not know."""
    if reason := why_empty(table):
        return NotDrawn(reason)
    fitted = [(method, method.law) for method in shown(table, book) if method.law and not method.runs.empty]
    if not fitted:
        return NotDrawn(f"no method has runs enough for a law, so there is nothing to hold the {len(table.rows)} to")
    figure, axes_of = panels(3, size=(2.9, 2.9), sharey=True)
    gaps = []
    for method, law in fitted:
        columns = [method.runs[name].to_numpy(float) for name in ("params", "tokens", "share", "unique")]
        gap = 100 * (method.runs["loss"].to_numpy(float) / law.law.at(*columns) - 1)
        gaps.append(gap)
        for axes, name in zip(axes_of, AXES, strict=True):
            axes.plot(method.runs[name], gap, **method.points(rim=0.3, markersize=4, alpha=0.7, linestyle=""))
    noise = 100 * NORMAL * float(np.median([law.noise for _, law in fitted]))
    for axes, (name, (title, words)) in zip(axes_of, AXES.items(), strict=True):
        values = np.concatenate([method.runs[name].to_numpy(float) for method, _ in fitted])
        axes.axhspan(-noise, noise, color="#000000", alpha=0.05, linewidth=0)
        axes.axhline(0, color="#666666", linewidth=0.8)
        axes.plot(*running_mean(values, np.concatenate(gaps)), color="black", linewidth=1.8, zorder=4)
        axes.set_xlabel(title)
        axes.set_xscale("log")
        log_axis(axes, "x", words, 4)
    axes_of[0].set_ylabel("measured over predicted, minus 1 (%)")
    axes_of[0].yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    note = (
        f"Black: running mean of all runs, weighted by a Gaussian of 1/{PART} of the axis. Grey: where 90 % of runs "
        f"should lie by the laws' own noise, {noise:.2g} %. A trend is what the laws miss. "
    )
    keys = [method.key(linestyle="") for method, _ in fitted]
    head(figure, TITLE, note + left_out(table), keys)
    return figure


def running_mean(values: Array, gaps: Array) -> tuple[Array, Array]:
    """Where the running mean is drawn, and the mean of the gaps there: at each value where there are few, else evenly.

    values, gaps: [runs]; values positive.
    """
    at, places = np.log(values), np.unique(np.log(values))
    if len(places) > PART:
        places = np.linspace(places[0], places[-1], 60)
    width = max(float(np.ptp(at)) / PART, 1e-9)
    weights = np.exp(-0.5 * ((places[:, None] - at) / width) ** 2)
    return np.exp(places), (weights @ gaps) / weights.sum(axis=1)
