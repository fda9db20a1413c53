"""Whether a lower loss is a better model: scores against the loss."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.files import NotRecorded
from analysis.figures.layout import head, panels
from analysis.figures.style import left_out, shown
from analysis.tables.table import Table
from planner.law_book import LawBook

TITLE = "Does a lower loss mean a better score?"
SCORES = {"ndcg@10": "nDCG@10", "effective_rank": "effective rank (directions)"}  # what is drawn of the scores
FEWEST = 3  # trials that have a rank correlation


def draw_scores(table: Table, book: LawBook) -> Figure | NotRecorded:
    """Scores against the held-out loss, all trials, with the rank correlation."""
    names = [name for name in SCORES if name in table.scored]
    if not names:
        return NotRecorded("no trial was scored (training.score)")
    figure, axes_of = panels(len(names), size=(3.7, 3.3))
    methods = [method for method in shown(table, book) if (table.scored["method"] == method.label).any()]
    for axes, name in zip(axes_of, names, strict=True):
        known = table.scored.dropna(subset=[name])
        for method in methods:
            some = known[known["method"] == method.label]
            axes.plot(some["loss"], some[name], method.marker, color=method.colour, markersize=5, alpha=0.85, mew=0)
        axes.set_xlabel("held-out loss (nats per pair)")
        axes.set_ylabel(SCORES[name])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], prune="both"))
        if len(known) < FEWEST:
            axes.set_title(f"{len(known)} scored: too few to rank")
        else:
            axes.set_title(
                f"Spearman {known['loss'].corr(known[name], method='spearman'):+.2f} over {len(known)} trials"
            )
    note = "All trials that were scored, every learning rate. Scores and loss are of the same held-out pools. "
    head(figure, TITLE, note + left_out(table), [method.key(linestyle="") for method in methods])
    return figure
