"""Pictures of a law book beside the runs it was fitted to. FIGURES lists them; each gives a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from analysis.figures.frontier import draw_frontier
from analysis.figures.isoflop import draw_isoflop
from analysis.figures.residuals import draw_residuals
from analysis.figures.scores import draw_scores
from analysis.figures.style import STYLE
from analysis.table import Table
from planner.laws import LawBook

# Each draws what the table and the laws hold, says in the picture what they lack, and gives None where the sweep did
# not record what it would show.
FIGURES: dict[str, Callable[[Table, LawBook], Figure | None]] = {
    "isoflop": draw_isoflop,
    "frontier": draw_frontier,
    "residuals": draw_residuals,
    "scores": draw_scores,
}


def draw_all(table: Table, book: LawBook, folder: Path) -> list[Path]:
    """Every figure as PNG (200 dpi) and SVG in `folder`; returns the files. Titles name laws, never paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw in FIGURES.items():
        with plt.rc_context(STYLE):
            figure = draw(table, book)
            if figure is None:
                continue
            for ending in ("png", "svg"):
                path = folder / f"{name}.{ending}"
                metadata = {"Date": None} if ending == "svg" else {}
                figure.savefig(path, dpi=200, bbox_inches="tight", metadata=metadata)
                written.append(path)
            plt.close(figure)
    return written
