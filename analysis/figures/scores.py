"""Whether a lower loss is a better model: scores against the loss."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import COLOURS, MARKERS
from analysis.table import Table
from planner.laws import LawBook

SCORES = {"ndcg@10": "nDCG@10", "effective_rank": "effective rank (directions)"}  # what is drawn of the scores


def draw_scores(table: Table, book: LawBook) -> Figure | None:
    """Scores against the held-out loss, all trials, with the rank correlation; None where no trial was scored."""
    names = [name for name in SCORES if name in table.scored]
    if not names:
        return None
    figure, panels = plt.subplots(1, len(names), figsize=(4 * len(names), 3.8), layout="constrained", squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        known = table.scored.dropna(subset=[name])
        for place, (method, some) in enumerate(known.groupby("method", sort=False)):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            axes.plot(some["loss"], some[name], marker, color=colour, markersize=4.5, alpha=0.8, label=method)
        axes.set_xlabel("held-out loss (nats per pair)")
        axes.set_ylabel(SCORES[name])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, prune="both"))
        if len(known) > 2:
            correlation = known["loss"].corr(known[name], method="spearman")
            axes.set_title(f"Spearman {correlation:+.2f} over {len(known)} trials")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure
