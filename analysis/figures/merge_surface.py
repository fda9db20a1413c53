"""The losses between two models, and the way that a search for their weights went."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.interpolate import RegularGridInterpolator

from analysis.figures.files import NotDrawn
from analysis.figures.layout import head
from analysis.figures.style import COLOURS, plain
from analysis.tables.comparison import SURFACE, Comparison

FEWEST_LEVELS = 4
TITLE = "Where the search went between two models"


def draw_surface(comparison: Comparison) -> Figure | NotDrawn:
    """The probe loss where theta_0 + x V_1 + y V_2 lies, and the search's path."""
    if comparison.surface is None:
        return NotDrawn(f"the folder has no {SURFACE} (embed merge --surface)")
    surface = comparison.surface
    x, y, loss = (np.array(surface[name], float) for name in ("x", "y", "loss"))
    names = [plain(str(name)) for name in surface["models"]]
    finite = loss[np.isfinite(loss)]
    if finite.size < loss.size:
        return NotDrawn(f"{loss.size - finite.size} of {loss.size} places have no finite loss")
    figure, axes = plt.subplots(figsize=(6.6, 5.2), layout="constrained")
    # Levels by quantile, evenly coloured: the valley is what matters, and far corners would take all of them.
    levels = np.unique(np.quantile(loss, np.linspace(0, 1, 15)))
    if len(levels) < FEWEST_LEVELS:
        levels = loss.min() + np.arange(FEWEST_LEVELS) * max(1e-3, np.ptp(loss))
    filled = axes.contourf(x, y, loss, levels=levels, cmap="cividis", norm=BoundaryNorm(levels, 256))
    lines = axes.contour(x, y, loss, levels=levels[2:-1:2], colors="white", linewidths=0.6)
    axes.clabel(lines, fmt="%.2f", fontsize=7)
    path = np.array(surface["path"], float)
    axes.plot(*path.T, color="white", linewidth=3)
    axes.plot(*path.T, color=COLOURS[1], linewidth=1.6)
    marks = [((0, 0), "s", "base"), ((1, 0), "^", names[0]), ((0, 1), "v", names[1])]
    marks += [(tuple(path[0]), "o", "start"), (tuple(path[-1]), "*", "found")]
    for place, marker, name in marks:
        axes.plot(*place, marker, color="white", mec="black", mew=0.9, markersize=12 if marker == "*" else 8, zorder=5)
        axes.annotate(
            name,
            place,
            xytext=(8, -15) if marker == "*" else (7, 6),
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=6,
        )
    axes.grid(visible=False)
    axes.set_aspect("equal")
    axes.set_xlabel(f"share of the task vector of {names[0]}")
    axes.set_ylabel(f"share of the task vector of {names[1]}")
    bar = figure.colorbar(filled, ax=axes, format="%.2f")
    bar.set_label("probe loss (nats per pair)")
    bar.outline.set_visible(False)
    start, end = RegularGridInterpolator((x, y), loss.T)(path[[0, -1]])
    title = f"{TITLE}: from a loss of {start:.3f} to {end:.3f}; the lowest of the grid is {loss.min():.3f}"
    head(figure, title, _surface_note(surface, names))
    return figure


def _surface_note(surface: dict[str, Any], names: list[str]) -> str:
    note = f"InfoNCE of {surface['pairs']} probe pairs in batches of {surface['batch']} at temperature "
    note += f"{surface['temperature']:g}; the search sees one batch a step, and pays for its scale too. "
    if surface["others"]:
        others = ", ".join(f"{name} at {share:.2f}" for name, share in zip(names[2:], surface["others"], strict=True))
        note += f"Further task vectors stay where they were found: {others}. "
    end = ", ".join(f"{share:.2f}" for share in surface["path"][-1])
    return note + f"The line is the search's path, {len(surface['path']) - 1:,} steps to ({end})."
