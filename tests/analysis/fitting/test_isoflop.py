"""isoFLOP minima: what is refused, the line through the others, and what the law book holds of them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from analysis.fitting.isoflop import FEWEST_BOTTOMS, minima, through
from analysis.frontier import budget_levels
from planner.law_file import read_laws
from support.isoflop_sweeps import BUDGETS, best_sizes, exponent, isoflop_runs
from support.known_runs import UNEVEN
from support.published_runs import DATA


def found_in(runs: pd.DataFrame, resamples: int = 100):
    return minima(runs, budget_levels(runs["flops"].to_numpy(float)), resamples)


def test_a_minimum_is_reported_only_inside_the_tried_sizes():
    runs = isoflop_runs(UNEVEN)
    place = np.repeat(np.arange(len(BUDGETS)), 9)
    first, second, third = best_sizes(UNEVEN)[:3]
    runs = runs[
        ((place != 0) | (runs["params"] > 1.2 * first))
        & ((place != 1) | (runs["params"] < 0.8 * second))
        & ((place != 2) | (abs(np.log(runs["params"] / third)) < 0.5))
    ]
    below, above, few, *others = found_in(runs).bottoms
    assert (below.params, below.reason) == (None, "its bottom lies below the tried sizes")
    assert (above.params, above.reason) == (None, "its bottom lies above the tried sizes")
    assert (few.params, few.interval, few.reason) == (None, None, "3 sizes; a minimum with a check needs 4")
    assert all(bottom.params and bottom.reason == "" for bottom in others)


def test_a_valley_upside_down_has_no_minimum_and_fewer_than_three_minima_no_line():
    runs = isoflop_runs(UNEVEN)
    turned = found_in(runs.assign(loss=1 / runs["loss"]))
    assert {bottom.reason for bottom in turned.bottoms} == {"the valley opens downward"}
    assert turned.line is None
    for budgets in range(1, FEWEST_BOTTOMS + 1):
        some = found_in(isoflop_runs(UNEVEN, budgets=BUDGETS[:budgets]))
        assert (some.line is None) == (budgets < FEWEST_BOTTOMS)


def test_a_valley_that_noise_hides_has_no_minimum_and_no_interval_is_open():
    reasons = set()
    for seed in range(6):
        for bottom in found_in(isoflop_runs(UNEVEN, sizes=5, factor=1.5, noise=0.05, seed=seed)).bottoms:
            reasons.add(bottom.reason)
            assert (bottom.params is None) == (bottom.interval is None) == (bottom.reason != "")
            assert bottom.interval is None or np.isfinite(bottom.interval).all()
    assert "its valley is no deeper than the noise of runs" in reasons


def test_the_line_is_carried_on_to_the_best_size_of_a_budget_nobody_ran():
    line = found_in(isoflop_runs(UNEVEN)).line
    assert line.exponent == pytest.approx(exponent(UNEVEN), abs=0.003)
    assert line.params(1e24) == pytest.approx(best_sizes(UNEVEN, 1e24), rel=0.1)


def test_the_exponent_lies_in_its_interval_as_often_as_it_should():
    inside, off = [], []
    for seed in range(60):
        line = found_in(isoflop_runs(UNEVEN, noise=0.003, seed=seed)).line
        low, high = np.quantile(line.exponents, [0.05, 0.95])
        inside.append(low <= exponent(UNEVEN) <= high)
        off.append(line.exponent - exponent(UNEVEN))
    assert np.mean(inside) >= 0.82  # 60 of nominal 90 %: one sd is 3.9 %
    assert abs(np.mean(off)) < 0.006


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "factor", "noise"), [(9, 6.0, 0.003), (13, 10.0, 0.005), (17, 20.0, 0.003)])
@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_bias_and_coverage_of_the_exponent(sizes, factor, noise, drift):
    inside, off = [], []
    for seed in range(200):
        line = found_in(isoflop_runs(UNEVEN, sizes=sizes, factor=factor, noise=noise, drift=drift, seed=seed)).line
        low, high = np.quantile(line.exponents, [0.05, 0.95])
        inside.append(low <= exponent(UNEVEN) <= high)
        off.append(line.exponent - exponent(UNEVEN))
    assert 0.85 <= np.mean(inside) <= 0.97
    assert abs(np.mean(off)) < 0.006


def test_something_else_than_noise_that_moves_minima_widens_the_line():
    runs = isoflop_runs(UNEVEN, noise=0.002)
    calm = found_in(runs).line
    shaken = runs["params"] * np.repeat([1.5, 1 / 1.5, 1.5, 1 / 1.5, 1.5, 1 / 1.5], 9)
    moved = found_in(runs.assign(params=shaken)).line
    assert np.std(moved.exponents) > 3 * np.std(calm.exponents)


def test_a_line_through_points_with_weights_is_polyfits():
    x, y, weights = np.array([-1.0, 0.0, 0.5, 2.0]), np.array([[3.0, 1.0, 2.0, 0.0]]), np.array([1.0, 4.0, 2.0, 0.5])
    slope, height = through(x, y, weights)
    assert [slope[0], height[0]] == pytest.approx(np.polyfit(x, y[0], 1, w=np.sqrt(weights)))
    gap = np.array([[3.0, 1.0, np.nan, 0.0]])
    assert through(x, gap, weights)[0][0] == pytest.approx(
        np.polyfit(x[[0, 1, 3]], gap[0, [0, 1, 3]], 1, w=np.sqrt(weights[[0, 1, 3]]))[0]
    )


def test_the_law_book_holds_minima_line_and_both_exponents(tmp_path):
    runs = isoflop_runs(UNEVEN, noise=0.002)
    book = fit_laws(runs, n="params", d="tokens", loss="loss", family="chinchilla", bootstraps=20)
    path = tmp_path / "laws.json"
    path.write_text(json.dumps(book.to_json()))
    kept = read_laws(path).laws[0].isoflop
    assert kept == json.loads(json.dumps(book.laws[0].isoflop))
    assert len(kept["bottoms"]) == len(BUDGETS)
    for bottom in kept["bottoms"]:
        low, high = bottom["interval"]
        assert low < bottom["params"] < high
        assert bottom["law_params"] == pytest.approx(best_sizes(UNEVEN, bottom["budget"]), rel=0.1)
    for by in (kept["exponents"], kept["law_exponents"]):
        assert by["N"] == pytest.approx(exponent(UNEVEN), abs=0.02)
        assert by["N"] + by["D"] == pytest.approx(1)  # C = 6 N D
    low, high = kept["line"]["intervals"]["exponent"]
    assert low < kept["line"]["exponent"] < high
    assert len(kept["line"]["draws"]["exponent"]) == len(kept["line"]["draws"]["log_params"]) >= 100


@pytest.mark.skipif(not DATA.exists(), reason="the published runs are not beside this repository")
def test_published_exponents_are_found():
    """Llama 3 (Dubey et al. 2024, 3.2.1): D grows as C^0.53. Its figure's minima, by parabolas: N as C^0.463."""
    runs = pd.read_csv(DATA / "isoflop_llama3.csv")
    law = fit_laws(runs, n="params", d="tokens", loss="loss", family="chinchilla", bootstraps=20).laws[0]
    found = law.isoflop["exponents"]
    assert found["D"] == pytest.approx(0.53, abs=2 * found["D_se"])
    assert found["N"] == pytest.approx(0.463, abs=2 * found["N_se"])
    assert found["N_se"] < 0.03
