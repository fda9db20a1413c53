"""Decisions at unseen budgets: what each rule chose and gave away, where that can be counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from analysis.fitting.backtest import FamilyChoice
from analysis.fitting.decisions import (
    BELOW,
    RULES,
    Measured,
    SizeDecision,
    decide,
    measured,
    size_decisions,
    standard_error,
    standings,
    verdict,
)
from analysis.fitting.forms import SHAPES
from analysis.fitting.isoflop import line_of
from analysis.tables.columns import Columns
from analysis.tables.foreign_table import runs_table
from planner.laws import Chinchilla
from support.isoflop_sweeps import best_sizes, isoflop_runs

LAW = Chinchilla(E=1.8172, A=477.8, alpha=0.34731, B=2143.0, beta=0.36717)
BUDGETS = 1e19 * 4.0 ** np.arange(6)
PLAIN = FamilyChoice("chinchilla", SHAPES["chinchilla"])


def table_of(runs: pd.DataFrame):
    return runs_table(runs, Columns(loss="loss", n="params", d="tokens"))


def decided(runs: pd.DataFrame, choice: FamilyChoice = PLAIN) -> list[SizeDecision]:
    table = table_of(runs)
    found = size_decisions(table, ["all"], {choice: 1.0}, 1e-3)
    return found.get("all", [])


def case(sizes, losses, tokens=1e9, below=None) -> Measured:
    ones = np.ones(len(sizes))
    seen = isoflop_runs(LAW, BUDGETS[:3]) if below is None else below
    return Measured(
        "all", BUDGETS[4], np.array(sizes, float), tokens * ones, ones, np.inf * ones, np.array(losses), seen
    )


def test_shares_given_away_are_those_counted_by_hand():
    best = best_sizes(LAW, BUDGETS[4])  # the minima of 1, 4 and 16 times 1e19, carried on by 16
    tried = case([best / 3, best, 3 * best], [2.2, 2.1, 2.0], tokens=60 * best)
    found = decide(tried, np.array([2.0, 2.1, 2.2]), line_of(tried.below))
    assert found.best == pytest.approx(3 * best)
    assert found.chosen == pytest.approx({"law": best / 3, "isoflop": best, "ratio": 3 * best})
    assert found.given_away == pytest.approx({"law": 2.2 / 2.0 - 1, "isoflop": 2.1 / 2.0 - 1, "ratio": 0.0})
    assert found.fitted_to == BUDGETS[2] <= found.budget / BELOW and found.runs == 27
    assert set(found.chosen) == set(RULES)


def test_a_rule_that_cannot_choose_is_left_out():
    tried = case([1e8, 1e9], [2.0, 2.1], below=isoflop_runs(LAW, BUDGETS[:2]))
    few = decide(tried, None, line_of(tried.below))
    assert set(few.chosen) == set(few.given_away) == {"ratio"}


def test_without_noise_law_and_minima_choose_the_best_size():
    found = decided(isoflop_runs(LAW, BUDGETS))
    assert [each.budget for each in found] == pytest.approx(BUDGETS[3:])  # three minima below each
    for each in found:
        assert each.given_away["law"] == each.given_away["isoflop"] == 0


def test_no_rule_sees_a_run_above_a_quarter_of_the_budget():
    runs = isoflop_runs(LAW, BUDGETS, noise=0.003)
    spoilt = runs.assign(loss=runs["loss"].where(runs["flops"] <= BUDGETS[-1] / BELOW * 1.01, 3 * runs["loss"]))
    assert decided(runs)[-1].chosen == decided(spoilt)[-1].chosen


def test_a_law_that_is_wrong_gives_away_more_than_minima_do():
    """Power of the product alone: no best size at a budget but the smallest or the largest."""
    found = decided(isoflop_runs(LAW, BUDGETS), FamilyChoice("power", SHAPES["power"]))
    told = verdict(found)
    assert told["decisions"] == 3 and told["gap"] > 0.01
    assert told["given_away"]["isoflop"] < 1e-6 < told["given_away"]["law"] <= told["worst"]["law"]


def test_losses_of_runs_that_spent_different_amounts_are_compared_at_the_same_budget():
    runs = isoflop_runs(LAW, BUDGETS, sizes=13, spread=0.02, seed=1)
    for one in measured(runs):
        at = np.log(LAW.loss(one.sizes, one.budget / (6 * one.sizes)))
        raw = np.log(runs.set_index("params")["loss"][one.sizes].to_numpy())
        assert np.std(np.log(one.losses) - at) < 0.7 * np.std(raw - at)


def decision(budget, **given_away) -> SizeDecision:
    return SizeDecision("all", budget, budget / 4, 30, 1e9, dict.fromkeys(given_away, 1000000000.0), given_away)


def test_verdict_and_standings_are_means_over_decisions_that_share_their_rules():
    some = [
        decision(1e20, law=0.03, isoflop=0.01, ratio=0.0),
        decision(1e21, law=0.01, isoflop=0.01, ratio=0.05),
        decision(1e22, law=0.5, ratio=0.5),
    ]
    told = verdict(some)
    assert told["decisions"] == 2
    assert told["given_away"] == pytest.approx({"law": 0.02, "isoflop": 0.01})
    assert told["worst"] == pytest.approx({"law": 0.03, "isoflop": 0.01})
    assert told["gap"] == pytest.approx(0.01) and told["error"] == pytest.approx(0.01)
    found = standings(some)
    assert found["least"] == "isoflop" and {row["decisions"] for row in found["rules"].values()} == {2}
    assert found["rules"]["ratio"]["mean"] == pytest.approx(0.025)
    assert found["against_law"]["ratio"]["decisions"] == 3
    assert verdict(some[2:]) is None
    assert standings([])["rules"] == {}


def test_decisions_of_one_budget_count_as_one():
    values = np.array([0.01, 0.01, 0.03, 0.03])
    apart, alike = standard_error(values, np.arange(4)), standard_error(values, np.array([0, 0, 1, 1]))
    assert apart == pytest.approx(np.std(values, ddof=1) / 2)
    assert alike == pytest.approx(0.01) and alike > apart
    assert standard_error(values, np.zeros(4, int)) == 0.03  # one budget tells no error


def test_budgets_that_differ_by_the_rounding_to_whole_steps_are_one():
    nearly = [decision(np.exp(44 + more), law=0.03, isoflop=0.01) for more in (0.0, 0.0495, 0.0505)]
    assert verdict(nearly)["error"] == pytest.approx(0.02)  # one budget: the largest difference


def test_the_law_book_holds_decisions_and_the_verdict_on_them():
    runs = isoflop_runs(LAW, BUDGETS, noise=0.003)
    law = fit_laws(runs, n="params", d="tokens", loss="loss", family="chinchilla", bootstraps=20).laws[0]
    assert [each["budget"] for each in law.isoflop["decisions"]] == pytest.approx(BUDGETS[3:])
    assert law.isoflop["verdict"] == verdict(decided(runs))
    assert math.isfinite(law.isoflop["verdict"]["error"])
    two = pd.concat([runs, runs.assign(method="other")])
    pooled = fit_laws(two, n="params", d="tokens", loss="loss", method="method", family="chinchilla", bootstraps=20)
    assert {law.isoflop["verdict"]["decisions"] for law in pooled.laws} == {6}


def test_fewer_than_three_minima_below_leave_nothing_to_compare():
    assert decided(isoflop_runs(LAW, BUDGETS[:3])) == []
    one_law_for_settings = replace(PLAIN, family="trainable", shape=SHAPES["trainable"])
    assert decided(isoflop_runs(LAW, BUDGETS), one_law_for_settings) == []
