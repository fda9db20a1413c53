"""What all figures share: palette, markers, type, and which methods are shown."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")  # files only: a window system need not be there

import matplotlib.pyplot as plt

from analysis.table import Table
from planner.laws import LawBook, MethodLaw

# Okabe and Ito (2008): told apart under every common colour blindness. Yellow is left out, too pale for lines.

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F"]


MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]


BUDGET_COLOURS = plt.get_cmap("viridis")


STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "recipe-planner",  # the same picture gives the same file
}


MOST_METHODS = len(COLOURS)


def shown(table: Table, book: LawBook) -> list[MethodLaw]:
    """All laws, or where there are too many to tell apart those that reached the lowest losses."""
    if len(book.laws) <= MOST_METHODS:
        return list(book.laws)
    lowest = table.rows.groupby("method")["loss"].min()
    return sorted(book.laws, key=lambda law: lowest[law.label])[:MOST_METHODS]


def loss_label(book: LawBook) -> str:
    if book.measure != "loss":
        return f"{book.measure}, held out"
    return "held-out loss (nats per pair)" if book.training else "loss"
