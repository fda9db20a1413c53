"""Backtest of decisions: where the truth is known, laws of small budgets choose what is best at large ones."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from analysis import report
from analysis.cli import main
from analysis.fitting.decisions import BELOW, RULES
from analysis.fitting.estimate import Settings
from analysis.fitting.retrospective import Decision, retrospective, size_choices
from analysis.tables.columns import Columns
from analysis.tables.foreign_table import runs_table
from analysis.tables.sweep_table import read_sweep
from support.isoflop_sweeps import isoflop_runs
from support.known_runs import UNEVEN
from support.ladder import NANO
from support.made_sweep import LAWS_OF_THE_TESTS, observations, write_sweep

pytestmark = pytest.mark.slow

BUDGETS = [1e12, 2e12, 4e12, 8e12, 1.6e13, 3.2e13]
FEW = Settings(bootstraps=20)
ONE_FAMILY = replace(FEW, family="chinchilla")
TWO_METHODS = dict(list(LAWS_OF_THE_TESTS.items())[:2])


def swept(folder, noise, **other):
    return read_sweep(write_sweep(folder, observations(models=NANO[1:5], budgets=BUDGETS, noise=noise, **other)))


def test_without_noise_the_best_cell_is_chosen_and_predicted(tmp_path):
    tested = retrospective(swept(tmp_path, noise=0.0), ONE_FAMILY)
    assert [decision.budget for decision in tested] == [budget for budget in BUDGETS if budget >= BELOW * BUDGETS[0]]
    chosen = [decision for decision in tested if decision.chosen]
    assert len(chosen) >= 3
    for decision in chosen:
        assert decision.fitted_to <= decision.budget / BELOW
        assert decision.regret == 0 and abs(decision.error) < 0.01
        assert decision.cells[0]["loss"] == min(cell["loss"] for cell in decision.cells)


def test_laws_see_no_run_above_a_quarter_of_the_budget(tmp_path):
    """Losses above that may be anything: what the laws say of the budget stays the same."""
    table = swept(tmp_path, noise=0.01, laws=TWO_METHODS)
    spoilt = table.rows.copy()
    spoilt.loc[spoilt["budget"] > BUDGETS[-1] / BELOW, "loss"] *= 3
    honest, other = (retrospective(runs, FEW)[-1] for runs in (table, replace(table, rows=spoilt)))
    predicted = [{(c["model"], c["method"]): c["predicted"] for c in decision.cells} for decision in (honest, other)]
    assert predicted[0] == predicted[1]


def test_regret_is_of_the_measured_losses(tmp_path):
    table = swept(tmp_path, noise=0.0)
    spoilt = table.rows.copy()
    last = retrospective(table, ONE_FAMILY)[-1]
    place = (spoilt["budget"] == last.budget) & (spoilt["model"] == last.chosen["model"])
    place &= spoilt["method"] == last.chosen["method"]
    spoilt.loc[place, "loss"] *= 1.5  # the laws could not know
    tested = retrospective(replace(table, rows=spoilt), ONE_FAMILY)[-1]
    second = last.cells[1]["loss"]
    assert tested.chosen["model"] == last.chosen["model"] and tested.cells[0]["loss"] == pytest.approx(second)
    assert tested.regret == pytest.approx(1.5 * last.chosen["loss"] / second - 1)


def test_a_budget_whose_smaller_ones_make_no_law_says_so(tmp_path, capsys):
    folder = write_sweep(tmp_path, observations(models=NANO[1:4], budgets=[1e12, 4e12, 1.6e13], noise=0.01))
    assert main([str(folder), "--backtest", "--bootstraps", "50"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r" 4e\+12  no law yet .*runs", printed)


def test_json_names_every_cell(tmp_path, capsys):
    folder = write_sweep(tmp_path, observations(models=NANO[1:5], budgets=BUDGETS, noise=0.01))
    assert main([str(folder), "--backtest", "--bootstraps", "20", "--family", "chinchilla", "--json"]) == 0
    tested = json.loads(capsys.readouterr().out)["decisions"]
    assert any(decision["told"] for decision in tested)
    for decision in tested:
        assert decision["inside"] <= decision["told"] <= sum(len(cell["losses"]) for cell in decision["cells"])
        assert {cell["model"] for cell in decision["cells"]} <= {model.name for model in NANO[1:5]}


def test_a_table_of_runs_and_a_joint_fit_have_no_backtest(tmp_path, capsys):
    (tmp_path / "runs.csv").write_text("n,d,loss\n1,1,1\n")
    assert main([str(tmp_path / "runs.csv"), "--loss", "loss", "--backtest"]) == 2
    assert "--backtest" in capsys.readouterr().err


def looked_back(spread: float) -> list[Decision]:
    runs = isoflop_runs(UNEVEN, 1e19 * 4.0 ** np.arange(6), spread=spread, seed=1)
    return retrospective(runs_table(runs, Columns(loss="loss", n="params", d="tokens")), ONE_FAMILY)


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_a_table_of_runs_has_the_budgets_that_its_runs_come_in(spread):
    """Runs of a budget that spent a little more or less are compared at the same one."""
    tested = looked_back(spread)
    assert [decision.budget for decision in tested] == pytest.approx(1e19 * 4.0 ** np.arange(1, 6), rel=0.03)
    decided = [decision for decision in tested if decision.chosen]
    assert len(decided) >= 3
    for decision in decided:
        assert decision.fitted_to <= 1.03 * decision.budget / BELOW
        assert decision.regret < 1e-3 and abs(decision.error) < 0.01
        assert decision.cells[0]["model"].startswith("N ") and len(decision.cells) == 9


def test_every_rule_chooses_among_the_sizes_of_each_method():
    tested = looked_back(0.0)
    sizes = size_choices(tested)
    assert [size.budget for size in sizes] == [decision.budget for decision in tested]
    assert set(sizes[-1].chosen) == set(RULES) and "isoflop" not in sizes[0].chosen
    assert sizes[-1].given_away["law"] == sizes[-1].given_away["isoflop"] == 0 < sizes[-1].given_away["ratio"]
    printed = report.retrospective(tested)
    assert "extrapolated isoFLOP minima" in printed and "20 tokens per parameter" in printed and "<- lowest" in printed


def test_of_a_sweep_with_methods_each_has_its_decisions(tmp_path):
    sizes = size_choices(retrospective(swept(tmp_path, noise=0.01, laws=TWO_METHODS), ONE_FAMILY))
    assert {size.method for size in sizes} == {method.label for method in TWO_METHODS}
    assert all(size.given_away["ratio"] >= 0 for size in sizes)


def test_laws_in_one_quantity_choose_no_size():
    runs = isoflop_runs(UNEVEN)
    alone = runs_table(runs, Columns(loss="loss", d="tokens"))
    with pytest.raises(ValueError, match="choose"):
        retrospective(alone, ONE_FAMILY)
