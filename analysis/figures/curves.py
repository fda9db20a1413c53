"""Training curves: how the loss came down, and where each budget branched off to cool down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.axes import Label, count, flops, head, label_ends, limits, log_axis, panels, plain_number, say
from analysis.figures.style import BUDGET_COLOURS, Shown, left_out, plain, shown
from analysis.tables.rows import Array
from analysis.tables.sweep_table import Table
from planner.laws import LawBook
from sweeps.trial import Observation

TITLE = "Training loss against tokens"
TRUNK = "#9A9A9A"
SMOOTH = 0.2  # of the steps so far: the width of the running mean
SKIPPED = 0.2  # of the shortest trial of a panel: what is not drawn at its left, where the loss falls most
MOST = 8  # curves in a panel: those of the largest budgets


def draw_curves(table: Table, book: LawBook) -> Figure | None:
    """One panel a method: the trials of its best run's model, the stretch they share in grey. None without curves."""
    if not table.observations and table.training is None and not table.rows.empty:
        return None  # runs from elsewhere have no curves
    known = [o for o in table.observations if len(o.curve) > 1]
    if not known:
        return say(TITLE, "No trial has left a training curve." if table.observations else EMPTY)
    methods = [method for method in shown(table, book) if any(o.trial.method.label == method.label for o in known)]
    chosen = {method.label: _chosen([o for o in known if o.trial.method.label == method.label]) for method in methods}
    budgets = sorted({_budget(o) for some in chosen.values() for o in some})
    shades = dict(zip(budgets, BUDGET_COLOURS(np.linspace(0.0, 0.85, len(budgets))), strict=True))
    figure, axes_of = panels(len(methods), sharex=True, sharey=True)
    labels, heights, widths = {}, [], []
    for axes, method in zip(axes_of, methods, strict=True):
        some = chosen[method.label]
        labels[axes] = _draw(axes, some, shades, heights, widths)
        _title(axes, method, some[0])
    for axes in axes_of:
        axes.set_xlim(*limits(*widths, room=1.05))
        axes.set_ylim(*limits(*heights, room=1.05))
        log_axis(axes, "x", count, 5)
        log_axis(axes, "y", plain_number)
    figure.supxlabel("training tokens D", fontsize=9)
    figure.supylabel("training loss (nats per pair)", fontsize=9)
    note = (
        "Running mean of the loss in the batch, each method's model with the lowest held-out loss. Named by budget in "
        "FLOP and held-out loss. "
        + ("Grey: the trunk that budgets share; dots: where one branches off to cool down. " if _trunks(chosen) else "")
        + ("" if any(o.status == "done" for o in known) else "No trial ended with a loss. ")
        + ("Crosses: diverged. " if any(o.status == "diverged" for some in chosen.values() for o in some) else "")
    )
    head(figure, TITLE, note + left_out(table))
    label_ends(figure, labels, 7.5)
    return figure


EMPTY = "The sweep has no observation yet: nothing was run, or nothing has ended."


def _chosen(mine: Sequence[Observation]) -> list[Observation]:
    """Trials of the model and seed with the lowest loss, the best rate of each budget, by their steps."""
    done = [o for o in mine if o.status == "done" and o.loss is not None and np.isfinite(o.loss)]
    best = min(done, key=lambda o: o.loss) if done else max(mine, key=lambda o: o.flops)
    same = [o for o in mine if (o.trial.model, o.trial.seed) == (best.trial.model, best.trial.seed)]
    found: dict[int, Observation] = {}
    for o in sorted(same, key=_rank, reverse=True):
        found[o.trial.steps] = o
    return [found[steps] for steps in sorted(found)][-MOST:]


def _rank(o: Observation) -> tuple[bool, float]:
    """The best comes first: those that ended, then the lower loss."""
    return (o.status != "done", o.loss if o.loss is not None and np.isfinite(o.loss) else np.inf)


def _budget(o: Observation) -> float:
    return float(o.trial.budget or o.flops)


def _trunks(chosen: dict[str, list[Observation]]) -> bool:
    return any(len(_sharing(some, o)) > 1 for some in chosen.values() for o in some)


def _sharing(some: Sequence[Observation], one: Observation) -> list[Observation]:
    return [o for o in some if o.trial.trunk and o.trial.trunk == one.trial.trunk]


def _draw(axes: Axes, some: Sequence[Observation], shades: dict, heights: list, widths: list) -> list[Label]:
    """Every trial from where it leaves the trunk that it shares, and the trunk once."""
    labels: list[Label] = []
    for o in some:
        shared = _sharing(some, o)
        steps, tokens, losses = _points(o, shared)
        smooth, shade = running_mean(steps, losses), shades[_budget(o)]
        branch = o.trial.branch if len(shared) > 1 else 0
        drawn = steps >= min(SKIPPED * some[0].trial.steps, steps[-2])
        trunk, own = drawn & (steps <= branch), drawn & (steps >= min(branch, steps[-2]))
        if trunk.any():
            if o is shared[-1]:
                axes.plot(tokens[trunk], smooth[trunk], color=TRUNK, linewidth=1.4, zorder=1.5)
            own |= steps == steps[trunk][-1]
            axes.plot(tokens[trunk][-1], smooth[trunk][-1], "o", color=shade, markersize=4)
        axes.plot(tokens[own], smooth[own], color=shade, linewidth=1.6)
        if o.status == "diverged":
            axes.plot(tokens[-1], smooth[-1], "x", color=shade, markersize=7, mew=1.8)
        heights.append(smooth[drawn])
        widths.append(tokens[drawn])
        end = f"{o.loss:.2f}" if o.loss is not None and np.isfinite(o.loss) else o.status
        labels.append((tokens[-1], smooth[-1], f"{flops(_budget(o))}: {end}", shade))
    return labels


def _points(one: Observation, shared: Sequence[Observation]) -> tuple[Array, Array, Array]:
    """Steps, tokens and losses of a trial; its records are thinned out, so on the trunk those of all who share it."""
    points = {step: (tokens, loss) for step, tokens, loss in one.curve}
    for o in shared:
        same = min(o.trial.branch, one.trial.branch)
        points.update({step: (tokens, loss) for step, tokens, loss in o.curve if step <= same})
    steps = sorted(points)
    return np.array(steps, float), *np.array([points[step] for step in steps], float).T


def running_mean(steps: Array, losses: Array) -> Array:
    """Each loss averaged with those before it, over a stretch that grows with the steps done."""
    begin = np.searchsorted(steps, (1 - SMOOTH) * steps)
    end = np.arange(1, len(steps) + 1)
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    return (sums[end] - sums[begin]) / (end - begin)


def _title(axes: Axes, method: Shown, first: Observation) -> None:
    axes.set_title(f"{method.name}\n{plain(first.trial.model)}, lr {first.trial.lr:g}")
