"""Sweeps made to be drawn, with curves and evaluations, and what every figure's words must do. No training happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.figures import without_laws
from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.tables.projection import Projection, Side
from analysis.tables.sweep_table import sweep_table
from analysis.tables.table import Table
from planner.law_book import LawBook
from planner.laws import Rectified
from support.ladder import NANO
from support.made_sweep import LAWS_OF_THE_TESTS, observations, write_sweep
from sweeps.methods import BiasOnly, FreezeBlocks, Full, LoRA, Method
from sweeps.search.goal_rounds import Contender, GoalRound
from sweeps.tasks import score_name
from sweeps.trial import Observation, Training, failure

MODELS = [model for model in NANO if model.name in ("nano-25k", "nano-100k", "nano-340k", "nano-1.2m")]
BUDGETS = [1e13, 4e13, 1.6e14, 6.4e14]
METHODS: list[Method] = [
    Full(),
    *(LoRA(rank=rank) for rank in (2, 8, 32, 128)),
    *(FreezeBlocks(share=share) for share in (0.34, 0.67)),
    BiasOnly(),
    *(LoRA(rank=rank, alpha=16.0) for rank in (4, 16)),
]
NAMES = ["an-organisation/with a very long name of a model-%d", "$\\frac{1}{%d<script>alert(1)</script>"]


def laws_of(methods: Sequence[Method]) -> dict[Method, Rectified]:
    """Laws that lie a little apart, and cross."""
    truth = LAWS_OF_THE_TESTS[Full()]
    return {
        method: replace(truth, E=truth.E + 0.02 * i, B=truth.B * (1 - 0.05 * i)) for i, method in enumerate(methods)
    }


def watched(trials: Sequence[Observation]) -> list[Observation]:
    """The same trials with training curves and with evaluations on the way."""
    return [
        replace(observation, curve=_curve(observation), evaluations=_evaluations(observation)) for observation in trials
    ]


def _curve(observation: Observation) -> tuple[tuple[int, int, float], ...]:
    steps = np.unique(np.geomspace(1, observation.trial.steps, 60).astype(int))
    per_step = observation.tokens / observation.trial.steps
    return tuple(
        (int(step), int(step * per_step), 0.4 * (observation.loss or 5.0) + 3 / (1 + step) ** 0.4) for step in steps
    )


def _evaluations(observation: Observation) -> tuple[dict[str, float], ...]:
    parts = np.linspace(0, 1, 9)
    return tuple(
        {
            "step": int(part * observation.trial.steps),
            "ndcg@10": 0.2 + 0.4 * part,
            "alignment": 1.2 - 0.5 * part,
            "uniformity": -1 - part,
            "mean_cosine": 0.6 - 0.2 * part,
            "effective_rank": 20 + 30 * part - observation.params / 1e6,
            "collapsed": float(part == 0.5),
        }
        for part in parts
    )


def projection() -> Projection:
    generator = np.random.default_rng(0)
    before, after = (
        Side(points, points + generator.normal(0, 0.2, points.shape), share, share)
        for points, share in ((generator.normal(0, 0.1, (60, 2)), 0.4), (generator.normal(0, 0.5, (60, 2)), 0.2))
    )
    return Projection("nano-340k", "full, learning rate 0.003", "python-env", 96, before, after)


def rounds() -> tuple[GoalRound, ...]:
    """Those of a goal: a regret that falls, rises and falls, and an end."""
    found = []
    for place, (regret, stop) in enumerate(((0.4, ""), (0.05, ""), (0.12, ""), (0.004, "the regret fell"))):
        chances = ((0.9 - 0.2 * place, "full"), (0.1 + 0.2 * place, "lora rank 8 alpha 8"))
        contenders = tuple(Contender("nano-100k", method, 2.0, 1.8, 2.2, best) for best, method in chances)
        found.append(GoalRound((), regret, 1e11 * place, 1e11, 5e11, 1e13, "reference", contenders, (), stop))
    return tuple(found)


def grid(methods: Sequence[Method] = METHODS[:3], models=MODELS, budgets=BUDGETS, **more) -> list[Observation]:
    return watched(observations(laws_of(methods), models, budgets, noise=0.01, **more))


def trunks() -> list[Observation]:
    training = Training(warmup_steps=20)
    return watched(
        [replace(observation, trial=replace(observation.trial, training=training)) for observation in grid()]
    )


def on_tasks() -> list[Observation]:
    """Trials that were scored on tasks, of which one has a long name."""
    training = Training(tasks=("sts:stsb.jsonl#test", "retrieval:a-folder-with-a-very-long-name-from-somewhere"))
    names = [score_name(task) for task in training.tasks]
    return [
        replace(
            observation,
            trial=replace(observation.trial, training=training),
            scores=dict.fromkeys(names, 1 / (1 + (observation.loss or 0.0))),
        )
        for observation in grid(METHODS[:2])
    ]


def diverged() -> list[Observation]:
    return [
        failure(
            observation.trial,
            "loss is nan at step 7 of 80",
            "diverged",
            curve=observation.curve,
            flops=observation.flops,
            params=observation.params,
        )
        for observation in grid()
    ]


SWEEPS = {
    "one method": lambda: grid(METHODS[:1]),
    "eight methods": lambda: grid(METHODS[:8]),
    "two budgets": lambda: grid(budgets=BUDGETS[1:3]),
    "six budgets": lambda: grid(METHODS[:2], budgets=np.geomspace(1e13, 1e15, 6)),
    "trunks": trunks,
    "tasks": on_tasks,
    "long names": lambda: grid(
        METHODS[:2], [replace(m, name=NAMES[i % 2] % i) for i, m in enumerate(MODELS)], BUDGETS[:3]
    ),
}
BROKEN = {
    "no rows": list,
    "one row": lambda: grid(METHODS[:1], MODELS[:1], BUDGETS[:1]),
    "all diverged": diverged,
    "one budget": lambda: grid(budgets=BUDGETS[1:2]),
    "one size": lambda: grid(models=MODELS[1:2]),
}


def fitted(
    folder: Path, trials: Sequence[Observation], family: str = "chinchilla", profile: str = ""
) -> tuple[Table, LawBook]:
    """The table of these trials with a projection and a goal, and its laws, none where there are too few runs."""
    table = replace(sweep_table(write_sweep(folder, trials)), projection=projection(), rounds=rounds())
    try:
        return table, fit_table(table, Settings(family=family, bootstraps=20, profile=profile))
    except ValueError:
        return table, without_laws(table)


def words(figure: Figure) -> list[Text]:
    """What can be read; ticks outside an axis are not drawn, though they keep their labels."""
    outside = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        for label in (tick.label1, tick.label2)
    }
    every = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in every if text not in outside]


def check_words(figure: Figure, name: str) -> None:
    """No text of the figure lies on another or beyond the edge."""
    figure.canvas.draw()
    # Of an annotation only its words: the line to what it names may pass under others.
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in words(figure)]
    edge = figure.bbox
    for text, box in boxes:
        inside = box.x0 > edge.x0 - 1 and box.x1 < edge.x1 + 1 and box.y0 > edge.y0 - 1 and box.y1 < edge.y1 + 1
        assert inside, f"{name}: {text!r} at {box} leaves the figure, {edge}"
    for (text, a), (other, b) in combinations(boxes, 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= 1 or height <= 1, f"{name}: {text!r} lies on {other!r}"
