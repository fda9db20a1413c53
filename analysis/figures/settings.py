"""Which rank, or which frozen share, a budget is best spent on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from analysis.figures.axes import flops, log_axis, plain_number
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels, why_empty
from analysis.figures.style import BEYOND, INK, Shown, left_out, shown
from analysis.frontier import at_level, budget_levels, contenders
from analysis.tables.table import Table
from planner.frontier import Contender, best_method, method_odds
from planner.law_book import LawBook
from sweeps.methods import label_of

KNOBS = {"rank": "rank", "share": "share of the blocks that is frozen"}  # settings that are chosen by size
NAMES = {"rank": "rank of", "share": "share of blocks to"}  # the same before the method, in a title
SHADES = LinearSegmentedColormap.from_list("chance", ["#FFFFFF", "#9C9C9C"])  # no method's colour
TIE = 5e-4  # a share of the loss that is not told
MOST_LEVELS = 8  # budgets whose losses have room for their numbers


@dataclass(frozen=True)
class Knob:
    """The tried values of one setting of one method."""

    method: str
    """The tuning method with its other settings but for alpha."""
    name: str
    """The setting that is compared, a key of KNOBS."""
    values: list[float]
    """Its tried values, ascending."""
    methods: list[Shown]
    """The method with each of these values."""


def draw_settings(table: Table, book: LawBook) -> Figure | NotDrawn:
    """What was best at each budget, and how surely by the laws."""
    if reason := why_empty(table):
        return NotDrawn(reason)
    knobs = _knobs(table, shown(table, book))
    if not knobs:
        return NotDrawn("no method with a rank or a share was tried")
    alone = [
        f"{knob.method} with {knob.name} {plain_number(knob.values[0])}" for knob in knobs if len(knob.values) == 1
    ]
    knobs = [knob for knob in knobs if len(knob.values) > 1]
    if not knobs:
        return NotDrawn(f"tried were {' and '.join(alone)} alone: there is nothing to compare with")
    figure, axes_of = panels(len(knobs), columns=2, size=(4.0, 2.9))
    spent, rivals = table.rows["flops"].to_numpy(float), contenders(book, table.rows)
    numbered = shaded = False
    for axes, knob in zip(axes_of, knobs, strict=True):
        axes.set_xlim(spent.min() / 2, spent.max() * (BEYOND if any(m.law for m in knob.methods) else 2))
        axes.set_ylim(-0.6, len(knob.values) - 0.4)
        axes.set_yticks(range(len(knob.values)), [plain_number(value) for value in knob.values])
        axes.set_title(knob.method)
        axes.set_ylabel(KNOBS[knob.name])
        axes.grid(False)
        shaded = _draw_chances(axes, knob, rivals, spent.max()) or shaded
        numbered = _draw_measured(axes, knob) or numbered
        log_axis(axes, "x", flops, 5)
    figure.supxlabel("training compute C (FLOP)", fontsize=9)
    if shaded:
        bar = figure.colorbar(ScalarMappable(Normalize(0, 1), SHADES), ax=axes_of, aspect=30, pad=0.02, fraction=0.06)
        bar.set_label("probability of being the best (laws)", fontsize=8)
    asked = " and which ".join(dict.fromkeys(f"{NAMES[knob.name]} {knob.method}" for knob in knobs))
    note = "Each budget's runs, of any model size, compared by their lowest loss. "
    note += "Numbers: by how many % it is above the lowest. " if numbered else ""
    note += f"Without a panel, since one value alone was tried: {', '.join(alone)}. " if alone else ""
    head(
        figure,
        f"Which {asked} has the lowest loss?",
        note + left_out(table),
        _keys(shaded),
    )
    return figure


def _keys(shaded: bool) -> list[Line2D]:
    """What the marks of every panel mean."""
    circle: dict[str, Any] = {"marker": "o", "linestyle": "", "color": INK}
    keys = [
        Line2D([], [], **circle, markersize=8, label="lowest loss run at this budget"),
        Line2D([], [], **circle, mfc="white", markersize=6, label="higher"),
    ]
    if shaded:
        keys.append(Line2D([], [], color="black", linewidth=1.6, label="choice of the laws, dashed beyond the runs"))
    return keys


def _knobs(table: Table, methods: Sequence[Shown]) -> list[Knob]:
    groups: dict[tuple[str, str, str], dict[float, Shown]] = {}
    for method in methods:
        given = dict(table.settings.get(method.label, {}))
        name = next((knob for knob in KNOBS if isinstance(given.get(knob), (int, float))), "")
        if name and not method.runs.empty:
            value, fixed = float(given.pop(name)), " ".join(str(v) for v in given.values())
            given.pop("alpha", None)
            groups.setdefault((fixed, name, label_of(given)), {})[value] = method
    return [
        Knob(method, name, sorted(some), [some[value] for value in sorted(some)])
        for (_, name, method), some in groups.items()
    ]


def _draw_chances(axes: Axes, knob: Knob, rivals: Sequence[Contender], most: float) -> bool:
    """A tile for each budget and setting, the laws' choice as a line; returns whether there are laws."""
    if not all(method.law for method in knob.methods):
        axes.text(1, 1.02, "too few runs for laws", transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
        return False
    low = max(float(method.runs["flops"].min()) for method in knob.methods)
    budgets = np.geomspace(low, axes.get_xlim()[1], 100)
    labels = [method.label for method in knob.methods]
    compared = [rival for rival in rivals if rival.law.label in labels]
    odds = [method_odds(compared, budget) for budget in budgets.tolist()]
    shares = [[at_budget.get(label, 0.0) for at_budget in odds] for label in labels]
    axes.pcolormesh(
        budgets, range(len(labels)), shares, cmap=SHADES, vmin=0, vmax=1, shading="nearest", rasterized=True
    )
    winners = [best_method(compared, budget) for budget in budgets.tolist()]
    best = np.array([labels.index(winner) if winner else np.nan for winner in winners])
    axes.plot(budgets, best, color="#000000", linewidth=1.0, linestyle=(0, (3, 2)), drawstyle="steps-mid")
    axes.plot(np.where(budgets <= most, budgets, np.nan), best, color="#000000", linewidth=1.6, drawstyle="steps-mid")
    return True


def _draw_measured(axes: Axes, knob: Knob) -> bool:
    """A circle for each setting that was run at a budget; returns whether there is room for numbers beside them."""
    spent = np.concatenate([method.runs["flops"].to_numpy(float) for method in knob.methods])
    levels = budget_levels(spent)
    for level in levels:
        lowest = {
            place: float(some["loss"].min())
            for place, method in enumerate(knob.methods)
            if not (some := at_level(method.runs, level)).empty
        }
        best = min(lowest, key=lambda place: lowest[place])
        for place, loss in lowest.items():
            colour = knob.methods[place].colour
            first = loss < lowest[best] * (1 + TIE)
            axes.plot(
                level.middle, place, "o", color=colour if first else "white", mec=colour, markersize=9 if first else 6
            )
            if not first and len(levels) <= MOST_LEVELS:
                axes.annotate(
                    f"{100 * (loss / lowest[best] - 1):.1f}",
                    (level.middle, place),
                    (0, 6),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                    path_effects=[Stroke(linewidth=2.5, foreground="white"), Normal()],
                )
    return len(levels) <= MOST_LEVELS
