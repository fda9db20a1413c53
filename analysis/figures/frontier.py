"""Best loss against compute, how surely each method is the best, and where the best one changes."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from analysis.figures.axes import flops, limits, log_axis, plain_number
from analysis.figures.files import NotDrawn
from analysis.figures.labels import Label, contrast, label_ends, spread
from analysis.figures.layout import head, why_empty
from analysis.figures.style import BEYOND, GREY, INK, PALE, Shown, left_out, loss_label, plain, shown
from analysis.frontier import at_level, budget_levels, contenders
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.frontier import Contender, Crossover, best_method, crossovers, frontier, method_odds, searched_budgets
from planner.law_book import LawBook

TITLE = "Best held-out loss for the compute"
LETTERS = "abcdefgh"  # of the budgets at which the best method changes
NEVER = 0.05  # probability of being the best that a method must reach at some budget to have its colour
SURE = 0.97  # probability at every budget from which a panel of probabilities would be one block


@dataclass(frozen=True)
class Line:
    """The lowest loss that a method reaches along budgets, nats per pair; nan where a budget can train none of it."""

    middle: Array
    """Predicted."""
    low: Array
    """Lower end of the 90 % interval of the law."""
    high: Array
    """Upper end of it."""

    @classmethod
    def of(cls, rivals: Sequence[Contender], label: str, budgets: Array) -> Line:
        points = frontier([rival for rival in rivals if rival.law.label == label], budgets.tolist())
        rows = [(point.loss, point.low, point.high) if point else (np.nan,) * 3 for point in points]
        return cls(*np.array(rows).T)


def draw_frontier(table: Table, book: LawBook) -> Figure | NotDrawn:
    """The best loss of each method against training FLOPs, dashed beyond the runs, over who is the best how surely.

    Methods that are never the best are grey; where one is so all along, the note says how surely.
    """
    if reason := why_empty(table):
        return NotDrawn(reason)
    methods = [method for method in shown(table, book) if not method.runs.empty]
    lawful = [method for method in methods if method.law]
    spent = table.rows["flops"].to_numpy(float)
    low, high = float(spent.min()), float(spent.max())
    budgets = np.geomspace(low, high * BEYOND, 150)
    rivals = contenders(book, table.rows)
    lines = [Line.of(rivals, method.label, budgets) for method in lawful]
    winners = dict.fromkeys(best_method(rivals, budget) for budget in budgets[budgets <= high * 1.001].tolist())
    shares = _shares(lawful, rivals, budgets)
    dominated = _dominated(lawful, shares, list(winners))
    surest = _surest(lawful, shares)
    figure, axes, below = _two_panels(len(lawful) > 1 and not surest)
    ends = _draw_lines(axes, lawful, lines, budgets, high, dominated)
    heights = [line.middle for line in lines]
    for method in methods:
        best = _best_runs(method)
        heights.append(np.array(best[1]))
        size = 4.5 if method.label in dominated else 6
        axes.plot(*best, **method.points(rim=0.6, markersize=size, linestyle="", zorder=4))
        if method.law is None:
            ends.append((best[0][-1], best[1][-1], method.name, method.colour))
    axes.set_ylabel(loss_label(table))
    axes.set_xlim(*((low / 1.15, high * BEYOND) if lawful else (low / 3, high * 3)))
    axes.set_ylim(*limits(*heights, room=1.05))
    log_axis(axes, "y", plain_number, 7)
    if lawful:
        axes.axvspan(high, axes.get_xlim()[1], color="#000000", alpha=0.025, linewidth=0)
        axes.text(high, 1, " beyond the runs", transform=axes.get_xaxis_transform(), color=PALE, va="top", fontsize=8)
    changes = _changes(rivals, book, (low, high * BEYOND)) if len(lawful) > 1 else []
    if below:
        _draw_chances(below, lawful, shares, budgets)
    lowest = below or axes
    lowest.set_xlabel("training compute C (FLOP)")
    log_axis(lowest, "x", flops, 8)
    letters = _mark(axes, below, changes)
    note = _note(changes, lawful, surest, "Grey: never the best. " if dominated else "")
    head(figure, _finding(lawful, list(winners)), note + left_out(table) + _single(table))
    label_ends(figure, {axes: ends}, markers={method.name: method.points(rim=0.0) for method in methods})
    _side_by_side(axes, letters)
    return figure


def _two_panels(two: bool) -> tuple[Figure, Axes, Axes | None]:
    if not two:
        figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained")
        return figure, axes, None
    figure, (axes, below) = plt.subplots(
        2, 1, figsize=(7.2, 5.2), layout="constrained", sharex=True, gridspec_kw={"height_ratios": [3.4, 1]}
    )
    return figure, axes, below


def _draw_lines(
    axes: Axes, methods: Sequence[Shown], lines: Sequence[Line], budgets: Array, high: float, dominated: Container[str]
) -> list[Label]:
    """The lines with their bands, those of dominated methods grey and without; returns where each ends."""
    inside, faint = budgets <= high * 1.001, 0.15 if len(methods) < 4 else 0.08
    for method, line in zip(methods, lines, strict=True):
        grey = method.label in dominated
        colour, width, order = (GREY, 1.1, 1.8) if grey else (method.colour, 1.8, 2.5)
        axes.plot(budgets[inside], line.middle[inside], color=colour, linewidth=width, zorder=order)
        axes.plot(
            budgets[~inside], line.middle[~inside], color=colour, linewidth=width, linestyle=(0, (4, 2)), zorder=order
        )
        if not grey:
            axes.fill_between(budgets, line.low, line.high, color=colour, alpha=faint, linewidth=0)
    ends: list[Label] = []
    for method, line in zip(methods, lines, strict=True):
        drawn = np.flatnonzero(np.isfinite(line.middle))  # a line ends where its models would take too many steps
        if len(drawn):
            colour = PALE if method.label in dominated else method.colour
            ends.append((budgets[drawn[-1]], line.middle[drawn[-1]], method.name, colour))
    return ends


def _shares(methods: Sequence[Shown], rivals: Sequence[Contender], budgets: Array) -> Array:
    """How often each method is the best over the draws [methods, budgets]."""
    odds = [method_odds(rivals, budget) for budget in budgets.tolist()]
    return np.array([[at_budget.get(method.label, 0.0) for at_budget in odds] for method in methods])


def _dominated(methods: Sequence[Shown], shares: Array, winners: Sequence[str]) -> set[str]:
    """Labels of the methods that are hardly ever the best of several, at any budget."""
    never = zip(methods, shares, strict=True)
    return {method.label for method, share in never if share.max() < NEVER and method.label not in winners}


def _surest(methods: Sequence[Shown], shares: Array) -> str:
    """What to say of a method that is the best at every budget, in nearly all draws; empty where none is."""
    if len(methods) < 2:
        return ""
    trained = shares[:, shares.sum(axis=0) > 0]  # the smallest budgets may train nothing
    lowest = trained.min(axis=1, initial=1.0)
    first = int(lowest.argmax())
    if lowest[first] < SURE:
        return ""
    chance = min(int(100 * lowest[first]), 99)  # draws are too few for 100
    return f"Probability that {methods[first].name} is the best: over {chance} % at every budget. "


def _best_runs(method: Shown) -> tuple[list[float], list[float]]:
    """FLOPs and loss of the lowest run at each budget."""
    levels = [at_level(method.runs, level) for level in budget_levels(method.runs["flops"].to_numpy(float))]
    best = [some.loc[some["loss"].idxmin()] for some in levels if not some.empty]
    return [float(row["flops"]) for row in best], [float(row["loss"]) for row in best]


def _changes(rivals: Sequence[Contender], book: LawBook, shown: tuple[float, float]) -> list[Crossover]:
    """The crossovers that `plan` prints, as far as they lie among the budgets that are drawn."""
    low, high = shown
    every = crossovers(rivals, *searched_budgets(book.measured.flops, book.measured.flops[1]))
    return [crossover for crossover in every if low <= crossover.flops <= high]


def _draw_chances(axes: Axes, methods: Sequence[Shown], shares: Array, budgets: Array) -> None:
    """How often each method is the best over the draws, stacked; named where there is room for it."""
    axes.stackplot(budgets, shares, colors=[method.colour for method in methods], alpha=0.75, linewidth=0)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("probability\nof the best")
    axes.grid(False)
    floor = np.zeros(len(budgets))
    for method, share in zip(methods, shares, strict=True):
        widest = _widest(share)
        if widest is not None:
            middle = (budgets[widest], floor[widest] + share[widest] / 2)
            ink = "white" if contrast(method.colour) > 3 else "black"
            axes.text(*middle, method.name, ha="center", va="center", fontsize=8, color=ink, fontweight="bold")
        floor = floor + share


ROOM = 0.34  # of the height: where it is less, a name does not fit


def _widest(share: Array) -> int | None:
    """The middle of the longest stretch of budgets over which a method has room for its name; None without one."""
    roomy = np.append(share >= ROOM, False)
    best, start = (0, 0), None
    for place, enough in enumerate(roomy):
        if enough and start is None:
            start = place
        elif not enough and start is not None:
            best, start = max(best, (place - start, start)), None
    length, start = best
    return start + length // 2 if length > 0.22 * len(share) else None


def _mark(axes: Axes, below: Axes | None, changes: Sequence[Crossover]) -> list[Annotation]:
    """A band over the 90 % interval of each crossover, with a letter above it; returns the letters."""
    low, high = axes.get_xlim()
    above: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
    style: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "color": INK}
    letters = []
    for letter, crossover in zip(LETTERS, changes, strict=False):
        ends = max(crossover.low or low, low), min(crossover.high or high, high)
        for panel in filter(None, (axes, below)):
            panel.axvspan(*ends, color="#000000", alpha=0.09, linewidth=0)
        letters.append(axes.annotate(letter, (crossover.flops, 1), (0, 3), **above, **style))
    return letters


def _side_by_side(axes: Axes, letters: Sequence[Annotation]) -> None:
    """Letters of crossings that lie close together, moved apart."""
    places = np.array([axes.transData.transform((letter.xy[0], 1))[0] for letter in letters])
    points = axes.figure.dpi / 72
    for letter, before, after in zip(letters, places, spread(places, 9 * points), strict=True):
        letter.set_position(((after - before) / points, 3))


def _finding(methods: Sequence[Shown], winners: Sequence[str]) -> str:
    """What the picture says, as far as there were runs. winners: labels of the best methods as budgets grow."""
    names = [_name(methods, label) for label in winners if label]
    if len(methods) < 2 or not names:
        return TITLE + (f": {methods[0].name}" if len(methods) == 1 else "")
    if len(names) == 1:
        return f"{names[0]} has the lowest predicted loss at every budget tried"
    return f"Lowest predicted loss as budgets grow: {', then '.join(names)}"


def _name(methods: Sequence[Shown], label: str) -> str:
    return next((method.name for method in methods if method.label == label), plain(label))


def _note(changes: Sequence[Crossover], methods: Sequence[Shown], surest: str, grey: str) -> str:
    sentences = [
        f"{letter}: {_name(methods, crossover.above)} overtakes {_name(methods, crossover.below)} at "
        f"{flops(crossover.flops)} FLOP ({_ends(crossover)})."
        for letter, crossover in zip(LETTERS, changes, strict=False)
    ]
    lines = "Lines: laws, best model at each budget. Bands: 90 %." if methods else "Too few runs for a law."
    return " ".join([f"Points: best run of each budget. {lines}", *sentences, surest + grey])


def _single(table: Table) -> str:
    return " There is one run only: nothing to compare it with." if len(table.rows) == 1 else ""


def _ends(crossover: Crossover) -> str:
    if crossover.low is None and crossover.high is None:
        return "90 %: could be anywhere"
    if crossover.low is None or crossover.high is None:
        end = crossover.high or crossover.low or 0.0
        return f"90 %: {'above' if crossover.high is None else 'below'} {flops(end)}"
    return f"90 %: {flops(crossover.low)} to {flops(crossover.high)}"
