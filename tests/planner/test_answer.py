"""What a plan shows of itself in Python: a line, a table, a data frame, a picture."""

from __future__ import annotations

import re

import matplotlib
import pytest

from planner import Plan, plan

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def answer() -> Plan:
    return plan(1e13)


def test_a_plan_is_a_short_line_that_names_the_answer_and_its_laws(answer):
    recipe = answer.recipe
    assert len(repr(answer)) < 300 and len(repr(recipe)) < 200
    for part in (recipe.trial.model, recipe.trial.method.label, f"{recipe.trial.steps:,}", answer.laws.name):
        assert part in repr(answer)


def test_a_frame_has_a_row_for_each_candidate_the_answer_first(answer):
    frame = answer.to_frame()
    assert list(frame["model"]) == [recipe.trial.model for recipe in answer.candidates]
    assert (frame["low"] < frame["loss"]).all() and (frame["loss"] < frame["high"]).all()
    assert frame.loc[0, "lr"] == answer.recipe.trial.lr and frame.loc[0, "tokens"] == answer.recipe.tokens
    assert len(answer.recipe.to_frame()) == 1


def test_a_notebook_shows_a_table_of_the_candidates_and_the_warnings(answer):
    shown = answer._repr_html_()
    assert len(re.findall("<tr>", shown)) == 1 + len(answer.candidates)
    assert answer.recipe.trial.model in shown and "Note: " in shown
    assert len(re.findall("<tr>", answer.recipe._repr_html_())) == 2


def test_a_picture_has_the_intervals_of_all_candidates(answer):
    axes = answer.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"{recipe.trial.model}, {recipe.trial.method.label}" for recipe in answer.candidates
    ]
    assert axes.get_xlabel() == "held-out loss, nats per pair (90 % prediction interval)"
    assert answer.plot(axes) is axes


def test_where_no_loss_is_predicted_everything_but_the_picture_is_shown():
    far = plan(1e17, laws="reference", conditions={"batch_size": 4096})
    assert far.recipe.loss is None
    assert "no loss predicted" in repr(far) and far.recipe.trial.model in far._repr_html_()
    with pytest.raises(ValueError, match="no loss is predicted"):
        far.plot()


def test_the_trial_of_a_plan_names_what_is_found_from_here(answer):
    assert answer.trial == answer.recipe.trial  # "python-env" and nano lie in no folder
