"""Valleys without a law: their bottoms are where the law that made the losses has them, whatever its asymmetry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.valleys import Levels, resampled, valleys
from analysis.frontier import Level, budget_levels
from planner.laws import Chinchilla
from support.isoflop_sweeps import BUDGETS, best_sizes, exponent, isoflop_runs
from support.known_runs import UNEVEN

TRUTHS = {
    "tokens count more": UNEVEN,
    "size counts more": Chinchilla(E=0.4, A=2000.0, alpha=0.5, B=60.0, beta=0.28),
    "alike": Chinchilla(E=1.8172, A=477.8, alpha=0.34731, B=2143.0, beta=0.36717),
}


def levels_of(runs: pd.DataFrame) -> Levels:
    return Levels.of(runs, budget_levels(runs["flops"].to_numpy(float)))


@pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)
@pytest.mark.parametrize(("sizes", "factor"), [(7, 3.3), (9, 6.0), (13, 10.0), (17, 20.0)])
@pytest.mark.parametrize("drift", [0.0, 0.4])
def test_the_exponent_of_an_asymmetric_truth_is_not_biased(truth, sizes, factor, drift):
    levels = levels_of(isoflop_runs(truth, sizes=sizes, factor=factor, drift=drift))
    found = valleys(levels, levels.loss[None])
    slope = np.polyfit(np.log(BUDGETS), found.bottoms[0], 1)[0]
    assert slope == pytest.approx(exponent(truth), abs=0.003)
    assert found.bottoms[0] == pytest.approx(np.log(best_sizes(truth)), abs=0.05)
    assert np.sign(found.skew[0]) == np.sign(truth.beta - truth.alpha)


def test_a_parabola_through_all_sizes_would_be_biased():
    truth = TRUTHS["tokens count more"]
    runs = isoflop_runs(truth, sizes=17, factor=20.0, drift=0.4)
    fits = [np.polyfit(np.log(some["params"]), np.log(some["loss"]), 2) for _, some in runs.groupby("flops")]
    slope = np.polyfit(np.log(BUDGETS), [-b / (2 * a) for a, b, _ in fits], 1)[0]
    assert abs(slope - exponent(truth)) > 0.006


def test_runs_of_a_budget_that_spent_different_amounts_are_compared_at_the_same():
    truth = TRUTHS["alike"]
    runs = isoflop_runs(truth, sizes=13, factor=6.0, spread=0.08, seed=2)
    middle = {budget: runs["flops"][place * 13 : place * 13 + 13] for place, budget in enumerate(BUDGETS)}
    levels = Levels.of(runs, [level_of(spent) for spent in middle.values()])
    found = valleys(levels, levels.loss[None])
    slope = np.polyfit(np.log(levels.budgets), found.bottoms[0], 1)[0]
    assert slope == pytest.approx(exponent(truth), abs=0.006)
    N, C = best_sizes(truth, BUDGETS[2]), BUDGETS[2] * np.array([0.99, 1.01])
    expected = np.diff(np.log(truth.loss(N, C / (6 * N))))[0] / np.diff(np.log(C))[0]
    assert found.slope[0] == pytest.approx(expected, rel=0.4)


def level_of(flops):
    return Level(float(flops.min()), float(flops.median()), float(flops.max()))


def test_a_valley_that_opens_downward_has_no_bottom():
    runs = isoflop_runs(TRUTHS["alike"], budgets=BUDGETS[:2])
    levels = levels_of(runs.assign(loss=1 / runs["loss"]))
    assert np.isnan(valleys(levels, levels.loss[None]).bottoms).all()


def test_rows_that_count_little_move_no_bottom():
    runs = isoflop_runs(TRUTHS["alike"])
    wild = runs["loss"] * np.where(np.arange(len(runs)) % 9 == 5, 0.95, 1.0)
    spoilt = levels_of(runs.assign(loss=wild, weight=np.where(wild < runs["loss"], 1e-9, 2.0)))
    plain = levels_of(runs)
    bottoms = [valleys(each, each.loss[None]).bottoms for each in (spoilt, plain)]
    assert bottoms[0] == pytest.approx(bottoms[1], abs=0.02)


def test_rows_of_one_run_share_their_noise():
    """Checkpoints of one run miss together: the same sizes at all budgets scatter as one."""
    runs = isoflop_runs(TRUTHS["alike"], noise=0.003)
    together = runs.assign(run=[str(place % 9) for place in range(len(runs))])
    spread = []
    for rows in (runs, together):
        levels = levels_of(rows)
        draws = resampled(levels, valleys(levels, levels.loss[None]), 100, 0).bottoms
        spread.append(np.std(draws.mean(axis=1)))
    assert spread[1] > 1.5 * spread[0]


@pytest.mark.parametrize("truth", ["tokens count more", "alike"])
@pytest.mark.parametrize(("noise", "sizes", "factor"), [(0.003, 9, 6.0), (0.005, 13, 10.0)])
def test_bottoms_lie_in_their_bootstrap_interval_as_often_as_they_should(truth, noise, sizes, factor):
    law, inside = TRUTHS[truth], []
    for seed in range(25):
        levels = levels_of(isoflop_runs(law, sizes=sizes, factor=factor, noise=noise, seed=seed))
        draws = resampled(levels, valleys(levels, levels.loss[None]), 100, seed).bottoms
        low, high = np.nanquantile(draws, [0.05, 0.95], axis=0)
        inside += list((low <= np.log(best_sizes(law))) & (np.log(best_sizes(law)) <= high))
    assert 0.82 <= np.mean(inside) <= 0.97  # 150 of nominal 90 %: one sd is 2.4 %
