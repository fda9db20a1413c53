"""How surely the runs tell a coefficient: its profile."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.figures.axes import limits, log_axis, plain_number
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels
from analysis.figures.style import Shown, left_out, shown
from analysis.tables.table import Table
from planner.law_book import LawBook

TITLE = "Profiles of coefficients"
HIGHEST = 3.0  # rise that is drawn, in units of the one at the ends of the interval
WIDE = 5.0  # times between the ends of an axis from which it is logarithmic


def draw_profile(table: Table, book: LawBook) -> Figure | NotDrawn:
    """A panel a coefficient: how much worse the best law fits with the coefficient held at each value."""
    methods = [method for method in shown(table, book) if method.law and method.law.profiles]
    names = list(dict.fromkeys(name for method in methods if method.law for name in method.law.profiles))
    if not names:
        return NotDrawn("no coefficient was profiled (fit --profile)")
    figure, axes_of = panels(len(names), sharey=True)
    for axes, name in zip(axes_of, names, strict=True):
        spans = [_draw(axes, method, name) for method in methods]
        _finish(axes, name, np.concatenate(spans))
    figure.supylabel("rise of the misfit (90 % allow 1)", fontsize=9)
    note = "The best law with one coefficient held: below the dashed line lies its 90 % interval by the "
    note += "likelihood-ratio test. A line that stays below it on one side says that the runs set no bound there. "
    head(figure, TITLE, note + left_out(table), [method.key() for method in methods])
    return figure


def _draw(axes: Axes, method: Shown, name: str) -> np.ndarray:
    """Draw the profile of a method, if it has one, and return the values that lie low enough to be seen."""
    profile = method.law.profiles.get(name) if method.law else None
    if profile is None:
        return np.empty(0)
    values, rises = np.array(profile["points"], float).T
    axes.plot(values, rises, **method.points(rim=0.0, markersize=3.5, linewidth=1.2))
    return np.asarray(values[rises <= HIGHEST])


def _finish(axes: Axes, name: str, values: np.ndarray) -> None:
    axes.axhline(1.0, color="#666666", linewidth=0.8, linestyle="--")
    axes.set_ylim(0, HIGHEST)
    axes.set_xlabel("E, irreducible loss (in units of the loss)" if name == "E" else f"{name} (in units of the law)")
    axes.set_xlim(*limits(values, room=1.02))
    low, high = axes.get_xlim()
    if high > WIDE * low:
        log_axis(axes, "x", plain_number, 4)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
