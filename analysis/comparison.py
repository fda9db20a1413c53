"""Joint training beside merging: the table of a sweep that compares them, and its two figures.

No law holds over several conditions, so nothing is fitted. The surface is drawn from surface.json beside the
observations, which `embed merge --surface` writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator
from scipy.interpolate import RegularGridInterpolator

from analysis.figures.axes import flops, limits, log_axis, plain_number
from analysis.figures.files import Drawn, NotRecorded, write
from analysis.figures.labels import Label, label_ends
from analysis.figures.layout import head, say
from analysis.figures.style import COLOURS, MARKERS, plain
from analysis.tables.sweep_table import read_observations
from planner.laws import Caveat
from sweeps.trial import JOINT, MERGES, Observation

SURFACE = "surface.json"
WAYS = (JOINT, *MERGES)
MEAN = "mean of the tasks"
MOST_TICKS = 4
FEWEST_LEVELS = 4
APART = 1.06  # factor by which points of one budget are moved apart
TITLE = "Merged or trained together, at equal FLOPs"
SURFACE_TITLE = "Where the search went between two models"


@dataclass(frozen=True)
class Comparison:
    """What was trained, the best learning rate of each place and seed.

    rows: model, method, ratio, way, budget, seed, flops and the held-out loss of each task and of MEAN, nats per pair.
    lost: trials without a loss, by way. surface: see runner/merging/surface.py, None where there is none.
    """

    name: str
    rows: pd.DataFrame
    tasks: tuple[str, ...]
    lost: dict[str, int] = field(default_factory=dict)
    surface: dict[str, Any] | None = None
    notices: tuple[Caveat, ...] = ()

    @property
    def ways(self) -> list[str]:
        present = set(self.rows["way"]) if len(self.rows) else set()
        return [way for way in WAYS if way in present]


def read_comparison(folder: Path) -> Comparison:
    """The comparison in a results folder. Raises ValueError naming file and line, or FileNotFoundError."""
    observations, notices = read_observations(folder / "observations.jsonl")
    rows, lost, tasks = [], dict.fromkeys(WAYS, 0), {}
    for seen in observations:
        if seen.status == "done" and seen.loss is not None:
            rows.append(_row(seen))
            tasks |= dict.fromkeys(name for name, _ in seen.trial.training.sources)
        else:
            lost[seen.trial.training.merge or JOINT] += 1
    frame = pd.DataFrame(rows, columns=[*PLACE, "lr", "flops", MEAN, *tasks])
    best = frame.sort_values(MEAN, kind="stable").drop_duplicates(list(PLACE)).sort_values(list(PLACE))
    told = {way: count for way, count in lost.items() if count}
    return Comparison(folder.resolve().name, best, tuple(tasks), told, _surface(folder / SURFACE), notices)


PLACE = ("model", "method", "ratio", "way", "budget", "seed")


def _row(seen: Observation) -> dict[str, Any]:
    trial, sources = seen.trial, seen.trial.training.sources
    losses = {name: seen.scores.get(f"loss {name}", np.nan) for name, _ in sources}
    return {
        "model": trial.model,
        "method": trial.method.label,
        "ratio": ":".join(f"{weight:g}" for _, weight in sources),
        "way": trial.training.merge or JOINT,
        "budget": trial.budget or seen.flops,
        "seed": trial.seed,
        "lr": trial.lr,
        "flops": seen.flops,
        MEAN: seen.loss,
        **losses,
    }


def _surface(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        shape = np.shape(np.array(made["loss"], float))
        if shape != (len(made["y"]), len(made["x"])) or np.shape(made["path"])[1] != 2 or len(made["models"]) < 2:
            raise ValueError(f"its grid is {shape}, with {len(made['x'])} by {len(made['y'])} places")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: is not what `embed merge --surface` writes: {error}") from None
    return made


def text(found: Comparison) -> str:
    """The table: loss by task at each budget, mean and range over the seeds."""
    lines = [f"{found.name}: ways to train on several sources are compared; no law holds over them, none is fitted"]
    short = short_names(found.tasks)
    for (model, method, ratio), part in found.rows.groupby(["model", "method", "ratio"], sort=False):
        for budget, rows in part.groupby("budget"):
            lines += ["", f"{model} {method}, ratio {ratio}, {budget:.3g} FLOPs: held-out loss, nats per pair"]
            lines += _table(found, rows, short)
    lost = ", ".join(f"{count} {way}" for way, count in found.lost.items())
    lines += ["", f"trials without a loss: {lost}"] if lost else []
    if found.rows.empty:
        lines += ["", "no trial has ended with a loss yet"]
    return "\n".join([*lines, *(f"warning: {notice.text}" for notice in found.notices)])


def _table(found: Comparison, rows: pd.DataFrame, short: dict[str, str]) -> list[str]:
    columns = [*found.tasks, MEAN]
    cells = [["", "seeds", *(short[name] for name in columns)]]
    for way in found.ways:
        own = rows[rows["way"] == way]
        if len(own):
            cells.append([way, str(len(own)), *(spread_of(own[name]) for name in columns)])
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def spread_of(values: pd.Series) -> str:
    """Mean and range."""
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


def document(found: Comparison) -> dict[str, Any]:
    """The table for programs."""
    return {"comparison": found.name, "tasks": found.tasks, "rows": found.rows.to_dict("records"), "lost": found.lost}


def short_names(tasks: tuple[str, ...]) -> dict[str, str]:
    """Sources by the ends of their paths, where these tell them apart."""
    ends = [Path(task).name.split(".")[0] for task in tasks]
    names = ends if len(set(ends)) == len(ends) else list(tasks)
    return {**{task: plain(name) for task, name in zip(tasks, names, strict=True)}, MEAN: MEAN}


def draw_merging(found: Comparison) -> Figure:
    """Held-out loss against FLOPs: a line of panels for each ratio, a panel for each task, a line for each way."""
    if found.rows.empty:
        return say(TITLE, f"No trial has ended with a loss. {_lost(found)}")
    groups = list(found.rows.groupby(["model", "method", "ratio"], sort=False))
    columns = [*found.tasks, MEAN]
    short = short_names(found.tasks)
    figure, grid = plt.subplots(
        len(groups),
        len(columns),
        figsize=(2.35 * len(columns) + 1.1, 2.3 * len(groups)),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    ends = {}
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(short[name])
    for line, ((model, method, ratio), rows) in zip(grid, groups, strict=True):
        for axes, name in zip(line, columns, strict=True):
            labels = _draw_ways(axes, found.ways, rows, name)
            if name == MEAN:
                ends[axes] = labels
        line[0].set_ylabel(f"{plain(str(model))} {plain(str(method))}, {ratio}\nheld-out loss (nats per pair)")
    for axes in grid[-1]:
        axes.set_xlabel("training compute C (FLOP)")
    head(figure, finding(found), _note(found))
    label_ends(figure, ends, 7.5, dict(zip(WAYS, MARKERS, strict=False)))
    return figure


def _draw_ways(axes: Axes, ways: list[str], rows: pd.DataFrame, name: str) -> list[Label]:
    """A line for each way; where and how each ends."""
    labels = []
    for place, way in enumerate(WAYS):
        own = rows[rows["way"] == way].dropna(subset=[name])
        if own.empty or way not in ways:
            continue
        by_budget = own.groupby("budget")[name].agg(["mean", "min", "max"])
        apart = APART ** (place - (len(WAYS) - 1) / 2)
        x, middle = by_budget.index.to_numpy(float) * apart, by_budget["mean"].to_numpy(float)
        style = {"color": COLOURS[place], "zorder": 3}
        axes.vlines(x, by_budget["min"], by_budget["max"], linewidth=1.6, alpha=0.55, **style)
        axes.plot(x, middle, marker=MARKERS[place], markersize=4.5, mec="white", mew=0.5, linewidth=1.1, **style)
        labels.append((x[-1], middle[-1], way, COLOURS[place]))
    axes.set_xlim(*limits(rows["budget"].to_numpy(float), room=1.6))
    if rows[name].notna().any():
        axes.set_ylim(*limits(rows[name].to_numpy(float), room=1.04))
    log_axis(axes, "x", flops, 4)
    budgets = sorted(set(rows["budget"]))
    if len(budgets) <= MOST_TICKS:
        axes.xaxis.set_major_locator(FixedLocator(budgets))
    log_axis(axes, "y", plain_number, 6)
    return labels


def finding(found: Comparison) -> str:
    """Which way has the lowest mean loss, and whether that is more than the seeds' range."""
    if len(found.ways) < 2:
        return TITLE
    places = [rows for _, rows in found.rows.groupby(["model", "method", "ratio", "budget"])]
    firsts = [_first(rows) for rows in places if rows["way"].nunique() > 1]
    ways = list(dict.fromkeys(way for way, _ in firsts))
    if len(ways) != 1:
        return f"{TITLE}: which is best depends on budget and ratio"
    clear = sum(beyond for _, beyond in firsts)
    return f"{TITLE}: {ways[0]} is best, beyond the range of the seeds at {clear} of {len(firsts)} places"


def _first(rows: pd.DataFrame) -> tuple[str, bool]:
    """The way of the lowest mean, and whether none of its seeds is as high as the lowest of any other.

    A single seed has no range.
    """
    of_way = rows.groupby("way")[MEAN]
    best = str(of_way.mean().idxmin())
    return best, bool(of_way.size().min() > 1 and of_way.max()[best] < of_way.min().drop(best).min())


def _note(found: Comparison) -> str:
    counts = found.rows.groupby(list(PLACE[:-1])).size()
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    said = f"Points: mean of {seeds} seeds, bars: their range; points of one budget are moved apart along x. "
    said += (
        "The compute is that of the whole recipe: all parts, and the search. Ratios, in the order of the tasks, are "
    )
    said += "those of the steps and of the merge. "
    if found.rows["budget"].nunique() == 1:
        said += "There is one budget, hence no line. "
    return said + _lost(found)


def _lost(found: Comparison) -> str:
    said = ", ".join(f"{count} {way}" for way, count in found.lost.items())
    return f"Without a loss, and not drawn: {said}." if said else ""


def draw_surface(found: Comparison) -> Figure | NotRecorded:
    """The probe loss where theta_0 + x V_1 + y V_2 lies, and the search's path."""
    if found.surface is None:
        return NotRecorded(f"the folder has no {SURFACE} (embed merge --surface)")
    made = found.surface
    x, y, loss = (np.array(made[name], float) for name in ("x", "y", "loss"))
    names = [plain(str(name)) for name in made["models"]]
    finite = loss[np.isfinite(loss)]
    if finite.size < loss.size:
        return say(SURFACE_TITLE, f"{loss.size - finite.size} of {loss.size} places have no finite loss.")
    figure, axes = plt.subplots(figsize=(6.6, 5.2), layout="constrained")
    # Levels by quantile, evenly coloured: the valley is what matters, and far corners would take all of them.
    levels = np.unique(np.quantile(loss, np.linspace(0, 1, 15)))
    if len(levels) < FEWEST_LEVELS:
        levels = loss.min() + np.arange(FEWEST_LEVELS) * max(1e-3, np.ptp(loss))
    filled = axes.contourf(x, y, loss, levels=levels, cmap="cividis", norm=BoundaryNorm(levels, 256))
    lines = axes.contour(x, y, loss, levels=levels[2:-1:2], colors="white", linewidths=0.6)
    axes.clabel(lines, fmt="%.2f", fontsize=7)
    path = np.array(made["path"], float)
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
    title = f"{SURFACE_TITLE}: from a loss of {start:.3f} to {end:.3f}; the lowest of the grid is {loss.min():.3f}"
    head(figure, title, _surface_note(made, names))
    return figure


def _surface_note(made: dict[str, Any], names: list[str]) -> str:
    said = f"InfoNCE of {made['pairs']} probe pairs in batches of {made['batch']} at temperature "
    said += f"{made['temperature']:g}; the search sees one batch a step, and pays for its scale too. "
    if made["others"]:
        others = ", ".join(f"{name} at {share:.2f}" for name, share in zip(names[2:], made["others"], strict=True))
        said += f"Further task vectors stay where they were found: {others}. "
    end = ", ".join(f"{share:.2f}" for share in made["path"][-1])
    return said + f"The line is the search's path, {len(made['path']) - 1:,} steps to ({end})."


FIGURES: dict[str, Callable[[Comparison], Figure | NotRecorded]] = {
    "merging": draw_merging,
    "merge-surface": draw_surface,
}


def draw_all(found: Comparison, folder: Path) -> Drawn:
    """Every figure as PNG and SVG in `folder`."""
    return write({name: partial(draw, found) for name, draw in FIGURES.items()}, folder)
