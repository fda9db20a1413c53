"""What plans and law books draw of themselves with matplotlib; the figures of a results folder: analysis/figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planner.palette import Look

COLOUR = "#0072B2"  # Okabe and Ito (2008)


@dataclass(frozen=True)
class Line:
    """A curve with a band around it."""

    name: str
    """What the legend calls it."""
    look: Look
    """How the method is drawn."""
    places: tuple[float, ...]
    """Along the horizontal axis, positive."""
    values: tuple[float, ...]
    """The curve at these places."""
    ends: tuple[tuple[float, float], ...]
    """Lower and upper end of the band at these places."""


def draw_intervals(
    names: Sequence[str], intervals: Sequence[tuple[Any, Any, Any]], title: str, label: str, axes: Any = None
) -> Any:
    """Draws (value, low, high) of each name, the first on top; returns the matplotlib axes."""
    axes = axes or _new_axes(0.45 * len(names) + 1.2)
    places = range(len(names))
    values = [value for value, _, _ in intervals]
    ends = [[value - low for value, low, _ in intervals], [high - value for value, _, high in intervals]]
    axes.errorbar(values, places, xerr=ends, fmt="o", color=COLOUR, capsize=3)
    axes.set_yticks(list(places), list(names))
    axes.invert_yaxis()
    axes.set_xlabel(f"{label} (90 % prediction interval)")
    axes.set_title(title)
    return axes


def draw_lines(lines: Sequence[Line], title: str, across: str, label: str, axes: Any = None) -> Any:
    """Draws curves with their bands over logarithmic axes; returns the matplotlib axes."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # only here, as in _new_axes

    axes = axes or _new_axes(4.0)
    for line in lines:
        colour, inside = line.look.colour, "none" if line.look.hollow else line.look.colour
        style = {"marker": line.look.marker, "markerfacecolor": inside, "markevery": max(1, len(line.places) // 8)}
        axes.loglog(line.places, line.values, color=colour, label=line.name, **style)
        axes.fill_between(line.places, *zip(*line.ends, strict=True), color=colour, alpha=0.15, linewidth=0)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(across)
    axes.set_ylabel(label)
    axes.set_title(title)
    axes.legend(frameon=False, fontsize="small")
    return axes


def _new_axes(height: float) -> Any:
    """Axes of a new figure. height: inches."""
    import matplotlib.pyplot as plt  # only here: the planner starts without

    return plt.subplots(figsize=(6.4, height), layout="constrained")[1]
