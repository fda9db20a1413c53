"""The frontier in figures is the planner's: the same crossovers, the same odds, the same best model at every budget."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.text import Annotation

from analysis.figures.frontier import Line, draw_frontier
from analysis.figures.style import GREY, STYLE, shown
from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.frontier import MOST_SIZES, contenders
from analysis.tables.columns import Columns
from analysis.tables.foreign_table import runs_table
from planner import Limits, plan
from planner.frontier import method_odds
from planner.palette import FAMILIES
from support.made_sweep import LAWS_OF_THE_TESTS, observations
from support.pictures import BUDGETS, MODELS, SWEEPS, fitted
from sweeps.methods import Full, LoRA


@pytest.fixture(scope="module", params=["two methods", "eight methods"])
def swept(request, tmp_path_factory):
    if request.param == "eight methods":
        trials = SWEEPS["eight methods"]()
    else:  # adapters have the lower floor, full tuning the faster start
        full = LAWS_OF_THE_TESTS[Full()]
        lora = replace(full, E=full.E - 0.1, B=full.B * 1.5)
        trials = observations({Full(): full, LoRA(rank=8): lora}, MODELS, BUDGETS)
    return fitted(tmp_path_factory.mktemp("sweep"), trials)


@pytest.fixture
def drawn(swept):
    with plt.rc_context(STYLE):
        figure = draw_frontier(*swept)
        figure.draw_without_rendering()
        yield figure
        plt.close(figure)


def test_crossovers_are_those_of_plan_to_the_last_bit(swept, drawn):
    _, book = swept
    above, _ = drawn.axes
    letters = [text for text in above.texts if isinstance(text, Annotation) and len(text.get_text()) == 1]
    low, high = above.get_xlim()
    theirs = [
        crossover for crossover in plan(book.measured.flops[1], laws=book).crossovers if low <= crossover.flops <= high
    ]
    assert theirs, "these laws cross"
    assert [letter.xy[0] for letter in letters] == [crossover.flops for crossover in theirs]
    spans = [patch for patch in above.patches if patch.get_alpha() == 0.09]
    for span, crossover in zip(spans, theirs, strict=True):
        assert (span.get_x(), span.get_x() + span.get_width()) == pytest.approx(
            (max(crossover.low or low, low), min(crossover.high or high, high))
        )


def test_odds_are_those_of_plan(swept, drawn):
    table, book = swept
    _, below = drawn.axes
    areas = [area for area in below.collections if isinstance(area, PolyCollection)]
    labels = [method.label for method in shown(table, book) if method.law]
    budgets = np.unique(areas[0].get_paths()[0].vertices[:, 0])
    for budget in budgets[:: len(budgets) // 6].tolist():
        expected = dict.fromkeys(labels, 0.0)
        for recipe in plan(budget, laws=book, top=999).candidates:
            expected[recipe.trial.method.label] += recipe.best
        odds = method_odds(contenders(book, table.rows), budget)
        assert {label: odds.get(label, 0.0) for label in labels} == expected
        heights = [
            np.ptp(area.get_paths()[0].vertices[np.isclose(area.get_paths()[0].vertices[:, 0], budget, rtol=1e-9), 1])
            for area in areas
        ]
        assert heights == pytest.approx([expected[label] for label in labels], abs=1e-9)


def test_lines_reach_what_plan_predicts(swept):
    table, book = swept
    for law in book.laws:
        budgets = np.geomspace(*book.measured.flops, 4)
        line = Line.of(contenders(book, table.rows), law.label, budgets)
        name = [str(law.settings["name"])]
        for budget, loss in zip(budgets.tolist(), line.middle, strict=True):
            recipes = plan(budget, laws=book, methods=name, top=999, limits=Limits()).candidates
            mine = [recipe for recipe in recipes if recipe.trial.method.label == law.label]
            # plan counts whole steps, and takes the mean of the draws
            assert loss == pytest.approx(min(recipe.loss for recipe in mine), rel=0.01)
        assert (line.low <= line.middle).all() and (line.middle <= line.high).all()


@pytest.mark.parametrize("sizes", [4, 200])
def test_runs_from_elsewhere_compete_by_their_sizes(sizes):
    generator = np.random.default_rng(0)
    N = np.tile(np.geomspace(1e6, 1e9, sizes), 400 // sizes)
    D = np.exp(generator.uniform(20, 24, len(N)))
    loss = 1.5 + 300 / N**0.33 + 500 / D**0.34
    frame = pd.DataFrame({"n": N, "d": D, "c": 6 * N * D, "loss": loss})
    table = runs_table(frame, Columns(loss="loss", n="n", d="d"))
    book = fit_table(table, Settings(family="chinchilla", bootstraps=20))
    rivals = contenders(book, table.rows)
    assert len(rivals) == min(sizes, MOST_SIZES)
    budget = 6 * 1e8 * 1e10
    assert [rival.tokens(budget) for rival in rivals] == pytest.approx(
        [budget / (6 * n) for n in np.geomspace(1e6, 1e9, len(rivals))], rel=1e-6
    )
    best = Line.of(rivals, book.laws[0].label, np.array([budget]))
    assert best.middle[0] == min(rival.loss(rival.tokens(budget)) for rival in rivals if not rival.refusal(budget))


def sweep_of(folder, losses):
    """Full tuning and adapters, whose floor lies this much above."""
    full = LAWS_OF_THE_TESTS[Full()]
    rivals = {LoRA(rank=2**place): replace(full, E=full.E + more) for place, more in enumerate(losses, 1)}
    return fitted(folder, observations({Full(): full, **rivals}, MODELS, BUDGETS, noise=0.003))


def test_methods_that_are_never_the_best_are_grey_and_one_that_always_is_needs_no_panel(tmp_path):
    with plt.rc_context(STYLE):
        figure = draw_frontier(*sweep_of(tmp_path, (0.5, 0.8)))
    (axes,) = figure.axes
    colours = {line.get_color() for line in axes.lines if len(line.get_xdata()) > 10}
    assert colours == {FAMILIES["full"].colour, GREY}
    texts = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "Probability that full is the best: over 9" in texts and "Grey: never the best." in texts
    plt.close(figure)
