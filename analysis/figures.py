"""Pictures of a law book beside the runs it was fitted to. FIGURES lists them; each gives a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # files only: a window system need not be there

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from analysis.families import Array
from analysis.frontier import Spending, budget_levels, crossings, frontier, law_losses
from analysis.table import Table
from planner.laws import LawBook, MethodLaw

# Okabe and Ito (2008): told apart under every common colour blindness. Yellow is left out, too pale for lines.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
BUDGET_COLOURS = plt.get_cmap("viridis")
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "recipe-planner",  # the same picture gives the same file
}
MOST_METHODS = len(COLOURS)


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


def draw_isoflop(table: Table, book: LawBook) -> Figure:
    """One panel a method: loss against model size at each budget, the law and its 90 % interval through the runs."""
    laws = _shown(table, book)
    figure, panels = _panels(len(laws), "model size N (parameters outside the embedding tables)")
    levels = budget_levels(table.rows["flops"].to_numpy(float))
    shades = BUDGET_COLOURS(np.linspace(0.0, 0.85, len(levels)))
    for axes, law in zip(panels, laws, strict=True):
        runs = table.rows[table.rows["method"] == law.label]
        spending = Spending.of(runs)
        labels = []
        for level, shade in zip(levels, shades, strict=True):
            some = runs[(runs["flops"] >= level.low) & (runs["flops"] <= level.high)]
            if some.empty:
                continue
            sizes, losses = some["params"].to_numpy(float), some["loss"].to_numpy(float)
            axes.plot(sizes, losses, "o", color=shade, markersize=4.5, markeredgecolor="white", markeredgewidth=0.5)
            grid = np.geomspace(sizes.min() / 1.4, sizes.max() * 1.4, 80)
            drawn = law_losses(law, grid, spending.tokens(level.middle, grid), spending)
            axes.plot(grid, drawn.middle, color=shade, linewidth=1.4)
            axes.fill_between(grid, drawn.low, drawn.high, color=shade, alpha=0.18, linewidth=0)
            labels.append((grid[-1], drawn.middle[-1], f"{_flops(level.middle)} FLOP", shade))
        axes.set_title(law.label if len(laws) > 1 else "")
        _logarithmic(axes, _count)
        _label_ends(axes, labels)
    figure.supylabel(_loss_label(book), fontsize=9)
    figure.suptitle("Loss at equal training compute (points: runs, lines: law, bands: 90 %)", fontsize=10)
    return figure


def draw_frontier(table: Table, book: LawBook) -> Figure:
    """Best loss against training FLOPs, one line a method; dashed beyond the runs; bands where the best changes."""
    laws = _shown(table, book)
    figure, axes = plt.subplots(figsize=(7.2, 4.6))
    low, high = book.span.flops
    budgets = np.geomspace(low, high * 10, 120)
    labels, lines = [], []
    for law, colour, marker in zip(laws, COLOURS, MARKERS, strict=False):
        runs = table.rows[table.rows["method"] == law.label]
        line = frontier(law, runs, budgets)
        lines.append(line)
        seen = budgets <= high * 1.001
        axes.plot(budgets[seen], line.middle[seen], color=colour, linewidth=1.6)
        axes.plot(budgets[~seen], line.middle[~seen], color=colour, linewidth=1.4, linestyle=(0, (4, 2)))
        axes.fill_between(budgets, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
        best = [
            runs.loc[inside["loss"].idxmin()]
            for level in budget_levels(runs["flops"].to_numpy(float))
            if not (inside := runs[(runs["flops"] >= level.low) & (runs["flops"] <= level.high)]).empty
        ]
        points = [(row["flops"], row["loss"]) for row in best]
        axes.plot(
            *zip(*points, strict=True), marker, color=colour, markersize=6, markeredgecolor="white", label=law.label
        )
        if len(laws) > 1:
            labels.append((budgets[-1], line.middle[-1], law.label, colour))
    axes.axvline(high, color="#999999", linewidth=0.8, linestyle=":")
    axes.annotate(
        "largest run",
        (high, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -2),
        color="#666666",
        textcoords="offset points",
        va="top",
        fontsize=8,
    )
    _mark_crossings(axes, laws, lines, budgets)
    axes.set_xlabel("training compute C (FLOP)")
    axes.set_ylabel(_loss_label(book))
    axes.set_title("Best loss at each budget (points: best run, lines: law, bands: 90 %)")
    _logarithmic(axes, _flops)
    _label_ends(axes, labels)
    return figure


def draw_residuals(table: Table, book: LawBook) -> Figure:
    """Measured over predicted loss against N and against D: a trend here is something the law does not know."""
    laws = _shown(table, book)
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True, layout="constrained")
    for law, colour, marker in zip(laws, COLOURS, MARKERS, strict=False):
        runs = table.rows[table.rows["method"] == law.label]
        columns = [runs[name].to_numpy(float) for name in ("params", "tokens", "share", "unique")]
        ratio = 100 * (runs["loss"].to_numpy(float) / law.law.at(*columns) - 1)
        for axes, values in zip(panels, columns[:2], strict=True):
            axes.plot(
                values, ratio, marker, color=colour, markersize=4.5, alpha=0.8, markeredgewidth=0, label=law.label
            )
    for axes, title in zip(panels, ("model size N (parameters)", "training tokens D"), strict=True):
        axes.axhline(0, color="#666666", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xlabel(title)
        _few_ticks(axes, _count)
    panels[0].set_ylabel("measured over predicted loss, minus 1 (%)")
    if len(laws) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return figure


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


FIGURES: dict[str, Callable[[Table, LawBook], Figure | None]] = {
    "isoflop": draw_isoflop,
    "frontier": draw_frontier,
    "residuals": draw_residuals,
    "scores": draw_scores,
}


def _loss_label(book: LawBook) -> str:
    if book.measure != "loss":
        return f"{book.measure}, held out"
    return "held-out loss (nats per pair)" if book.training else "loss"


def _shown(table: Table, book: LawBook) -> list[MethodLaw]:
    """All laws, or where there are too many to tell apart those that reached the lowest losses."""
    if len(book.laws) <= MOST_METHODS:
        return list(book.laws)
    lowest = table.rows.groupby("method")["loss"].min()
    return sorted(book.laws, key=lambda law: lowest[law.label])[:MOST_METHODS]


def _panels(count: int, below: str) -> tuple[Figure, list[Axes]]:
    columns = 2 if count == 4 else min(count, 3)
    lines = -(-count // columns)
    size = (3.3 * columns + 0.6, 2.9 * lines + 0.5) if count > 1 else (6.4, 4.4)
    figure, grid = plt.subplots(
        lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    panels = list(grid.ravel())
    for unused in panels[count:]:
        unused.set_visible(False)
    for lowest in panels[max(0, count - columns) : count]:
        lowest.tick_params(labelbottom=True)  # sharing the axis hides the labels above an unused panel
    figure.supxlabel(below, fontsize=9)
    return figure, panels[:count]


def _logarithmic(axes: Axes, name: Callable[[float], str]) -> None:
    """Both axes logarithmic; `name` says a value of the horizontal one."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_losses(axes)
    _few_ticks(axes, name)


def _plain_losses(axes: Axes) -> None:
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(FixedLocator(_loss_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _loss_ticks(low: float, high: float) -> list[float]:
    """Round numbers: evenly spaced where losses span little, by decade where they span much."""
    if high < 4 * low:
        step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0) if (high - low) / s <= 8), 10.0)
        return [step * i for i in range(int(np.ceil(low / step)), int(high / step) + 1)]
    steps = [1, 1.5, 2, 3, 4, 6] if high < 12 * low else [1, 2, 5] if high < 300 * low else [1]
    return [m * 10.0**e for e in range(-4, 5) for m in steps if low <= m * 10.0**e <= high]


def _few_ticks(axes: Axes, name: Callable[[float], str]) -> None:
    """Round numbers along x, few enough that their names do not touch."""
    low, high = axes.get_xlim()
    decades = np.log10(high / low)
    steps = [1] if decades > 3 else [1, 3] if decades > 1.5 else [1, 2, 5]
    ticks = [m * 10.0**e for e in range(0, 30) for m in steps if low <= m * 10.0**e <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: name(value)))


def _count(value: float) -> str:
    """25000 as 25 k."""
    for unit, name in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def _flops(value: float) -> str:
    exponent = int(np.floor(np.log10(value)))
    mantissa = f"{value / 10**exponent:.2g}"
    if mantissa == "10":
        exponent, mantissa = exponent + 1, "1"
    return f"$10^{{{exponent}}}$" if mantissa == "1" else f"${mantissa}\\times10^{{{exponent}}}$"


def _label_ends(axes: Axes, labels: Sequence[tuple[float, float, str, object]]) -> None:
    """Each line's name to the right of its end, pushed apart where they would touch."""
    if not labels:
        return
    figure = axes.figure
    figure.canvas.draw()
    ordered = sorted(labels, key=lambda label: label[1])
    pixels = np.array([axes.transData.transform((x, y))[1] for x, y, _, _ in ordered])
    gap = 11 * figure.dpi / 72
    placed = spread(pixels, gap)
    right = axes.transData.transform((max(x for x, _, _, _ in ordered), 1))[0]
    for (x, y, text, colour), height in zip(ordered, placed, strict=True):
        place = axes.transData.inverted().transform((right + 5 * figure.dpi / 72, height))
        axes.annotate(
            text,
            (x, y),
            xytext=place,
            textcoords="data",
            color=colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.5, "shrinkA": 1, "shrinkB": 0},
        )


def spread(places: Array, gap: float) -> Array:
    """Ascending places moved as little as need be so that neighbours are at least `gap` apart."""
    blocks = [[place, [i]] for i, place in enumerate(places)]  # centre, members
    merged: list[list] = []
    for block in blocks:
        merged.append(block)
        while len(merged) > 1:
            (low, under), (high, over) = merged[-2], merged[-1]
            if high - low >= gap * (len(under) + len(over)) / 2:
                break
            members = under + over
            merged[-2:] = [[float(np.mean(places[members])), members]]
    out = np.empty(len(places))
    for centre, members in merged:
        out[members] = centre + gap * (np.arange(len(members)) - (len(members) - 1) / 2)
    return out


def _mark_crossings(axes: Axes, laws: Sequence[MethodLaw], lines: Sequence, budgets: Array) -> None:
    """Budgets at which the best method changes: a line at the estimate, a band over the 90 % interval."""
    for place, crossing in enumerate(crossings([law.label for law in laws], lines, budgets)):
        axes.axvspan(crossing.low, crossing.high, color="#000000", alpha=0.06, linewidth=0)
        axes.axvline(crossing.budget, color="#444444", linewidth=0.9)
        ends = f"{_flops(crossing.low)} to {_flops(crossing.high)}"
        text = f"{crossing.after} overtakes {crossing.before}\nat {_flops(crossing.budget)} FLOP ({ends})"
        axes.annotate(
            text,
            (crossing.budget, 0.03 + 0.12 * place),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
            color="#444444",
        )
