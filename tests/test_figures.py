"""Figures: every one is drawn, says its units, and no text lies on another."""

from __future__ import annotations

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from analysis.estimate import Settings
from analysis.figures import FIGURES, draw_all
from analysis.figures.axes import spread
from analysis.figures.style import MARKERS, MOST_METHODS, STYLE
from analysis.fit import fit_table
from analysis.frontier import Spending, budget_levels, crossings, frontier
from analysis.runs import Columns, runs_table
from analysis.table import read_sweep
from made_sweep import LAWS_OF_THE_TESTS, observations, write_sweep
from sweeps.methods import Full
from sweeps.models import NANO


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    found = observations(models=NANO[:4], budgets=[1e13, 4e13, 1.6e14, 6.4e14], noise=0.005)
    table = read_sweep(write_sweep(tmp_path_factory.mktemp("sweep"), found))
    return table, fit_table(table, Settings(bootstraps=60, family="chinchilla"))


@pytest.fixture(params=FIGURES)
def figure(request, fitted):
    with plt.rc_context(STYLE):
        figure = FIGURES[request.param](*fitted)
        figure.canvas.draw()
        yield figure
        plt.close(figure)


def test_no_text_lies_on_another(figure):
    texts = [t for t in figure.findobj(plt.Text) if t.get_visible() and t.get_text().strip()]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts]
    for (one, a), (other, b) in combinations(boxes, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= 1 or height <= 1, (one, other)


def test_every_axis_says_its_unit(figure):
    words = " ".join(t.get_text() for t in figure.findobj(plt.Text))
    assert any(unit in words for unit in ("nats per pair", "%"))
    assert any(unit in words for unit in ("FLOP", "parameters", "directions"))


def test_every_figure_becomes_two_files(fitted, tmp_path):
    written = draw_all(*fitted, tmp_path)
    assert {path.name for path in written} == {f"{name}.{ending}" for name in FIGURES for ending in ("png", "svg")}
    for path in written:
        assert path.stat().st_size > 5000
    with open(tmp_path / "frontier.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def test_methods_differ_by_marker_as_well_as_colour():
    assert len(set(MARKERS)) == MOST_METHODS


def test_runs_from_elsewhere_can_be_drawn(tmp_path):
    generator = np.random.default_rng(0)
    N, D = np.exp(generator.uniform(15, 20, 60)), np.exp(generator.uniform(20, 24, 60))
    loss = 1.5 + 300 / N**0.33 + 500 / D**0.34
    import pandas as pd

    table = runs_table(pd.DataFrame({"n": N, "d": D, "loss": loss}), Columns(loss="loss", n="n", d="d"))
    book = fit_table(table, Settings(family="chinchilla", bootstraps=40, delta=1e-3))
    assert len(draw_all(table, book, tmp_path)) == 2 * (len(FIGURES) - 1)  # such runs have no scores


def test_labels_are_spread_as_little_as_need_be():
    placed = spread(np.array([0.0, 1.0, 2.0, 50.0]), 10.0)
    assert np.diff(placed).min() >= 10 - 1e-9
    assert placed[3] == 50
    assert placed[:3].mean() == pytest.approx(1.0)
    untouched = np.array([0.0, 20.0, 45.0])
    assert (spread(untouched, 10.0) == untouched).all()


def test_budgets_of_a_sweep_are_found_back():
    budgets = [1e13, 4e13, 1.6e14]
    found = observations({Full(): LAWS_OF_THE_TESTS[Full()]}, NANO[:3], budgets)
    levels = budget_levels(np.array([o.flops for o in found]))
    assert [level.middle for level in levels] == pytest.approx(budgets, rel=0.02)


def test_the_frontier_is_the_best_of_all_sizes_and_its_crossing_the_laws(fitted):
    table, book = fitted
    budgets = np.geomspace(1e13, 6e14, 30)
    lines = []
    for law in book.laws:
        runs = table.rows[table.rows["method"] == law.label]
        line = frontier(law, runs, budgets)
        lines.append(line)
        spending = Spending.of(runs)
        for size in runs["params"].unique():
            single = law.law.loss(float(size), spending.tokens(budgets, np.full(30, float(size))))
            assert (line.middle <= single * (1 + 2e-3)).all()
        assert (line.low <= line.high).all()
        assert (np.diff(line.middle) < 0).all()
    for crossing in crossings([law.label for law in book.laws], lines, budgets):
        before, after = (lines[[law.label for law in book.laws].index(n)] for n in (crossing.before, crossing.after))
        earlier = budgets < crossing.budget
        assert (before.middle < after.middle)[earlier][-1]
        assert not (before.middle < after.middle)[~earlier][0]
