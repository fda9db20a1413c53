"""The page's planner beside `plan`, without a browser: the same laws, limits and budgets give the same answers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

import planner.answer
from analysis.page import as_json
from analysis.page.planning import planning
from planner import Limits, Plan, plan, report
from planner.law_file import read_laws
from support.known_laws import mean_of_some, method_law, write_laws
from support.node import SCRIPTS, call

RESULTS = Path(__file__).resolve().parents[3] / "results"
LAWS = RESULTS / "reference" / "laws.json"
BUDGETS = [
    f"{10 ** (9 + place * 1.4):.4g}" for place in range(13)
]  # 1e9 to 6e25: far below and far beyond any evidence
HOURS = [f"{10 ** (place - 8):.4g}h" for place in range(13)]
MINUTES = [f"{10 ** (place * 0.4 - 3):.4g}min" for place in range(13)]
ASKED = {
    "nothing": ({}, {}, BUDGETS),
    "limits": ({"max_params": 4e5, "max_dim": 96.0, "memory": 9e6, "min_steps": 7, "max_steps": 1e12}, {}, BUDGETS),
    "data and serving": ({"max_pairs": 2e5, "max_epochs": 6.0, "serve_tokens": 3e7, "max_steps": 1e12}, {}, BUDGETS),
    "other models": ({"max_params": 1.4e9}, {"suite": "pythia", "methods": ["full", "lora"]}, BUDGETS),
    "the paper's count": ({"max_steps": 1e12}, {"flops": "paper"}, BUDGETS),
    "backbones in 4 bits": ({"memory": 9e9, "max_steps": 1e12}, {"hardware": "8xh100", "suite": "qwen3"}, MINUTES),
    "training": ({"max_steps": 1e12}, {"conditions": {"batch_size": 500, "context": 30, "temperature": 0.1}}, BUDGETS),
    "long pairs": ({"max_steps": 1e12}, {"conditions": {"context": 200}, "tokens_per_pair": 300, "lr": 0.1}, BUDGETS),
    "eight chips": ({"max_pairs": 3e6}, {"hardware": "8xh100", "mfu": "0.4", "price": "2.5"}, HOURS),
}
QUICK = ("nothing", "eight chips")
MINIMA = {
    "bottoms": [],
    "line": {
        "budget": 1e12,
        "largest": 1e13,
        "exponent": 0.45,
        "log_params": 13.0,
        "draws": {"exponent": [0.4, 0.45, 0.47], "log_params": [12.9, 13.0, 13.2]},
    },
    "verdict": {
        "decisions": 9,
        "gap": 0.01,
        "error": 0.004,
        "given_away": {"law": 0.02, "isoflop": 0.01},
        "worst": {"law": 0.3, "isoflop": 0.02},
    },
}
PLANS = """(({planning, budgets, limits, asked}) => {
  const books = readBooks(planning);
  const {suite = '', methods = [], flops: count = 'exact', hardware, mfu = '', price = ''} = asked;
  const {conditions = {}, tokens_per_pair = null, lr = null} = asked;
  const training = {conditions, tokens_per_pair, lr};
  const from = {models: planning.models, places: suite ? planning.suites[suite] : null};
  const kind = hardware && planning.machines.h100;
  const machine = hardware ? readMachine('h100', kind, {count: 8, mfu, price}) : null;
  return budgets.map((budget, place) => {
    try {
      const answer = plan(books, {budget, machine, limits, methods, count, ...from, ...training});
      const {ranked, recipeOf, warnings, provenance, refused, facts, evidence} = answer;
      const numbers = ranked.map((_, i) => [recipeOf(i).trial, recipeOf(i)]).map(([trial, one]) =>
        ({...one, trial: [trial.model, trial.method.label, trial.steps, trial.lr]}));
      return {numbers, spent: answer.budget.flops, warnings: warnings.map((one) => [one.code, one.text]),
        screen: {...recipe_rows(answer), ...outlook_rows(answer)}, spends: spent_lines(answer.recipe),
        trains: [recipe_flags(answer), answer.recipe.train_command('a.toml')],
        rows: answer.candidates.map(candidate_row), banner: banner_lines(answer), books: book_lines(answer),
        others: evidence.others, predicted: [predicted_table(answer), recipe_remarks(answer, 'a.toml')],
        provenance, refused, facts, changes: place % 3 ? [] : crossovers(answer.considered, 1e10, 1e16)};
    } catch (error) {
      return {error: error.message};
    }
  });
})(given)"""


@pytest.fixture(scope="module", params=["bundled", "means"])
def laws(request, tmp_path_factory) -> Path:
    """The reference law book, and one whose laws are means of every family, with sizes by isoFLOP minima."""
    if request.param == "bundled":
        return LAWS
    book = read_laws(LAWS)
    means = [
        method_law(mean_of_some(place, fewest=99, level=1 + place / 50), law.settings, seed=place)
        for place, law in enumerate(book.laws)
    ]
    made = [
        replace(law, family=mean.family, law=mean.law, draws=mean.draws, drift=0.02, noise_slope=0.1, isoflop=MINIMA)
        for law, mean in zip(book.laws, means, strict=True)
    ]
    return write_laws(tmp_path_factory.mktemp("means") / "laws.json", replace(book, laws=tuple(made)))


@pytest.fixture(scope="module")
def page_data(laws) -> dict:
    return json.loads(as_json(planning([read_laws(laws)])))


def close(mine, theirs) -> None:
    """Equal, numbers to a billionth; infinities are null in JSON."""
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for name in theirs:
            close(mine[name], theirs[name])
    elif isinstance(theirs, (list, tuple)):
        assert len(mine) == len(theirs)
        for one, two in zip(mine, theirs, strict=True):
            close(one, two)
    elif isinstance(theirs, (int, float)) and not isinstance(theirs, bool):
        assert mine == pytest.approx(theirs, rel=1e-9) or (mine is None and math.isinf(theirs))
    else:
        assert mine == theirs, (mine, theirs)


def content(answer: Plan, place: int) -> dict:
    """What PLANS gives of the page's answer for the budget at that place of its list."""
    recipes = [(recipe, recipe.trial) for recipe in answer.candidates]
    return {
        "numbers": [
            {**asdict(recipe), "trial": [trial.model, trial.method.label, trial.steps, trial.lr]}
            for recipe, trial in recipes
        ],
        "spent": answer.budget.flops,
        "screen": {**report.recipe_rows(answer), **report.outlook_rows(answer)},
        "spends": report.spent_lines(answer.recipe),
        "trains": [report.recipe_flags(answer), answer.recipe.train_command("a.toml")],
        "rows": [list(report.candidate_row(recipe)) for recipe in answer.candidates[:5]],
        "banner": report.banner_lines(answer),
        "books": report.book_lines(answer),
        "others": [asdict(other) for other in answer.evidence.others],
        "predicted": [report.predicted_table(answer), report.recipe_remarks(answer, "a.toml")],
        "warnings": [[warning.code, warning.text] for warning in answer.warnings],
        "provenance": answer.provenance,
        "refused": [asdict(refusal) for refusal in answer.refused],
        "facts": [asdict(fact) for fact in answer.facts],
        "changes": [] if place % 3 else [asdict(crossover) for crossover in answer.crossovers],  # half of all the time
    }


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ASKED]
)
def test_the_page_plans_as_the_planner_does(node, laws, page_data, name, monkeypatch, tmp_path):
    limits, asked, budgets = ASKED[name]
    given = {"planning": page_data, "budgets": budgets, "limits": limits, "asked": asked}
    same_as_planner(node, given, [laws], monkeypatch, tmp_path / "all.mjs")


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"methods": ["bias"]},
        pytest.param({"suite": "qwen3", "conditions": {"batch_size": 64}}, marks=pytest.mark.slow),
    ],
)
def test_the_nearest_of_two_law_books_answers_as_in_plan(node, asked, monkeypatch, tmp_path):
    books = [LAWS, RESULTS / "ziarko2024" / "laws.json"]
    data = json.loads(as_json(planning([read_laws(path) for path in books])))
    given = {"planning": data, "budgets": BUDGETS, "limits": {}, "asked": asked}
    same_as_planner(node, given, books, monkeypatch, tmp_path / "all.mjs", least=3)


def same_as_planner(node, given, laws, monkeypatch, script, least=4) -> None:
    """The page's answers, and its errors, are those of `plan`."""
    budgets, limits, asked = given["budgets"], given["limits"], given["asked"]
    words = "banner_lines, book_lines, candidate_row, crossovers, outlook_rows, predicted_table, recipe_remarks"
    words += ", recipe_rows, spent_lines, recipe_flags"
    names = {"plan": "plan", "book": "readBooks, readMachine", "generated": words}
    folder = (SCRIPTS / "planner").as_uri()
    script.write_text("\n".join(f"export {{{what}}} from '{folder}/{file}.js';" for file, what in names.items()))
    bound = f"(({{plan, readBooks, readMachine, {words}}}) => {PLANS})(all)"
    monkeypatch.setattr(planner.answer, "searched_budgets", lambda *_: (1e10, 1e16))
    answers = call(node, script, bound, given)
    answered = [mine for mine in answers if "error" not in mine]
    assert len(answered) >= least
    for place, (budget, mine) in enumerate(zip(budgets, answers, strict=True)):
        asks = partial(plan, budget, laws=laws, limits=Limits(**limits), top=1000, **asked)
        if mine in answered:
            close(mine, content(asks(), place))
        else:
            with pytest.raises(ValueError, match=rf"^{re.escape(mine['error'])}$"):
                asks()


ENDS = """(({budgetsWithAnswer, plan, readBooks}) => {
  const {planning, limits} = given;
  const books = readBooks(planning);
  const question = {machine: null, limits, methods: [], models: planning.models, places: null,
    count: 'exact', conditions: {}, tokens_per_pair: null, lr: null};
  const ends = budgetsWithAnswer(books, question, 'flops');
  const answers = (budget) => {
    try {
      plan(books, {...question, budget: String(budget)});
      return true;
    } catch {
      return false;
    }
  };
  const tried = ends && [ends[0] / 1.05, ends[0] * 1.01, ends[1] / 1.01, ends[1] * 1.05];
  return tried && tried.map(answers);
})(all)"""


@pytest.mark.parametrize("names", [["reference"], ["ziarko2024"], ["reference", "ziarko2024"]])
@pytest.mark.parametrize("limits", [{}, {"min_steps": 500, "max_steps": 3000}, {"max_params": 2e8}])
def test_budgets_between_the_ends_have_answers_and_those_outside_have_none(node, tmp_path, names, limits):
    script = tmp_path / "all.mjs"
    folder = (SCRIPTS / "planner").as_uri()
    script.write_text(
        f"export {{budgetsWithAnswer, plan}} from '{folder}/plan.js';\nexport {{readBooks}} from '{folder}/book.js';"
    )
    data = json.loads(as_json(planning([read_laws(RESULTS / name / "laws.json") for name in names])))
    given = {"planning": data, "limits": limits}
    assert call(node, script, ENDS, given) == [False, True, True, False]
    assert call(node, script, ENDS, {**given, "limits": {"max_params": 1.0}}) is None
