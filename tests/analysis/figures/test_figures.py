"""Figures: files, units, labels: test_figures_words.py holds their words."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis.figures import FIGURES, draw_all, optimum
from analysis.figures.files import NotDrawn, write
from analysis.figures.labels import spread
from analysis.figures.style import MOST_METHODS, STYLE, shown
from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.frontier import Band, budget_levels
from analysis.tables.columns import Columns
from analysis.tables.foreign_table import runs_table
from support.ladder import NANO
from support.made_sweep import LAWS_OF_THE_TESTS, observations
from support.pictures import METHODS, check_words, fitted, grid, words
from sweeps.methods import Full


@pytest.mark.slow
def test_every_figure_becomes_two_files(swept, tmp_path):
    drawn = draw_all(*swept, tmp_path)
    names = set(FIGURES) - {"batch"}  # of a sweep that has one batch size
    assert {path.name for path in drawn.files} == {f"{name}.{ending}" for name in names for ending in ("png", "svg")}
    for path in drawn.files:
        assert path.stat().st_size > 2000
    assert (tmp_path / "frontier.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [line.split(": ")[1] for line in drawn.left_out] == ["batch"]


def test_no_earlier_picture_stays_of_a_figure_that_is_not_drawn(tmp_path):
    for ending in ("png", "svg"):
        (tmp_path / f"isoflop.{ending}").write_text("of other runs")
    (tmp_path / "mine.png").write_text("not of this command")
    drawn = write({"isoflop": lambda: NotDrawn("every run has the same size")}, tmp_path)
    assert drawn.left_out == ["not drawn: isoflop: every run has the same size"] and not drawn.files
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_methods_without_a_best_size_have_no_panels_and_are_named_once(tmp_path, monkeypatch):
    table, book = fitted(tmp_path, grid(METHODS[:3]))
    nothing = Band(*(np.full(60, value) for value in (np.nan, 0.0, np.inf)), ())
    real = optimum.optimum

    def without(law, runs, budgets):
        return (nothing, nothing) if law.label == book.laws[0].label else real(law, runs, budgets)

    monkeypatch.setattr(optimum, "optimum", without)
    with plt.rc_context(STYLE):
        figure = optimum.draw_optimum(table, book)
        text = " ".join(" ".join(text.get_text() for text in words(figure)).split())
        plt.close(figure)
    assert len(figure.axes) == 4 and text.count(next(m.name for m in shown(table, book) if m.law is book.laws[0])) == 1
    monkeypatch.setattr(optimum, "optimum", lambda *_: (nothing, nothing))
    assert "within 10 times of the tried ones" in optimum.draw_optimum(table, book).reason


def test_budgets_have_one_bar_that_names_each(swept):
    with plt.rc_context(STYLE):
        figure = FIGURES["isoflop"](*swept)
        figure.draw_without_rendering()
        (bar,) = [axes for axes in figure.axes if "FLOP" in axes.get_ylabel()]
        names = [label.get_text() for label in bar.get_yticklabels()]
        plt.close(figure)
    assert names[::-1] == ["$10^{13}$", r"$4\times10^{13}$", r"$1.6\times10^{14}$", r"$6.4\times10^{14}$"]


def test_runs_from_elsewhere_can_be_drawn(tmp_path):
    generator = np.random.default_rng(0)
    N, D = np.exp(generator.uniform(15, 20, 60)), np.exp(generator.uniform(20, 24, 60))
    loss = 1.5 + 300 / N**0.33 + 500 / D**0.34
    table = runs_table(pd.DataFrame({"n": N, "d": D, "loss": loss}), Columns(loss="loss", n="n", d="d"))
    book = fit_table(table, Settings(family="chinchilla", bootstraps=40, delta=1e-3))
    drawn = draw_all(table, book, tmp_path)
    missing = {line.split(": ")[1] for line in drawn.left_out}
    assert missing == {"batch", "settings", "profile", "curves", "health", "projection", "scores", "goal"}
    assert {path.stem for path in drawn.files} == set(FIGURES) - missing


def test_labels_are_spread_as_little_as_need_be():
    placed = spread(np.array([0.0, 1.0, 2.0, 50.0]), 10.0)
    assert np.diff(placed).min() >= 10 - 1e-9
    assert placed[3] == 50
    assert placed[:3].mean() == pytest.approx(1.0)
    untouched = np.array([0.0, 20.0, 45.0])
    assert (spread(untouched, 10.0) == untouched).all()


def test_budgets_of_a_sweep_are_found_back():
    budgets = [1e13, 4e13, 1.6e14]
    trials = observations({Full(): LAWS_OF_THE_TESTS[Full()]}, NANO[:3], budgets)
    levels = budget_levels(np.array([observation.flops for observation in trials]))
    assert [level.middle for level in levels] == pytest.approx(budgets, rel=0.02)


def test_methods_that_are_not_shown_are_told(tmp_path):
    table, book = fitted(tmp_path, grid(METHODS))
    assert len(METHODS) == MOST_METHODS + 2
    for name in ("frontier", "residuals"):
        with plt.rc_context(STYLE):
            figure = FIGURES[name](table, book)
            check_words(figure, name)
            text = " ".join(" ".join(text.get_text() for text in words(figure)).split())
            plt.close(figure)
        lowest = table.rows.groupby("method")["loss"].min().sort_values()
        assert len(lowest) == len(METHODS)
        told = f"{text} ".partition("Not shown, with higher losses: ")[2].partition(". ")[0]
        labels = [set(label.split()) for label in lowest.index[MOST_METHODS:]]
        named = [set(name.split()) for name in told.split(", ")]
        assert len(named) == len(labels) and all(any(name <= label for label in labels) for name in named), told
