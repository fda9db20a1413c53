"""How large a model and how many tokens a budget is best spent on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.axes import count, flops, limits, log_axis
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels, why_empty
from analysis.figures.style import BEYOND, INK, Shown, left_out, shown
from analysis.frontier import SIZE_MARGIN, Band, Spending, at_level, budget_levels, optimum
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import LawBook, MethodLaw

TITLE = "Best model size and tokens for the compute"
KNOWN = 0.9  # share of the draws that must have a best size at all of these budgets
WIDE = 3  # factor in budget over which the line must be known to have an exponent


def draw_optimum(table: Table, book: LawBook) -> Figure | NotDrawn:
    """N and D of the lowest predicted loss against C, a pair of panels a method, the others' in grey."""
    if reason := why_empty(table):
        return NotDrawn(reason)
    if table.rows["params"].nunique() == 1:
        size = count(table.rows["params"].iloc[0])
        return NotDrawn(f"every run has the same size, N = {size}: which one is the best cannot be told")
    several = [method for method in shown(table, book) if method.runs["params"].nunique() > 1]
    fitted = [(method, method.law) for method in several if method.law]
    if not fitted:
        return NotDrawn("no method has runs enough for a law over several sizes")
    spent = table.rows["flops"].to_numpy(float)
    budgets = np.geomspace(spent.min(), spent.max() * BEYOND, 60)
    every = [(method, law, optimum(law, method.runs, budgets)) for method, law in fitted]
    reached = [(method, law, lines) for method, law, lines in every if _reached(lines[0])]
    if not reached:
        return NotDrawn(f"no method has its best size within {SIZE_MARGIN:g} times of the tried ones")
    best = [lines for _, _, lines in reached]
    pairs = 1 if len(reached) < 4 else 2
    figure, axes_of = panels(2 * len(reached), columns=2 * pairs, size=(3.5 if pairs == 1 else 2.15, 2.1), sharex=True)
    for place, (method, law, _) in enumerate(reached):
        known = _known(law, budgets, best[place][0].middle)
        for axis, axes in enumerate(axes_of[2 * place : 2 * place + 2]):
            for other in best:
                axes.plot(budgets, other[axis].middle, color="#C8C8C8", linewidth=0.8)
            _draw(axes, method, budgets, best[place][axis], known)
            axes.set_xlim(budgets[0] / 1.15, budgets[-1])
            _draw_measured(axes, method, law, axis == 1)
            axes.set_title(method.name if axis == 0 else "", pad=16)
            words = _words("ND"[axis], budgets, best[place][axis], known)
            axes.text(0, 1.03, words, transform=axes.transAxes, fontsize=7.5, color=INK)
    sizes = limits(table.rows["params"].to_numpy(float), *(pair[0].middle for pair in best), room=1.5)
    tokens = limits(table.rows["tokens"].to_numpy(float), *(pair[1].middle for pair in best), room=1.5)
    for place, axes in enumerate(axes_of):
        axes.set_ylim(*(tokens if place % 2 else sizes))
        axes.set_ylabel("D (tokens)" if place % 2 else "N (parameters)")
        log_axis(axes, "x", flops, 4 if pairs == 1 else 3)
        log_axis(axes, "y", count, 5)
    figure.supxlabel("training compute C (FLOP)", fontsize=9)
    note = (
        "Lines and bands: lowest loss by the law, 90 %; dashed beyond the budgets or sizes that were run; grey: the "
        "other methods. Diamonds: isoFLOP minima, which know no law, 90 %; dotted: carried on. Circles: the best size "
        "that was run. "
    )
    if len(reached) < len(every):
        missing = ", ".join(method.name for method, _, lines in every if not _reached(lines[0]))
        note += f"Without a best size within {SIZE_MARGIN:g} times of the tried ones, so without panels: {missing}. "
    note += left_out(table)
    head(figure, TITLE, note)
    return figure


def _known(law: MethodLaw, budgets: Array, sizes: Array) -> NDArray[np.bool_]:
    """Where there were runs of such budgets and sizes."""
    (low, high), most = law.measured.params, law.measured.flops[1]
    return (budgets <= most * 1.001) & (sizes >= low) & (sizes <= high)


def _draw(axes: Axes, method: Shown, budgets: Array, line: Band, known: NDArray[np.bool_]) -> None:
    """known [budgets]: where there were runs of such budgets and sizes."""
    low, high = np.clip(line.low, 1e-9, None), np.clip(line.high, None, 1e99)  # open ends leave the panel
    axes.fill_between(budgets, low, high, where=np.isfinite(line.middle), color=method.colour, alpha=0.18, linewidth=0)
    axes.plot(budgets, line.middle, color=method.colour, linewidth=1.2, linestyle=(0, (3, 2)))
    axes.plot(budgets, np.where(known, line.middle, np.nan), color=method.colour, linewidth=1.8)


def _draw_measured(axes: Axes, method: Shown, law: MethodLaw, tokens: bool) -> None:
    """The best size that was run at each budget, and the isoFLOP minima; or the tokens that go with them."""
    spending = Spending.of(method.runs)
    levels = [at_level(method.runs, level) for level in budget_levels(method.runs["flops"].to_numpy(float))]
    best = [some.loc[some["loss"].idxmin()] for some in levels if some["params"].nunique() > 1]
    spent, sizes = (np.array([row[name] for row in best], float) for name in ("flops", "params"))
    known = [bottom for bottom in law.isoflop.get("bottoms", ()) if bottom["params"] is not None]
    at, bottoms = (np.array([bottom[name] for bottom in known], float) for name in ("budget", "params"))
    for x, y, marker, face in ((spent, sizes, "o", "white"), (at, bottoms, "D", method.colour)):
        if len(x):
            values = spending.tokens(x, y) if tokens else y
            axes.plot(x, values, marker, color=face, markersize=4.5, linestyle="", mec=method.colour, zorder=4)
    _draw_errors(axes, method, known, spending, tokens)
    _draw_carried(axes, method, law, spending, tokens)


def _draw_errors(
    axes: Axes, method: Shown, known: Sequence[Mapping[str, Any]], spending: Spending, tokens: bool
) -> None:
    """The 90 % interval of each isoFLOP minimum."""
    for bottom in known:
        if bottom.get("interval"):  # law files of earlier versions have none
            ends = np.array(bottom["interval"], float)
            values = spending.tokens(bottom["budget"], ends) if tokens else ends
            axes.plot([bottom["budget"]] * 2, values, color=method.colour, linewidth=1.0, zorder=3)


def _draw_carried(axes: Axes, method: Shown, law: MethodLaw, spending: Spending, tokens: bool) -> None:
    """The power law through the isoFLOP minima."""
    if line := law.isoflop.get("line"):
        budgets = np.geomspace(*axes.get_xlim(), 40)
        sizes = np.exp(line["log_params"]) * (budgets / line["budget"]) ** line["exponent"]
        values = spending.tokens(budgets, sizes) if tokens else sizes
        axes.plot(budgets, values, color=method.colour, linewidth=1.0, linestyle=":")


def _words(letter: str, budgets: Array, line: Band, known: NDArray[np.bool_]) -> str:
    """The words above a panel: how the line of N or D grows, where that is known."""
    grows = _exponent(budgets, line, known)
    return f"{letter}{grows}" if grows else ""


def _reached(line: Band) -> bool:
    return bool(np.isfinite(line.middle).any())


def _exponent(budgets: Array, line: Band, known: NDArray[np.bool_]) -> str:
    """Slope of the line in logs and its 90 % interval, where there were runs."""
    at = np.log(budgets[known])
    if not len(at) or np.ptp(at) < np.log(WIDE):
        return ""
    every = [values[known] for values in (line.middle, *line.draws) if _inside(values[known])]
    if len(every) <= KNOWN * len(line.draws):
        return ""
    slopes = [np.polyfit(at, np.log(values), 1)[0] for values in every]
    low, high = np.quantile(slopes[1:] or slopes, [0.05, 0.95])
    return f"$ \\propto C^{{{slopes[0]:.2f}}}$  ({low:.2f} to {high:.2f})"


def _inside(values: Array) -> bool:
    return bool((np.isfinite(values) & (values > 0)).all())
