"""Pictures of a law book beside the runs it was fitted to. FIGURES lists them; each gives a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from analysis.figures.backtest import draw_backtest
from analysis.figures.curves import draw_curves
from analysis.figures.frontier import draw_frontier
from analysis.figures.health import draw_health
from analysis.figures.isoflop import draw_isoflop
from analysis.figures.optimum import draw_optimum
from analysis.figures.projection import draw_projection
from analysis.figures.residuals import draw_residuals
from analysis.figures.scores import draw_scores
from analysis.figures.settings import draw_settings
from analysis.figures.style import STYLE
from analysis.tables.sweep_table import Table
from planner.laws import LawBook, MeasuredRange
from sweeps.support.atomic import replacing
from sweeps.support.progress import Progress

# Each draws what the table and the laws hold, says in the picture what they lack, and gives None where the sweep did
# not record what it would show: NEEDS says what that is.
FIGURES: dict[str, Callable[[Table, LawBook], Figure | None]] = {
    "frontier": draw_frontier,
    "isoflop": draw_isoflop,
    "optimum": draw_optimum,
    "settings": draw_settings,
    "backtest": draw_backtest,
    "residuals": draw_residuals,
    "curves": draw_curves,
    "health": draw_health,
    "projection": draw_projection,
    "scores": draw_scores,
}
NEEDS = {
    "settings": "no method with a rank or a share was tried",
    "curves": "a table of runs holds no training curves",
    "health": "no trial was looked at during training (training.evaluate_every)",
    "projection": "the folder has no projection.json (embed project)",
    "scores": "no trial was scored (training.score)",
}


def draw_all(table: Table, book: LawBook, folder: Path) -> list[Path]:
    """Every figure as PNG (300 dpi) and SVG in `folder`; returns the files. Titles name laws, never paths."""
    return write({name: partial(draw, table, book) for name, draw in FIGURES.items()}, folder)


def write(figures: Mapping[str, Callable[[], Figure | None]], folder: Path) -> list[Path]:
    """Draw each and write it as PNG and SVG in `folder`, but for those that are None; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with Progress("figures", len(figures)) as progress, plt.rc_context(STYLE):
        for name, draw in figures.items():
            figure = draw()
            if figure is not None:
                written += _save(figure, folder / name)
            progress.advance(note=name)
    return written


def _save(figure: Figure, path: Path) -> list[Path]:
    """A figure as PNG and SVG of this name without an ending; it is closed then."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it is done; drawing each file would do it again
    files = []
    for ending in ("png", "svg"):
        files.append(path.with_name(f"{path.name}.{ending}"))
        with replacing(files[-1], durable=False) as temporary:
            figure.savefig(temporary, format=ending, dpi=300, metadata={"Date": None} if ending == "svg" else {})
    plt.close(figure)
    return files


def without_laws(table: Table) -> LawBook:
    """A law book for a table that no law could be fitted to: the figures then show what was run."""
    columns = (table.rows[name].to_numpy(float) for name in ("flops", "params", "tokens"))
    ends = ((float(v.min()), float(v.max())) if len(v) else (0.0, 0.0) for v in columns)
    return LawBook((), MeasuredRange(*ends), table.models, table.training, table.pair, {"measure": table.measure})


def not_drawn(written: Iterable[Path]) -> list[str]:
    """A line for each figure that is not among the files, with the reason."""
    drawn = {path.stem for path in written}
    return [f"{name}: {NEEDS[name]}" for name in FIGURES if name not in drawn]
