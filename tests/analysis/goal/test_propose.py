"""From a sweep file with a goal to a round: a function of the file, the data and the losses."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest

from analysis.goal.propose import Question, main, proposed_round
from support.toy_sweeps import DATA
from sweeps.experiment.sweep_file import read_sweep
from sweeps.trial import Trial

FILE = """
models = ["nano-25k", "nano-100k"]
[goal]
{goal}
[training]
data = "python-env"
batch_size = 24
warmup_steps = 10
[[methods]]
name = "full"
[[methods]]
name = "lora"
rank = 8
models = ["nano-25k"]
{rates}
"""


@pytest.fixture
def ask(tmp_path):
    def asked(goal='budget = "1e13"\nspend = "10%"', rates="") -> Question:
        path = tmp_path / "goal.toml"
        path.write_text(FILE.format(goal=goal, rates=rates))
        sweep = read_sweep(path)
        return Question(sweep, sweep.goal, DATA)

    return asked


def test_a_round_names_trials_that_the_sweep_can_have(ask):
    goal = 'budget = "1e13"\nspend = "10%"\nlaws = "ziarko2024"'
    question = ask(goal)
    now = proposed_round(question, [])
    assert now.proposed and not now.stop and now.recipe is None
    assert now.laws == "ziarko2024" and now.limit == 1e12 and now.cost <= now.limit
    assert {each.model for each in now.proposed} <= {"nano-25k", "nano-100k"}
    assert not any(each.method.startswith("lora") and each.model == "nano-100k" for each in now.proposed)
    tried = [{**vars(each), "loss": 2.5} for each in now.proposed]
    later = proposed_round(question, tried)
    assert later == proposed_round(ask(goal), tried)
    assert later.spent == pytest.approx(now.cost)


def test_rates_are_those_of_the_file_else_of_the_laws(ask):
    pursuit = ask().pursuit
    known = {(pursuit.pairs[i].model.name, pursuit.pairs[i].method.name): rate for i, rate in pursuit.rates.items()}
    assert known[("nano-25k", "full")] == 0.003 and known[("nano-25k", "lora")] == 0.01  # as the laws measured
    given = ask(rates="lr = 0.5").pursuit
    assert 0.5 in given.rates.values()
    unknown = ask('budget = "1e13"\nspend = "10%"\nlaws = "ziarko2024"', "lr_search = [1e-3, 1e-2]").pursuit
    lora = next(i for i, pair in enumerate(unknown.pairs) if pair.method.name == "lora")
    assert not unknown.rates and unknown.searched[lora] == (1e-3, 1e-2)
    assert len(unknown.searched[0]) == 3  # around what those laws would take


def test_the_end_comes_with_a_recipe(ask):
    now = proposed_round(ask('budget = "1e13"\nspend = "10%"\nregret = 100'), [])
    assert "regret fell" in now.stop and not now.proposed
    trial = Trial.from_json(now.recipe)
    assert trial.model == now.contenders[0].model and trial.method.label == now.contenders[0].method
    assert trial.budget == 1e13 and trial.lr in (0.003, 0.01)


def test_budgets_of_time_and_money_are_those_of_the_hardware(ask):
    hours, dollars = (ask(f'budget = "{text}"\nhardware = "h100"\nprice = 3600') for text in ("2s", "$2"))
    assert hours.budget.flops == pytest.approx(dollars.budget.flops)
    assert hours.limit == pytest.approx(0.02 * hours.budget.flops)


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ('budget = "0"', "^`budget` is '0'"),
        ('budget = "1e13"\nhardware = "8xnosuch"', "^`hardware` is '8xnosuch'"),
        ('budget = "24h"', "needs `hardware`"),
        ('budget = "much"', "`budget` is 'much'"),
        ('budget = "1e13"\nspend = "200%"', "`spend` is '200%'"),
        ('budget = "1e13"\nspend = "1e14"', "not less than the budget"),
        ('budget = "1e13"\nspend = "1e9"', "the smallest trial takes"),
        ('budget = "1e9"\nspend = "10%"', "no model with any method"),
        ('budget = "1e13"\nlaws = "nowhere"', "`laws` is 'nowhere'"),
    ],
)
def test_a_goal_that_cannot_be_pursued_is_refused(ask, goal, said):
    with pytest.raises(ValueError, match=said):
        proposed_round(ask(goal), [])


def test_what_is_refused_is_said_as_the_file_names_it(ask, tmp_path, monkeypatch, capsys):
    ask('budget = "24h"\nspend = "200%"')
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"data": DATA.to_json(), "tried": []})))
    assert main([str(tmp_path / "goal.toml")]) == 0
    (said,) = json.loads(capsys.readouterr().out).values()
    assert said.startswith("goal.budget is '24h': time needs goal.hardware")


def test_pairs_that_end_before_the_budget_are_said(ask):
    few = replace(ask(), data=replace(DATA, train_pairs=24 * 500))
    (said,) = [remark for remark in proposed_round(few, []).remarks if "pairs are the limit" in remark]
    assert "500 steps, which are max_epochs = 1" in said
    assert not [
        remark for remark in proposed_round(ask('budget = "1e11"\nspend = "50%"'), []).remarks if "limit" in remark
    ]


def test_what_is_no_place_any_more_is_said(ask):
    question = ask()
    now = proposed_round(question, [])
    gone = {
        "model": "nano-7k",
        "method": "full",
        "budget": 1e11,
        "lr": 1e-3,
        "seed": 0,
        "purpose": "train",
        "loss": 2.0,
    }
    later = proposed_round(question, [gone])
    assert any("do not belong to the present sweep file" in remark for remark in later.remarks)
    assert replace(later, remarks=()) == replace(now, remarks=())
    assert math.isfinite(later.regret)
