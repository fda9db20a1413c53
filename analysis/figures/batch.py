"""Loss against batch size at equal training compute, and the best batch size along it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from analysis.figures.axes import count, flops, limits, log_axis, plain_number
from analysis.figures.budgets import bar, shades
from analysis.figures.files import NotDrawn
from analysis.figures.isoflop import nominal
from analysis.figures.layout import head, panels, why_empty
from analysis.figures.style import Shown, left_out, loss_label, shown
from analysis.frontier import Level, at_level, budget_levels
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import LawBook, MethodLaw

TITLE = "Loss against batch size at equal training compute"
MOST = 2  # methods with a panel of their own


def draw_batch(table: Table, book: LawBook) -> Figure | NotDrawn:
    """A panel a method: runs of the best model of each budget with the law; and B* against compute."""
    if not table.batch_sizes or why_empty(table):
        return NotDrawn("every run has the same batch size (several: a list under [training], batch_size)")
    every = [method for method in shown(table, book) if not method.runs.empty]
    methods = every[:MOST]
    figure, axes_of = panels(len(methods) + 1)
    levels = budget_levels(table.rows["flops"].to_numpy(float))
    colours = shades(len(levels))
    budgets = [nominal(at_level(table.rows, level)) for level in levels]
    for axes, method in zip(axes_of, methods, strict=False):
        heights: list[Array] = []
        for level, shade in zip(levels, colours, strict=True):
            _level(axes, method, level, shade, heights)
        axes.set_title(method.name)
        axes.set_xlim(*limits(np.array(table.batch_sizes, float), room=1.3))
        axes.set_ylim(*limits(*heights, room=1.03))
        axes.set_xlabel("batch size B (pairs)")
        axes.set_ylabel(loss_label(table))
        log_axis(axes, "x", count)
        log_axis(axes, "y", plain_number)
    last = axes_of[-1]
    for method in every:
        _best(last, method, levels)
    last.set_title("best batch size")
    last.set_xlabel("training compute C (FLOP)")
    last.set_ylabel("B* (pairs)")
    log_axis(last, "x", flops, 4)
    log_axis(last, "y", count)
    note = "Points: runs of the model with the lowest loss of a budget. Lines and bands: "
    note += (
        "the law, 90 %. White diamonds: its best batch size B*. Right: B* of that model by the law, 90 %; points: the "
    )
    note += "best size tried. "
    head(figure, TITLE, note + left_out(table), [method.key(linestyle="") for method in every])
    bar(figure, axes_of[:-1], budgets)
    return figure


def _of_best_model(runs: pd.DataFrame, level: Level) -> pd.DataFrame:
    """The runs of a level that are of the model with the lowest loss in it, a mean of the seeds for each batch size."""
    some = at_level(runs, level)
    if some.empty:
        return some
    own = some[some["model"] == some.loc[some["loss"].idxmin(), "model"]]
    numbers = ["params", "tokens", "flops", "loss", "budget"]
    return own.groupby("batch", as_index=False)[numbers].mean()


def _level(axes: Axes, method: Shown, level: Level, shade: ColorType, heights: list[Array]) -> None:
    """The runs of one budget with the law."""
    runs = _of_best_model(method.runs, level)
    if runs.empty:
        return
    axes.plot(runs["batch"], runs["loss"], method.marker, color=shade, markersize=4, mec="white", mew=0.4, zorder=3)
    heights.append(runs["loss"].to_numpy(float))
    if method.law is None or method.law.batch is None:
        return
    N, D = float(runs["params"].iloc[0]), float(runs["tokens"].mean())
    sizes = np.geomspace(runs["batch"].min() / 1.1, runs["batch"].max() * 1.1, 80)
    middle, low, high = curve(method.law, N, D, sizes)
    axes.plot(sizes, middle, color=shade, linewidth=1.4)
    axes.fill_between(sizes, low, high, color=shade, alpha=0.18, linewidth=0)
    heights.append(middle)
    best = method.law.batch.best(D)
    if sizes[0] < best < sizes[-1]:
        axes.plot(best, method.law.law.loss(N, D), "D", color="white", mec=shade, mew=1.2, markersize=4.5, zorder=4)


def curve(law: MethodLaw, N: float, D: float, sizes: Array) -> tuple[Array, Array, Array]:
    """Loss at each batch size by a law that knows them, and the ends of its 90 % interval [sizes]."""
    assert law.batch
    middle = law.law.loss(N, D * law.batch.term.share(D, sizes))
    terms = [law.batch.term_of(place) for place in range(len(law.draws))]
    drawn = [draw.loss(N, D * term.share(D, sizes)) for draw, term in zip(law.draws, terms, strict=True)]
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0) if drawn else (middle, middle)
    return middle, low, high


def _best(axes: Axes, method: Shown, levels: list[Level]) -> None:
    """B* and the best size tried at each budget, of the model with the lowest loss there."""
    at = [runs for level in levels if not (runs := _of_best_model(method.runs, level)).empty]
    spent = [float(runs["flops"].mean()) for runs in at]
    tried = [float(runs.loc[runs["loss"].idxmin(), "batch"]) for runs in at]
    axes.plot(spent, tried, **method.points(markersize=5, linestyle=""))
    if method.law and (batch := method.law.batch):
        tokens = [float(runs["tokens"].mean()) for runs in at]
        axes.plot(spent, [batch.best(D) for D in tokens], color=method.colour, linewidth=1.4)
        ends = [batch.interval(D) for D in tokens]
        known = [(C, *pair) for C, pair in zip(spent, ends, strict=True) if pair]
        if known:
            axes.fill_between(*np.array(known).T, color=method.colour, alpha=0.18, linewidth=0)
