"""Runs of several batch sizes share one fit where a form brings them together, and say where none does."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from analysis import fit_laws
from analysis.batch_report import batch_text
from analysis.fitting.batch_forms import Apart, judged
from analysis.fitting.batch_shape import BATCH_FORMS, BatchShape, NegativesShape
from analysis.fitting.forms import SHAPES
from analysis.fitting.problem import Problem
from analysis.fitting.solver import starts
from analysis.tables.sweep_table import read_sweep
from planner.batch_law import TERMS, TwoSided
from support.batch_sweeps import SIZES, TRUTHS, batch_observations, noisy
from support.made_sweep import write_sweep
from sweeps.methods import Full


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("batch"), batch_observations())


@pytest.fixture(scope="module")
def book(sweep):
    return fit_laws(sweep, bootstraps=100)


@pytest.mark.parametrize("family", ["chinchilla", "rectified", "joined"])
@pytest.mark.parametrize("name", [*BATCH_FORMS, "negatives"])
def test_slopes_by_every_parameter_are_those_of_the_loss(sweep, family, name):
    rows = read_sweep(sweep).of(["full"])
    shape = NegativesShape(SHAPES[family]) if name == "negatives" else BatchShape(SHAPES[family], name)
    problem = Problem(shape, rows)
    theta = starts(problem, np.ones((1, len(rows))), 0.03)[0, :1]
    _, slopes = problem.slopes(theta)
    for j in range(problem.size):
        step = np.zeros_like(theta)
        step[0, j] = 1e-6
        rise = (problem.predict(theta + step) - problem.predict(theta - step)) / 2e-6
        assert slopes[0, :, j] == pytest.approx(rise[0], abs=2e-5)


def test_a_plan_can_use_every_form_but_the_rivals(sweep):
    rows = read_sweep(sweep).of(["full"])
    for name in BATCH_FORMS:
        problem = Problem(BatchShape(SHAPES["chinchilla"], name), rows)
        theta = starts(problem, np.ones((1, len(rows))), 0.03)[0, :1]
        known = problem.batch_terms(theta)
        assert set(known) == ({item.name for item in fields(TERMS[name])} if name in TERMS else set())
    assert set(TERMS) < set(BATCH_FORMS)


@pytest.mark.slow
def test_the_best_batch_size_and_the_law_at_it_are_found_again(book):
    assert book.source["batch_sizes"] == list(SIZES)
    assert book.training.batch_size == 64
    for law in book.laws:
        truth, term = TRUTHS[law.method]
        for tokens in (5e5, 5e6, 5e7):
            low, high = law.batch.interval(tokens)
            assert low / 1.3 < term.best(tokens) < high * 1.3
        assert law.law.loss(3e5, 3e6) == pytest.approx(truth.loss(3e5, 3e6), rel=0.02)
        assert len(law.batch.draws) == len(law.draws)


@pytest.mark.slow
def test_fit_says_over_which_sizes_and_how_rivals_did(book):
    said = batch_text(book.laws)
    assert "measured at 8, 24, 64, 192, 512 pairs" in said
    assert "critical" in said and "steps" in said and "negatives" in said
    tried = book.laws[0].batch.backtest["tried"]
    assert tried["balanced"]["error"] < tried["critical"]["error"] < tried["ignored"]["error"] < tried["steps"]["error"]


def test_the_form_is_the_one_that_made_the_losses(tmp_path):
    law = TRUTHS[Full()][0]
    truths = {Full(): (law, TwoSided(k=0.02, q=0.55, s=20.0))}
    folder = write_sweep(tmp_path, batch_observations(truths, noise=0.002))
    assert judged(read_sweep(folder).of(["full"]), 0.01)["chosen"] == "two-sided"


@pytest.mark.slow
def test_sizes_that_no_form_brings_together_are_kept_apart_with_the_reason(tmp_path):
    odd = [noisy(each, 0.15 if each.trial.training.batch_size == 64 else 0.0) for each in batch_observations()]
    folder = write_sweep(tmp_path, odd)
    with pytest.raises(Apart, match=r"batch sizes 8, 24, 64, 192, 512 do not share a law: full: .* in ln B"):
        fit_laws(folder, bootstraps=20)


def test_other_conditions_still_need_a_law_each(tmp_path):
    trials = batch_observations()
    other = replace(trials[0].trial.training, temperature=0.02)
    trials[0] = replace(trials[0], trial=replace(trials[0].trial, training=other))
    with pytest.raises(ValueError, match=r"training\.batch_size|training\.temperature"):
        fit_laws(write_sweep(tmp_path, trials))


def test_one_batch_size_has_no_batch_law(tmp_path):
    folder = write_sweep(tmp_path, batch_observations(sizes=(64,)))
    book = fit_laws(folder, bootstraps=20)
    assert all(law.batch is None for law in book.laws)
    assert book.to_json()["format"] == 2
    assert batch_text(book.laws) == ""
