"""Pictures of a law book beside the runs it was fitted to. FIGURES lists them; each gives a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from analysis.figures.backtest import draw_backtest
from analysis.figures.batch import draw_batch
from analysis.figures.curves import draw_curves
from analysis.figures.files import Drawn, NotDrawn, write
from analysis.figures.frontier import draw_frontier
from analysis.figures.goal import draw_goal
from analysis.figures.health import draw_health
from analysis.figures.isoflop import draw_isoflop
from analysis.figures.optimum import draw_optimum
from analysis.figures.profile import draw_profile
from analysis.figures.projection import draw_projection
from analysis.figures.residuals import draw_residuals
from analysis.figures.scores import draw_scores
from analysis.figures.settings import draw_settings
from analysis.tables.table import Table
from planner.law_book import LawBook, MeasuredRange

# Each draws what the table and the laws hold, and says in the picture what they lack; where that would be all there is
# to see, it gives the reason instead.
FIGURES: dict[str, Callable[[Table, LawBook], Figure | NotDrawn]] = {
    "frontier": draw_frontier,
    "isoflop": draw_isoflop,
    "optimum": draw_optimum,
    "batch": draw_batch,
    "settings": draw_settings,
    "backtest": draw_backtest,
    "residuals": draw_residuals,
    "profile": draw_profile,
    "curves": draw_curves,
    "health": draw_health,
    "projection": draw_projection,
    "scores": draw_scores,
    "goal": draw_goal,
}

OF_SIZES = ("frontier", "isoflop", "optimum")  # what of it needs N and D, or for the frontier C


def draw_all(table: Table, book: LawBook, folder: Path) -> Drawn:
    """Every figure as PNG (300 dpi) and SVG in `folder`. Titles name laws, never paths."""
    return write({name: partial(_draw, name, table, book) for name in FIGURES}, folder)


def _draw(name: str, table: Table, book: LawBook) -> Figure | NotDrawn:
    """A figure, or why laws in one variable have none of its kind."""
    alone = table.variables[0] if len(table.variables) == 1 else ""
    if alone and name in OF_SIZES and (name, alone) != ("frontier", "C"):
        return NotDrawn(f"laws in {alone} alone compare no sizes")
    return FIGURES[name](table if name == "batch" else table.at_best_batch, book)


def without_laws(table: Table) -> LawBook:
    """A law book for a table that no law could be fitted to: the figures then show what was run."""
    columns = (table.rows[name].to_numpy(float) for name in ("flops", "params", "tokens"))
    ends = ((float(v.min()), float(v.max())) if len(v) else (0.0, 0.0) for v in columns)
    return LawBook((), MeasuredRange(*ends), table.models, table.training, table.pair, {"measure": table.measure})
