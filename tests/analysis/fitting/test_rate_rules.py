"""Rules of learning rates, made of searches whose best rates are known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.fitting.rate_rules import PRIORS, found, left_out, rate_rules, solve, summary
from analysis.tables.rate_curves import RateCurve
from support.ladder import NANO
from support.rate_searches import BATCHES, METHODS, MODELS, best_rate, search, searches
from sweeps.methods import Full


def test_a_rule_finds_the_exponents_that_made_the_searches():
    rules, _ = rate_rules(searches())
    for method in METHODS:
        rule = rules[method.label]
        assert rule.exponents["params"] == pytest.approx(-0.3, abs=0.04)
        assert rule.exponents["batch_size"] == pytest.approx(0.35, abs=0.04)
        for model in MODELS:
            rate, _ = rule.predict(model.params, 64, method.options.get("rank", 1))
            assert rate == pytest.approx(best_rate(method, model, 64), rel=0.2)
    assert rules["lora rank 8 alpha 8"].exponents["rank"] == pytest.approx(-0.25, abs=0.06)
    assert "rank" not in rules["full"].exponents


def test_intervals_hold_the_best_rate_as_often_as_they_say():
    inside = []
    for seed in range(60):
        solved, _ = rate_rules(searches(seed, batches=(8, 64), scatter=0.2))
        for method in METHODS:
            rate, sd = solved[method.label].predict(NANO[5].params, 192, method.options.get("rank", 1))
            off = 0.2 * np.random.default_rng([seed, 1]).normal()
            inside.append(abs(math.log(best_rate(method, NANO[5], 192) / rate) + off) < 1.645 * sd)
    assert 0.82 < np.mean(inside) < 0.99


def test_pairs_left_out_are_predicted_by_the_others():
    curves = searches(scatter=0.15)
    missed = left_out(curves, solve(curves).scatter)
    told = summary(missed)
    assert told["searches"] == len(curves) == len(METHODS) * len(MODELS) * len(BATCHES)
    assert told["median_factor"] < 1.5 and told["given_away"] < 0.01
    there = (MODELS[0].name, 8)
    wild = [_ten_times(curve) if (curve.model, curve.batch_size) == there else curve for curve in curves]
    assert summary(left_out(wild, 0.2))["worst"] > 10 * told["worst"]  # what was left out is not what was fitted


def _ten_times(curve: RateCurve) -> RateCurve:
    return replace(curve, rates=tuple(10 * rate for rate in curve.rates))


def test_one_batch_size_leaves_its_exponent_as_it_is_assumed():
    rules, _ = rate_rules(searches(batches=(24,)))
    mean, sd, own = PRIORS["batch_size"]
    assert rules["full"].exponents["batch_size"] == pytest.approx(mean)
    assert rules["full"].covariance[2][2] == pytest.approx(sd**2 + own**2)
    assert rules["full"].exponents["params"] == pytest.approx(-0.3, abs=0.06)


def test_the_bottom_of_a_parabola_lies_nearer_than_the_best_rate_tried():
    off = []
    for best in (1.2e-3, 1.7e-3, 2.4e-3):
        curve = search(Full(), NANO[2], 24, best, None)
        assert abs(found(curve).log_rate - math.log(best)) < 0.2 < found(curve).sd * 3
        off.append(abs(math.log(curve.best / best)))
    assert max(off) > 0.3


def test_a_best_rate_at_an_end_says_on_which_side_the_bottom_lies():
    """Searches that stop at 3e-3 where 1e-2 is best: a rule that took 3e-3 for the best would be three times off."""
    curves = searches(more=0)
    ends = [found(curve).side for curve in curves]
    assert set(ends) == {-1, 1}
    rules, _ = rate_rules(curves)
    for model in MODELS:
        rate, sd = rules["full"].predict(model.params, 192)
        assert abs(math.log(rate / best_rate(Full(), model, 192))) < 2 * sd
    censored = search(Full(), NANO[1], 512, 2e-2, None, more=0)
    assert found(censored).side == 1 and found(censored).log_rate == pytest.approx(math.log(1e-3 * math.sqrt(3)))


def test_a_rate_beside_one_that_diverged_has_no_loss_and_is_counted():
    curve = search(Full(), NANO[2], 24, 2e-3, None)
    wild = replace(curve, losses=(*curve.losses[:-1], math.inf))
    assert math.isnan(wild.log_loss_at(8e-3)) and found(wild).side == 0
    others = [search(Full(), model, 24, 8e-3, None) for model in (NANO[1], NANO[3])]
    assert summary(left_out([wild, *others], 0.2))["unknown"] == 1
    assert rate_rules([]) == ({}, {})
