"""Joint training beside merging: the table of a sweep that compares them, and its two figures.

No law holds over several conditions, so nothing is fitted. The surface is drawn from surface.json beside the
observations, which `embed merge --surface` writes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.files import Drawn, NotDrawn, write
from analysis.figures.merge_surface import draw_surface
from analysis.figures.merging import draw_merging, short_names
from analysis.tables.comparison import MEAN, Comparison
from sweeps.support.text import table

FIGURES: dict[str, Callable[[Comparison], Figure | NotDrawn]] = {
    "merging": draw_merging,
    "merge-surface": draw_surface,
}


def text(comparison: Comparison) -> str:
    """The table: loss by task at each budget, mean and range over the seeds."""
    lines = [f"{comparison.name}: a comparison of ways to train on several sources; no laws are fitted"]
    short = short_names(comparison.tasks)
    for (model, method, ratio), part in comparison.rows.groupby(["model", "method", "ratio"], sort=False):
        for budget, rows in part.groupby("budget"):
            lines += ["", f"{model} {method}, ratio {ratio}, {budget:.3g} FLOPs: held-out loss, nats per pair"]
            lines += _table(comparison, rows, short)
    lost = ", ".join(f"{count} {way}" for way, count in comparison.lost.items())
    lines += ["", f"trials without a loss: {lost}"] if lost else []
    if comparison.rows.empty:
        lines += ["", "no trial has ended with a loss yet"]
    return "\n".join([*lines, *(f"warning: {caveat.text}" for caveat in comparison.caveats)])


def _table(comparison: Comparison, rows: pd.DataFrame, short: dict[str, str]) -> list[str]:
    columns = [*comparison.tasks, MEAN]
    cells = [["", "seeds", *(short[name] for name in columns)]]
    for way in comparison.ways:
        own = rows[rows["way"] == way]
        if len(own):
            cells.append([way, str(len(own)), *(spread_of(own[name]) for name in columns)])
    return table(cells, numbers_right=False)


def spread_of(values: pd.Series) -> str:
    """Mean and range."""
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


def document(comparison: Comparison) -> dict[str, Any]:
    """The table for programs."""
    return {
        "comparison": comparison.name,
        "tasks": comparison.tasks,
        "rows": comparison.rows.to_dict("records"),
        "lost": comparison.lost,
    }


def draw_all(comparison: Comparison, folder: Path) -> Drawn:
    """Every figure as PNG and SVG in `folder`."""
    return write({name: partial(draw, comparison) for name, draw in FIGURES.items()}, folder)
