"""How well laws fitted to smaller runs predicted larger ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from analysis.figures.axes import limits, log_axis, plain_number
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels, why_empty
from analysis.figures.style import Shown, family_keys, left_out, loss_label, shown
from analysis.fitting.backtest import FamilyChoice, Forecasts, forecasts
from analysis.fitting.estimate import Settings
from analysis.fitting.forms import shapes_of
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import LawBook

TITLE = "Larger runs, as laws of the smaller ones predicted them"
NEAR = 0.03  # of the loss: a miss that changes few decisions
AXES = {"C": "runs of larger budgets", "N": "runs of larger models"}


@dataclass(frozen=True)
class Misses:
    """Predictions of one method's runs along one axis."""

    method: Shown
    measured: Array
    """Losses of the runs, [predictions]."""
    predicted: Array
    """What the fits said of them."""
    factor: Array
    """How many times each run lies beyond the largest one fitted."""


def draw_backtest(table: Table, book: LawBook) -> Figure | NotDrawn:
    """Predicted against measured loss of runs that the fit had not seen, by how far they lie beyond it."""
    if reason := why_empty(table):
        return NotDrawn(reason)
    by_axis = _forecasts(table, book)
    if not any(by_axis.values()):
        return NotDrawn("there are too few sizes or budgets to fit the smaller runs and leave larger ones to predict")
    every = [misses for some in by_axis.values() for misses in some]
    drawn = [axis for axis in AXES if by_axis[axis]]
    figure, axes_of = panels(len(drawn) + 1, columns=3, size=(2.9, 3.0))
    ends = limits(*(array for m in every for array in (m.measured, m.predicted)), room=1.04)
    factors = np.concatenate([m.factor for m in every])
    shade = LogNorm(factors.min() / 1.05, factors.max() * 1.05)
    for axes, axis in zip(axes_of, drawn, strict=False):
        line = np.array(ends)
        axes.fill_between(line, line * (1 - NEAR), line * (1 + NEAR), color="#000000", alpha=0.08, linewidth=0)
        axes.plot(line, line, color="#666666", linewidth=0.8)
        for m in by_axis[axis]:
            points = axes.scatter(
                m.measured, m.predicted, s=28, c=m.factor, norm=shade, cmap=FAR, marker=m.method.marker
            )
            points.set(linewidths=0.4, edgecolors="white")
        axes.set_title(f"{AXES[axis]}: {_summary(by_axis[axis])}")
        axes.set_xlabel(f"measured {loss_label(table)}")
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        log_axis(axes, "x", plain_number, 5)
        log_axis(axes, "y", plain_number, 7)
    axes_of[0].set_ylabel(f"predicted {loss_label(table)}")
    _draw_misses(axes_of[-1], by_axis, shade)
    note = (
        f"Each point is a run that its fit had not seen; a run appears once for each fit to still smaller ones. Grey: "
        f"within {100 * NEAR:.0f} %. Colour: how many times it lies beyond the largest run fitted, as along "
        "the last panel (full: beyond in budget, open: in model size). "
    )
    if len(drawn) < len(AXES):
        note += f"There are too few {'sizes' if drawn == ['C'] else 'budgets'} to leave the largest out. "
    shown_here = {m.method.label for m in every}
    head(figure, TITLE, note + left_out(table), family_keys(m for m in shown(table, book) if m.label in shown_here))
    return figure


FAR = LinearSegmentedColormap.from_list("far", plt.get_cmap("plasma_r")(np.linspace(0.15, 1, 64)))  # no pale yellow


def _forecasts(table: Table, book: LawBook) -> dict[str, list[Misses]]:
    """Forecasts of the families of the law, method by method, along C and along N."""
    methods = {method.label: method for method in shown(table, book) if method.law}
    by_axis: dict[str, list[Misses]] = {axis: [] for axis in AXES}
    for labels in _alike(book):
        first = next(law for law in book.laws if law.label == labels[0])
        rows = table.of(labels)
        shapes = shapes_of(rows, book.source.get("fixed", {}))
        tried = [name.partition(",")[0] for name in first.backtest["tried"]]
        needed = max(shapes[name].size for name in tried if name in shapes) + 1
        weights = {FamilyChoice(name, shapes[name], bool(first.shared)): x for name, x in first.weights.items()}
        predictions = forecasts(weights, rows, needed, first.delta or Settings().first_delta)
        for axis in AXES:
            for place, label in enumerate(labels):
                mine = np.array(predictions.along, dtype=str) == axis
                mine &= rows.group[predictions.place] == place
                if label in methods and mine.any():
                    by_axis[axis].append(_misses(methods[label], rows.loss, predictions, mine))
    return by_axis


def _misses(method: Shown, loss: Array, forecast: Forecasts, mine: Array) -> Misses:
    return Misses(method, loss[forecast.place[mine]], forecast.predicted[mine], forecast.factor[mine])


def _alike(book: LawBook) -> list[list[str]]:
    """Labels of laws that were chosen together and backtested."""
    groups: dict[str, list[str]] = {}
    for law in book.laws:
        if law.backtest and "tried" in law.backtest:
            groups.setdefault(f"{law.family} {law.backtest}", []).append(law.label)
    return list(groups.values())


def _summary(axis_misses: Sequence[Misses]) -> str:
    misses = np.abs(np.concatenate([m.predicted / m.measured - 1 for m in axis_misses]))
    return f"{100 * misses.mean():.1f} % off\n{(misses <= NEAR).sum()} of {len(misses)} within {100 * NEAR:.0f} %"


def _draw_misses(axes: Axes, by_axis: Mapping[str, Sequence[Misses]], shade: LogNorm) -> None:
    """Each miss against how far the run lies beyond the fit: whether predictions get worse with distance."""
    axes.axhspan(-100 * NEAR, 100 * NEAR, color="#000000", alpha=0.08, linewidth=0)
    axes.axhline(0, color="#666666", linewidth=0.8)
    for axis, some in by_axis.items():
        for m in some:
            edge = FAR(shade(m.factor))
            style = {"facecolors": edge if axis == "C" else "none", "edgecolors": edge, "linewidths": 0.9, "s": 24}
            axes.scatter(m.factor, 100 * (m.predicted / m.measured - 1), marker=m.method.marker, **style)
    low, high = limits(*(m.factor for some in by_axis.values() for m in some), room=1.2)
    axes.set_xlim(low, high)
    axes.set_xlabel("times beyond the largest run fitted")
    axes.set_ylabel("predicted over measured, minus 1 (%)")
    axes.set_title("misses by distance\n")
    log_axis(axes, "x", lambda value: f"{value:.3g}x", 5)
