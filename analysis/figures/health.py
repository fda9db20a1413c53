"""The embedding space while it was trained: whether vectors still spread, and whether pairs come together."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.figures.axes import flops
from analysis.figures.files import NotDrawn
from analysis.figures.layout import head, panels
from analysis.figures.style import left_out, plain, shown
from analysis.figures.trials import budget_of, loss_of, of_method
from analysis.tables.table import Table
from planner.law_book import LawBook
from sweeps.trial import Observation

TITLE = "The embedding space during training"
MEASURES = {  # of an evaluation; see runner.training.space_health for what each is
    "alignment": "alignment (mean squared distance\nwithin pairs; lower is closer)",
    "uniformity": "uniformity (log mean exp(-2 d²)\nof documents; lower is more even)",
    "effective_rank": "effective rank (directions in use;\nhigher is more)",
    "mean_cosine": "mean cosine between documents\n(lower is more spread)",
}
NOT_LOOKED_AT = NotDrawn("no trial was looked at during training (training.evaluate_every)")


def draw_health(table: Table, book: LawBook) -> Figure | NotDrawn:
    """Alignment, uniformity and effective rank over training."""
    known = [observation for observation in table.observations if len(observation.evaluations) > 1]
    if not known:
        return NOT_LOOKED_AT
    methods = [method for method in shown(table, book) if of_method(known, method.label)]
    chosen = [_chosen(of_method(known, method.label)) for method in methods]
    evaluations = [evaluation for observation in chosen for evaluation in observation.evaluations]
    names = [name for name in MEASURES if all(name in evaluation for evaluation in evaluations)]
    if not names:
        return NOT_LOOKED_AT
    figure, axes_of = panels(len(names), columns=2, size=(3.7, 2.5), sharex=True)
    fallen = False
    for method, observation in zip(methods, chosen, strict=True):
        steps = np.array([each["step"] for each in observation.evaluations])
        spent = observation.flops * steps / observation.trial.steps
        collapsed = np.array([bool(each.get("collapsed")) for each in observation.evaluations])
        fallen |= bool(collapsed.any())
        for axes, name in zip(axes_of, names, strict=True):
            values = np.array([each[name] for each in observation.evaluations])
            every = max(1, len(values) // 6)
            axes.plot(spent, values, **method.points(rim=0.0, markersize=4, markevery=every, lw=1.3))
            axes.plot(spent[collapsed], values[collapsed], "x", color="#000000", markersize=7, mew=1.5)
    for axes, name in zip(axes_of, names, strict=True):
        axes.set_ylabel(MEASURES[name], fontsize=8)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: flops(value) if value > 0 else "0"))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    figure.supxlabel("training compute spent (FLOP)", fontsize=9)
    note = (
        "Each method's run with the lowest held-out loss at the largest budget that was looked at, on held-out "
        "pairs; at 0 the pretrained model. The effective rank is at most a model's width: compare it within one size. "
        + ("Crosses: less than half of the directions once in use. " if fallen else "")
    )
    keys = [method.key(linewidth=1.3) for method in methods]
    for key, observation in zip(keys, chosen, strict=True):
        key.set_label(f"{key.get_label()}, {plain(observation.trial.model)}")
    head(figure, TITLE, note + left_out(table), keys)
    return figure


def _chosen(mine: list[Observation]) -> Observation:
    """The lowest loss at the largest budget; where none ended, the longest."""
    most = max(map(budget_of, mine))
    largest = [observation for observation in mine if budget_of(observation) >= 0.9 * most]
    done = [observation for observation in largest if observation.status == "done" and observation.loss is not None]
    return min(done, key=loss_of) if done else max(largest, key=lambda observation: observation.trial.steps)
