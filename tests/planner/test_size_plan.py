"""`plan` on laws of somebody's table: size and tokens, of a suite or of any size, and what is not known is said."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import planner
from planner.cli import main
from planner.law_book import LawBook, MeasuredRange, MethodLaw
from planner.laws import Chinchilla, Law, Power
from planner.size_plan import UNKNOWN, plan_sizes
from planner.sizes import ONE_SIZE, costs_of, optimum
from sweeps.models import SUITES
from sweeps.support.checksum import sealed

LAW = Chinchilla(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28)
RANGE = MeasuredRange(flops=(1e18, 1e22), params=(5e7, 2e10), tokens=(1e8, 1e12))


def method_law(law: Law, name: str = "all", family: str = "chinchilla") -> MethodLaw:
    draws = tuple(type(law)(**{**law.coefficients, "A": law.coefficients["A"] * (0.95 + i / 400)}) for i in range(40))
    return MethodLaw({"name": name}, family, law, {}, draws, 0.01, 50, RANGE)


def table_book(*laws: MethodLaw, **source: object) -> LawBook:
    return LawBook(laws or (method_law(LAW),), RANGE, source={"name": "runs.csv", "observations": 50, **source})


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "table-laws.json"
    path.write_text(sealed(table_book().to_json()))
    return path


def test_without_a_suite_the_answer_is_the_best_of_any_size(file, capsys):
    assert main(["--budget", "1e21", "--laws", str(file), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    ratio = (LAW.alpha * LAW.A / (LAW.beta * LAW.B)) ** (1 / (LAW.alpha + LAW.beta))
    best = ratio * (1e21 / 6) ** (LAW.beta / (LAW.alpha + LAW.beta))
    answer = content["answer"]
    assert answer["params"] == pytest.approx(best, rel=1e-5)
    assert answer["tokens"] == pytest.approx(1e21 / 6 / best, rel=1e-5)
    assert answer["loss"] == pytest.approx(LAW.loss(best, 1e21 / 6 / best))
    assert answer["interval"][0] < answer["loss"] < answer["interval"][1]
    assert answer["params_interval"][0] < best < answer["params_interval"][1]
    assert (content["format"], content["kind"], content["recipe"]) == (2, "size", None)
    assert set(content["unknown"]) == set(UNKNOWN) and content["laws"]["source"] == "runs.csv"
    assert answer["model"] is None and answer["best_probability"] is None


def test_of_a_suite_the_models_compete(file, capsys):
    assert main(["--budget", "1e21", "--laws", str(file), "--suite", "pythia", "--json", "--top", "20"]) == 0
    content = json.loads(capsys.readouterr().out)
    sizes = {model.name: model.params for model in SUITES["pythia"]}
    by_law = min(sizes, key=lambda name: LAW.loss(sizes[name], 1e21 / 6 / sizes[name]))
    assert content["answer"]["model"] == by_law and content["answer"]["params"] == sizes[by_law]
    assert len(content["candidates"]) + len(content["refused"]) == len(sizes)
    assert sum(each["best_probability"] for each in content["candidates"]) == pytest.approx(1)
    shares = [each["expected_regret_share"] for each in content["candidates"]]
    assert shares == sorted(shares)


def test_a_model_too_far_away_for_a_loss_comes_before_no_better_one():
    answers = plan_sizes(1e22, table_book(), suite="pythia", top=20).answers
    by_law = min(answers, key=lambda answer: answer.point.loss)
    assert answers[0] == by_law and not by_law.far
    assert any(answer.far for answer in answers)


def test_text_says_size_tokens_loss_and_what_is_not_known(file, capsys):
    assert main(["--budget", "1e21", "--laws", str(file), "--suite", "pythia"]) == 0
    text = capsys.readouterr().out
    for words in (
        "pythia-",
        "tokens    D = ",
        "90 % prediction interval",
        "runs.csv: 50 runs",
        "C = 6 N D",
        "regret",
    ):
        assert words in text
    flat = " ".join(text.split())
    assert "learning rate, batch size, time, memory, recipe: a table of runs does not contain them" in flat
    assert max(map(len, text.splitlines())) <= 100


def test_several_methods_are_compared(capsys):
    book = table_book(method_law(LAW, "adam"), method_law(replace(LAW, E=1.75), "sgd"))
    answer = plan_sizes(1e21, book)
    assert [each.point.method for each in answer.answers] == ["adam", "sgd"]
    assert answer.answers[0].best is not None and answer.answers[0].best > 0.9
    assert [each.point.method for each in plan_sizes(1e21, book, methods=["sgd"]).answers] == ["sgd"]
    with pytest.raises(ValueError, match="`methods` has 'lion'; the laws of runs"):
        plan_sizes(1e21, book, methods=["lion"])


def test_the_largest_allowed_size_is_taken_where_the_best_is_larger():
    answer = plan_sizes(1e21, table_book(), max_params=1e9).answers[0]
    assert answer.point.params == 1e9 and answer.point.tokens == pytest.approx(1e21 / 6e9)
    models = plan_sizes(1e21, table_book(), suite="pythia", max_params=1e9)
    assert all(each.point.params is not None and each.point.params <= 1e9 for each in models.answers)
    assert any("over the limit" in each.reason for each in models.refused)


def test_too_far_away_no_loss_is_told():
    plan = plan_sizes(1e27, table_book())
    content = plan.to_json()
    assert content["answer"]["loss"] is None and content["answer"]["interval"] is None
    assert content["warnings"][0]["code"] == "too-far"
    assert plan_sizes(1e23, table_book()).to_json()["warnings"][0]["code"] == "extrapolated"
    assert plan_sizes(1e21, table_book()).warnings == ()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["--hardware", "h100"],
            "--hardware: the laws of runs.csv come from a table of runs and give size and tokens only",
        ),
        (["--out", "recipe.toml"], "--out: the laws of runs.csv come from a table of runs"),
        (["--pairs", "5M"], "--pairs: the laws of runs.csv"),
        (["--suite", "nowhere"], "--suite is 'nowhere'; known: nano"),
        (["--methods", "lora"], "--methods has 'lora'; the laws of runs.csv know only all"),
        (["--top", "0"], "--top is '0'"),
        (["--max-params", "many"], "--max-params is 'many'"),
    ],
)
def test_what_such_laws_cannot_be_asked_is_refused(file, capsys, argv, words):
    assert main(["--budget", "1e21", "--laws", str(file), *argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("plan: error: ") and words in error and error.count("\n") == 1


@pytest.mark.parametrize("budget", ["24h", "$500", "30min", "much"])
def test_a_budget_is_flop_alone(file, capsys, budget):
    assert main(["--budget", budget, "--laws", str(file)]) == 2
    assert f"--budget is {budget!r}" in capsys.readouterr().err


def test_laws_that_choose_no_size_say_so():
    with pytest.raises(ValueError, match="laws in C alone cannot choose a size"):
        plan_sizes(1e21, table_book(variables=["C"]))
    with pytest.raises(ValueError, match="any size with all: by the law larger models are always better"):
        plan_sizes(1e21, table_book(method_law(Power(A=9.0, alpha=0.2, beta=0.1), family="power")))
    one = replace(method_law(LAW), measured=replace(RANGE, params=(1e8, 1e8)))
    with pytest.raises(ValueError, match="all runs have one size, so their laws cannot choose another"):
        plan_sizes(1e21, table_book(one))
    assert optimum(one, 1e21, costs_of(table_book(one))["all"]).reason == ONE_SIZE
    refused = plan_sizes(1e21, table_book(method_law(LAW, "adam"), one)).refused
    assert [(each.method, each.reason) for each in refused] == [("all", ONE_SIZE)]
    with pytest.raises(ValueError, match="no size fits a budget of 1e"):
        plan_sizes(1e9, table_book(), suite="pythia")


def test_beside_other_books_and_for_a_recipe_such_laws_are_refused(file, capsys):
    assert main(["--budget", "1e21", "--laws", str(file), "--laws", "reference"]) == 2
    assert "without the training conditions that a recipe needs; such laws alone answer with size and tokens" in (
        capsys.readouterr().err
    )
    assert planner.plan_sizes is plan_sizes
    assert math.isfinite(plan_sizes("1e21", file).answers[0].point.loss)


def test_a_plan_of_sizes_shows_itself_in_a_line_a_table_and_a_frame():
    answer = plan_sizes(1e21, table_book(), suite="pythia", top=3)
    assert len(repr(answer)) < 400 and "runs.csv" in repr(answer) and answer.answers[0].model in repr(answer)
    frame = answer.to_frame()
    assert list(frame["model"]) == [each.model for each in answer.answers] and (frame["low"] < frame["loss"]).all()
    assert answer._repr_html_().count("<tr>") == 4
