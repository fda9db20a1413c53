"""The page's planner beside `plan`, without a browser: the same laws, limits and budgets give the same answers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

import planner.answer
from analysis.page import as_json
from analysis.page.planning import planning
from planner import Limits, Plan, plan
from planner.law_book import read_laws
from support.node import SCRIPTS, call

LAWS = Path(__file__).resolve().parents[3] / "results" / "reference" / "laws.json"
BUDGETS = [
    f"{10 ** (9 + place * 0.7):.4g}" for place in range(26)
]  # 1e9 to 3e26: far below and far beyond any evidence
HOURS = [f"{10 ** (place * 0.5 - 8):.4g}h" for place in range(26)]
MINUTES = [f"{10 ** (place * 0.2 - 3):.4g}min" for place in range(26)]
ASKED = {
    "nothing": ({}, {}, BUDGETS),
    "limits": ({"max_params": 4e5, "max_dim": 96.0, "memory": 9e6, "min_steps": 7, "max_steps": 1e12}, {}, BUDGETS),
    "data and serving": ({"max_pairs": 2e5, "max_epochs": 6.0, "serve_tokens": 3e7, "max_steps": 1e12}, {}, BUDGETS),
    "other models": ({"max_params": 1.4e9}, {"suite": "pythia", "methods": ["full", "lora"]}, BUDGETS),
    "the paper's count": ({"max_steps": 1e12}, {"flops": "paper"}, BUDGETS),
    "backbones in 4 bits": ({"memory": 9e9, "max_steps": 1e12}, {"hardware": "8xh100", "suite": "qwen3"}, MINUTES),
    "eight chips": ({"max_pairs": 3e6}, {"hardware": "8xh100", "mfu": "0.4", "price": "2.5"}, HOURS),
}
PLANS = """(({planning, budgets, limits, asked}) => {
  const book = readBook(planning);
  const {suite = '', methods = [], flops: count = 'exact', hardware, mfu = '', price = ''} = asked;
  const models = planning.suites[suite].map((place) => planning.models[place]);
  const kind = hardware && planning.machines.h100;
  const machine = hardware ? readMachine('h100', kind, {count: 8, mfu, price}) : null;
  return budgets.map((budget) => {
    try {
      const answer = plan(book, {budget, machine, limits, methods, models, count});
      const {fits, recipe, warnings, provenance, refused, facts} = answer;
      const numbers = fits.map((_, i) => [recipe(i).trial, recipe(i)]).map(([trial, one]) =>
        ({...one, trial: [trial.model, trial.method.label, trial.steps, trial.lr]}));
      return {numbers, spent: answer.budget.flops, warnings: warnings.map((one) => [one.code, one.text]),
        provenance, refused, facts, changes: crossovers(answer.considered, 1e10, 1e16)};
    } catch (error) {
      return {error: error.message};
    }
  });
})(given)"""


@pytest.fixture(scope="module")
def page_data() -> dict:
    return json.loads(as_json(planning(read_laws(LAWS))))


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


def content(answer: Plan) -> dict:
    """What PLANS gives of the page's answer."""
    recipes = [(recipe, recipe.trial) for recipe in answer.candidates]
    return {
        "numbers": [
            {**asdict(recipe), "trial": [trial.model, trial.method.label, trial.steps, trial.lr]}
            for recipe, trial in recipes
        ],
        "spent": answer.budget.flops,
        "warnings": [[warning.code, warning.text] for warning in answer.warnings],
        "provenance": answer.provenance,
        "refused": [asdict(refusal) for refusal in answer.refused],
        "facts": [asdict(fact) for fact in answer.facts],
        "changes": [asdict(crossover) for crossover in answer.crossovers],
    }


@pytest.mark.parametrize("name", ASKED)
def test_the_page_plans_as_the_planner_does(node, page_data, name, monkeypatch, tmp_path):
    limits, asked, budgets = ASKED[name]
    script = tmp_path / "all.mjs"
    names = {"plan": "plan", "book": "readBook, readMachine", "generated": "crossovers"}
    folder = (SCRIPTS / "planner").as_uri()
    script.write_text("\n".join(f"export {{{what}}} from '{folder}/{file}.js';" for file, what in names.items()))
    given = {"planning": page_data, "budgets": budgets, "limits": limits, "asked": asked}
    bound = "(({plan, readBook, readMachine, crossovers}) => " + PLANS + ")(all)"
    monkeypatch.setattr(planner.answer, "searched_budgets", lambda *_: (1e10, 1e16))
    answers = call(node, script, bound, given)
    answered = [mine for mine in answers if "error" not in mine]
    assert len(answered) >= 8
    for budget, mine in zip(budgets, answers, strict=True):
        asks = partial(plan, budget, laws=LAWS, limits=Limits(**limits), top=1000, **asked)
        if mine in answered:
            close(mine, content(asks()))
        else:
            with pytest.raises(ValueError, match=rf"^{re.escape(mine['error'])}$"):
                asks()
