"""The embedding space while it was trained: whether vectors still spread, and whether pairs come together."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.figures.axes import flops, head, panels
from analysis.figures.style import left_out, plain, shown
from analysis.tables.sweep_table import Table
from planner.laws import LawBook
from sweeps.trial import Observation

TITLE = "The embedding space during training"
MEASURES = {  # of an evaluation; see runner.training.space_health for what each is
    "alignment": "alignment (mean squared distance\nwithin pairs; lower is closer)",
    "uniformity": "uniformity (log mean exp(-2 d²)\nof documents; lower is more even)",
    "effective_rank": "effective rank (directions in use;\nhigher is more)",
    "mean_cosine": "mean cosine between documents\n(lower is more spread)",
}


def draw_health(table: Table, book: LawBook) -> Figure | None:
    """Alignment, uniformity and effective rank over training. None where no trial was looked at on its way."""
    known = [o for o in table.observations if len(o.evaluations) > 1]
    if not known:
        return None
    methods = [method for method in shown(table, book) if any(o.trial.method.label == method.label for o in known)]
    chosen = [_chosen([o for o in known if o.trial.method.label == method.label]) for method in methods]
    names = [name for name in MEASURES if all(name in each for o in chosen for each in o.evaluations)]
    if not names:
        return None
    figure, axes_of = panels(len(names), columns=2, size=(3.7, 2.5), sharex=True)
    fallen = False
    for method, o in zip(methods, chosen, strict=True):
        spent = np.array([o.flops * each["step"] / o.trial.steps for each in o.evaluations])
        collapsed = np.array([bool(each.get("collapsed")) for each in o.evaluations])
        fallen |= bool(collapsed.any())
        for axes, name in zip(axes_of, names, strict=True):
            values = np.array([each[name] for each in o.evaluations])
            every = max(1, len(values) // 6)
            axes.plot(spent, values, color=method.colour, marker=method.marker, markersize=4, markevery=every, lw=1.3)
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
    for key, o in zip(keys, chosen, strict=True):
        key.set_label(f"{key.get_label()}, {plain(o.trial.model)}")
    head(figure, TITLE, note + left_out(table), keys)
    return figure


def _chosen(mine: list[Observation]) -> Observation:
    """The lowest loss at the largest budget; where none ended, the longest."""
    most = max(o.trial.budget or o.flops for o in mine)
    largest = [o for o in mine if (o.trial.budget or o.flops) >= 0.9 * most]
    done = [o for o in largest if o.status == "done" and o.loss is not None]
    return min(done, key=lambda o: o.loss) if done else max(largest, key=lambda o: o.trial.steps)
