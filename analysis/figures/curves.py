"""Training curves: how the loss came down, and where each budget branched off to cool down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.axes import count, limits, log_axis, plain_number
from analysis.figures.budgets import bar, shades
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels, why_empty
from analysis.figures.style import Shown, left_out, plain, shown
from analysis.figures.trials import budget_of, loss_of, of_method
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import LawBook
from sweeps.trial import Observation

TITLE = "Training loss against tokens"
TRUNK = "#9A9A9A"
SMOOTH = 0.15  # standard deviation of the weights, in the logarithm of the steps
SKIPPED = 0.2  # of the shortest trial of a panel: what is not drawn at its left, where the loss falls most
MOST = 8  # curves in a panel: those of the largest budgets


def draw_curves(table: Table, book: LawBook) -> Figure | NotDrawn:
    """One panel a method: the trials of its best run's model, the stretch they share in grey."""
    if not table.observations and table.training is None and not table.rows.empty:
        return NotDrawn("a table of runs holds no training curves")
    known = [observation for observation in table.observations if len(observation.curve) > 1]
    if not known:
        return NotDrawn("no trial has left a training curve" if table.observations else why_empty(table))
    methods = [method for method in shown(table, book) if of_method(known, method.label)]
    chosen = {method.label: _chosen(of_method(known, method.label)) for method in methods}
    budgets = sorted({budget_of(observation) for some in chosen.values() for observation in some})
    colours = dict(zip(budgets, shades(len(budgets)), strict=True))
    figure, axes_of = panels(len(methods), sharex=True, sharey=True)
    heights: list[Array] = []
    widths: list[Array] = []
    for axes, method in zip(axes_of, methods, strict=True):
        some = chosen[method.label]
        _draw(axes, some, colours, heights, widths)
        _title(axes, method, some[0])
    for axes in axes_of:
        axes.set_xlim(*limits(*widths, room=1.15))
        axes.set_ylim(*limits(*heights, room=1.12))
        log_axis(axes, "x", count, 5)
        log_axis(axes, "y", plain_number)
    figure.supxlabel("training tokens D", fontsize=9)
    figure.supylabel("training loss (nats per pair)", fontsize=9)
    note = (
        "Each method's model with the lowest held-out loss. Lines: loss in the batch, smoothed by local lines over the "
        f"log of the steps, weighted by a Gaussian of {100 * SMOOTH:.0f} % of the step. Open circles: held-out loss at "
        "the end, of larger pools. "
        + ("Grey: the trunk that budgets share; dots: where one branches off to cool down. " if _trunks(chosen) else "")
        + ("" if any(observation.status == "done" for observation in known) else "No trial ended with a loss. ")
        + ("Crosses: diverged. " if any(map(_diverged, chosen.values())) else "")
    )
    head(figure, TITLE, note + left_out(table))
    bar(figure, axes_of, budgets)
    return figure


def _chosen(mine: Sequence[Observation]) -> list[Observation]:
    """Trials of the model and seed with the lowest loss, the best rate of each budget, by their steps."""
    done = [observation for observation in mine if observation.status == "done" and np.isfinite(loss_of(observation))]
    best = min(done, key=loss_of) if done else max(mine, key=lambda observation: observation.flops)
    same = [other for other in mine if (other.trial.model, other.trial.seed) == (best.trial.model, best.trial.seed)]
    best_rates = {observation.trial.steps: observation for observation in sorted(same, key=_rank, reverse=True)}
    return [best_rates[steps] for steps in sorted(best_rates)][-MOST:]


def _rank(observation: Observation) -> tuple[bool, float]:
    """The best comes first: those that ended, then the lower loss."""
    return observation.status != "done", loss_of(observation)


def _diverged(some: Sequence[Observation]) -> bool:
    return any(observation.status == "diverged" for observation in some)


def _trunks(chosen: dict[str, list[Observation]]) -> bool:
    return any(len(_sharing(some, observation)) > 1 for some in chosen.values() for observation in some)


def _sharing(some: Sequence[Observation], observation: Observation) -> list[Observation]:
    """The trials that share this one's trunk, itself among them; none where it has no trunk."""
    trunk = observation.trial.trunk
    return [other for other in some if trunk and other.trial.trunk == trunk]


def _draw(
    axes: Axes, some: Sequence[Observation], colours: dict[float, Array], heights: list[Array], widths: list[Array]
) -> None:
    """Every trial from where it leaves the trunk that it shares, and the trunk once."""
    for observation in some:
        shared = _sharing(some, observation)
        steps, tokens, losses = _points(observation, shared)
        smooth, shade = smoothed(steps, losses), tuple(colours[budget_of(observation)])
        cooldown_start = observation.trial.cooldown_start if len(shared) > 1 else 0
        drawn = steps >= min(SKIPPED * some[0].trial.steps, steps[-2])
        trunk, own = drawn & (steps <= cooldown_start), drawn & (steps >= min(cooldown_start, steps[-2]))
        if trunk.any():
            if observation is shared[-1]:
                axes.plot(tokens[trunk], smooth[trunk], color=TRUNK, linewidth=1.4, zorder=1.5)
            own |= steps == steps[trunk][-1]
            axes.plot(tokens[trunk][-1], smooth[trunk][-1], "o", color=shade, markersize=4)
        axes.plot(tokens[own], smooth[own], color=shade, linewidth=1.6)
        if observation.status == "diverged":
            axes.plot(tokens[-1], smooth[-1], "x", color=shade, markersize=7, mew=1.8)
        heights.append(smooth[drawn])
        widths.append(tokens[drawn])
        if np.isfinite(loss := loss_of(observation)):
            axes.plot(tokens[-1], loss, "o", mfc="white", mec=shade, mew=1.2, markersize=4, zorder=3)
            heights.append(np.array([loss]))


def _points(observation: Observation, shared: Sequence[Observation]) -> tuple[Array, Array, Array]:
    """Steps, tokens and losses of a trial; its records are thinned out, so on the trunk those of all who share it."""
    points = {step: (tokens, loss) for step, tokens, loss in observation.curve}
    for other in shared:
        same = min(other.trial.cooldown_start, observation.trial.cooldown_start)
        points.update({step: (tokens, loss) for step, tokens, loss in other.curve if step <= same})
    steps = sorted(points)
    tokens, losses = np.array([points[step] for step in steps], float).T
    return np.array(steps, float), tokens, losses


def smoothed(steps: Array, losses: Array) -> Array:
    """The losses by local lines over the logarithm of the steps, which lag behind no fall [points]."""
    away = np.log(steps) - np.log(steps)[:, None]
    weights = np.exp(-0.5 * (away / SMOOTH) ** 2)
    first, second = (weights * away).sum(axis=1), (weights * away**2).sum(axis=1)
    second += 1e-6 * SMOOTH**2  # a point far from all others keeps its loss
    lines = weights * (second[:, None] - first[:, None] * away)
    return (lines @ losses) / lines.sum(axis=1)


def _title(axes: Axes, method: Shown, first: Observation) -> None:
    axes.set_title(f"{method.name}\n{plain(first.trial.model, 14)}, lr {first.trial.lr:g}")
