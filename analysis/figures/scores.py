"""Whether a lower loss is a better model: scores against the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.axes import count
from analysis.figures.budgets import bar, shades
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels
from analysis.figures.style import INK, Shown, family_keys, left_out, plain, shown
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import LawBook
from planner.scores import ScoreLaw
from sweeps.tasks import score_name

TITLE = "Does a lower loss mean a better score?"
SCORES = {"ndcg@10": "nDCG@10", "effective_rank": "effective rank (directions)"}  # what is drawn of the pools' scores
FEWEST = 3  # trials that have a rank correlation
MOST = 6  # panels
Colours = Mapping[float, Array]  # of model sizes


def draw_scores(table: Table, book: LawBook) -> Figure | NotDrawn:
    """Scores against the held-out loss, all trials, with the rank correlation; of tasks with the relation."""
    tasks = [name for name in _tasks(table) if name in table.scored][:MOST]
    names = tasks or [name for name in SCORES if name in table.scored]
    if not names:
        return NotDrawn("no trial was scored (training.tasks or training.score)")
    laws = {law.score: law for law in book.scores}
    figure, axes_of = panels(len(names), size=(3.7, 3.3))
    methods = [method for method in shown(table, book) if (table.scored["method"] == method.label).any()]
    sizes = sorted(table.scored["params"].unique().tolist())
    colours = dict(zip(sizes, shades(len(sizes)), strict=True))
    for axes, name in zip(axes_of, names, strict=True):
        known = table.scored.dropna(subset=[name])
        _panel(axes, known, name, methods, colours)
        if name in laws:
            _relation(axes, laws[name], known, colours)
    note = "All trials that were scored, every learning rate. "
    note += (
        "The tasks are texts of their own. Line and band: what is expected of a trial at that loss, 90 %; a line for "
        "each size where that makes a difference. "
        if tasks
        else "Scores and loss are of the same held-out pools. "
    )
    head(figure, TITLE, note + left_out(table), family_keys(methods))
    bar(figure, axes_of, sizes, "model size N (parameters)", count)
    return figure


def _tasks(table: Table) -> list[str]:
    return [score_name(task) for task in table.training.tasks] if table.training else []


def _panel(axes: Axes, known: pd.DataFrame, name: str, methods: Sequence[Shown], colours: Colours) -> None:
    for method in methods:
        for size, some in known[known["method"] == method.label].groupby("params"):
            style = method.points(rim=0.0, colour=tuple(colours[size]), markersize=5, alpha=0.85, linestyle="")
            axes.plot(some["loss"], some[name], **style)
    axes.set_xlabel("held-out loss (nats per pair)")
    axes.set_ylabel(SCORES.get(name, plain(name, 40)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], prune="both"))
    if len(known) < FEWEST:
        axes.set_title(f"{len(known)} scored: too few to rank")
    else:
        axes.set_title(f"Spearman {known['loss'].corr(known[name], method='spearman'):+.2f} over {len(known)} trials")


def _relation(axes: Axes, law: ScoreLaw, known: pd.DataFrame, colours: Colours) -> None:
    """The expected score, of each size over its losses, and where 90 % of trials at such a loss should lie."""
    for N, losses in _lines(law, known):
        ends = np.array([law.interval(loss, loss, loss, N) for loss in losses])
        colour = tuple(colours[N]) if law.c else INK
        axes.fill_between(losses, ends[:, 0], ends[:, 1], color=colour, alpha=0.08, linewidth=0)
        axes.plot(losses, [law.at(loss, N) for loss in losses], color=colour, linewidth=1)


def _lines(law: ScoreLaw, known: pd.DataFrame) -> list[tuple[float, list[float]]]:
    """N and losses of each line: one of each size, but where the size makes no difference."""
    groups = known.groupby("params")["loss"] if law.c else [(law.params[0], known["loss"])]
    return [(float(N), np.linspace(losses.min(), losses.max(), 60).tolist()) for N, losses in groups]
