"""Sizes by isoFLOP minima: told where they chose better than the law, followed where that is beyond doubt."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from planner import Limits, plan
from planner.report import explanation, text
from planner.size_plan import plan_sizes
from planner.size_report import text as size_text
from planner.size_rules import BEYOND, FEWEST, FOLLOWED
from support.known_laws import EVERYWHERE, FULL, LORA, PAIR, law_book, method_law
from support.ladder import NANO
from sweeps.models import find_model

BUDGET = 1e13


def book(params: float, exponent=0.5, at=BUDGET, largest=1e13, spread=0.02, worst=1.0, **told):
    """A law book whose isoFLOP minima put the best size of both methods at `params` for the budget `at`."""
    draws = [0.1 * place / 20 - 0.05 for place in range(21)]
    line = {
        "budget": at,
        "largest": largest,
        "exponent": exponent,
        "log_params": math.log(params),
        "draws": {
            "exponent": [exponent] * len(draws),
            "log_params": [math.log(params) + 20 * spread * draw for draw in draws],
        },
    }
    shares = {"given_away": {"law": 0.025, "isoflop": 0.005}, "worst": {"law": worst, "isoflop": 0.01}}
    verdict = {"decisions": 12, "gap": 0.02, "error": 0.004, **shares, **told}
    laws = (method_law(FULL, {"name": "full"}), method_law(LORA, {"name": "lora", "rank": 8, "alpha": 8.0}, seed=1))
    return law_book(
        *(replace(law, measured=EVERYWHERE, isoflop={"line": line, "verdict": verdict, "bottoms": []}) for law in laws)
    )


def by_law() -> str:
    return plan(BUDGET, laws=law_book(), methods=["full"]).recipe.trial.model


def other_size() -> float:
    """N of a model that the budget trains and that the law would not choose."""
    return next(model.params for model in NANO if model.name not in (by_law(), NANO[-1].name) and model.params > 1e5)


def test_minima_that_chose_better_beyond_doubt_choose_the_size():
    wanted = other_size()
    answer = plan(BUDGET, laws=book(1.1 * wanted), methods=["full"])
    assert answer.recipe.params == wanted
    size = answer.size
    assert size.chooses and size.law_model == by_law() and size.model == answer.recipe.trial.model
    assert size.low < size.params < size.high and size.params == pytest.approx(1.1 * wanted, rel=0.01)
    assert "size by isoFLOP minima" in " ".join(text(answer).split())
    assert f"the law would choose {by_law()}" in " ".join(text(answer).split())
    assert "isoFLOP minima" in explanation(answer)
    told = answer.to_json()["size_rule"]
    assert told["chooses"] and told["model"] == answer.recipe.trial.model and told["law_model"] == by_law()
    assert [warning.code for warning in answer.warnings].count("size-rule") == 1
    models = [(recipe.trial.model, recipe.trial.method.label) for recipe in answer.candidates]
    assert len(models) == len(set(models)) and models[1][0] == by_law()


def test_the_method_stays_that_of_the_law():
    free = plan(BUDGET, laws=book(other_size()))
    assert free.recipe.trial.method == plan(BUDGET, laws=law_book()).recipe.trial.method


def test_the_size_follows_the_budget_along_the_line():
    wanted = other_size()
    line = book(wanted, exponent=0.5)
    for factor in (1.0, 4.0):
        found = plan(factor * BUDGET, laws=line, methods=["full"]).size
        assert found.params == pytest.approx(wanted * factor**0.5, rel=0.01)


@pytest.mark.parametrize(
    ("told", "options", "words"),
    [
        ({"gap": 0.02, "error": 0.02 / FOLLOWED * 1.1}, {}, "less than 2 standard errors"),
        ({"largest": BUDGET / BEYOND / 2}, {}, "20 times beyond the largest minimum"),
        ({"spread": 1.0}, {}, "is too wide"),
        ({"worst": 0.001}, {}, "its own was never above 0.1 %"),
        ({}, {"models": ["pythia-14m"]}, "pythia was not measured"),
        ({}, {"limits": Limits(max_pairs=4000)}, "the number of pairs, not the budget, ends the training"),
    ],
)
def test_where_there_is_doubt_the_law_chooses_and_both_sizes_are_told(told, options, words):
    answer = plan(BUDGET, laws=book(other_size(), **told), methods=["full"], **options)
    assert words in answer.size.doubt and not answer.size.chooses
    assert answer.recipe.trial.model == answer.size.law_model
    assert answer.to_json()["size_rule"]["doubt"] == answer.size.doubt
    if answer.size.model != answer.size.law_model:
        assert words in " ".join(explanation(answer).split())
        assert any(warning.code == "size-rule" and words in warning.text for warning in answer.warnings)


@pytest.mark.parametrize(
    "told", [{"decisions": FEWEST - 1}, {"gap": 0.003, "error": 0.004}, {"gap": -0.02, "error": 0.001}]
)
def test_minima_that_did_not_choose_better_are_not_heard(told):
    answer = plan(BUDGET, laws=book(other_size(), **told), methods=["full"])
    assert answer.size is None and answer.to_json()["size_rule"] is None
    assert answer.recipe.trial.model == by_law()


def test_books_without_minima_answer_as_before():
    answer = plan(BUDGET, laws=law_book())
    assert answer.size is None and find_model(answer.recipe.trial.model).params == answer.recipe.params
    assert PAIR.batch_size == answer.recipe.trial.training.batch_size


def test_where_both_rules_agree_nothing_is_to_be_minded():
    same = find_model(by_law()).params
    answer = plan(BUDGET, laws=book(same), methods=["full"])
    assert answer.size.chooses and answer.size.model == answer.size.law_model == answer.recipe.trial.model
    assert "size-rule" not in [warning.code for warning in answer.warnings]
    assert "the law agrees" in text(answer)


def test_the_curve_follows_the_same_rule():
    wanted = other_size()
    answer = plan(BUDGET, laws=book(wanted, exponent=0.0), methods=["full"], curve=(BUDGET / 2, BUDGET * 2))
    assert {recipe.params for _, recipe in answer.curve} == {wanted}


def table_laws(params: float, **told):
    """A law book of somebody's table of runs: no conditions, no models."""
    known = book(params, **told)
    return replace(known, training=None, pair=None, models=(), laws=known.laws[:1])


def test_laws_of_a_table_take_the_size_of_the_minima_itself():
    asked, wanted = 1e13, 3e5
    law = plan_sizes(asked, table_laws(wanted, decisions=0))
    answer = plan_sizes(asked, table_laws(wanted))
    first = answer.answers[0]
    assert first.point.params == pytest.approx(wanted, rel=0.01) != law.answers[0].point.params
    assert first.params_interval == (answer.size.low, answer.size.high)
    assert first.point.tokens == pytest.approx(asked / (6 * first.point.params))
    assert law.size is None and law.to_json()["size_rule"] is None
    assert answer.to_json()["size_rule"]["chooses"]
    said = " ".join(size_text(answer).split())
    assert (
        "size by isoFLOP minima, N 300 k" in said and said.count("extrapolated isoFLOP minima had a mean regret") == 1
    )


def test_laws_of_a_table_name_both_sizes_where_there_is_doubt():
    doubtful = plan_sizes(1e13, table_laws(3e5, gap=0.02, error=0.015))
    assert "less than 2 standard errors" in doubtful.size.doubt
    assert doubtful.answers[0].point.params != pytest.approx(3e5, rel=0.01)
    assert "they would choose N 300 k" in " ".join(size_text(doubtful).split())
    against = plan_sizes(1e13, table_laws(3e5, worst=1e-4))
    assert "never above 0.01 %" in against.size.doubt
    limited = plan_sizes(1e13, table_laws(3e5), max_params=1e5)
    assert "over the limit" in limited.size.doubt and limited.answers[0].point.params <= 1e5


def test_of_a_suite_the_nearest_model_is_taken():
    wanted = other_size()
    answer = plan_sizes(1e13, table_laws(1.05 * wanted), suite="nano")
    assert answer.answers[0].model == answer.size.model
    assert answer.answers[0].point.params == wanted
    assert len({each.model for each in answer.answers}) == len(answer.answers)
