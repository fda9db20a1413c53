"""Profiles hold what they promise, and say where runs bound a coefficient on one side only."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws, report
from analysis.fitting.profile import profiles, weak
from planner.law_book import MethodLaw
from planner.law_file import read_laws
from planner.laws import Chinchilla, Power, Rectified
from support.clean_sweeps import DELTAS, clean
from support.known_runs import TRUTH, grid

OPTIONS = {"n": "N", "d": "D", "loss": "loss", "bootstraps": 50}


def law_of(sweep, family: str = "chinchilla") -> MethodLaw:
    best = {name: float(values[0]) for name, values in sweep.problem.coefficients(sweep.theta)[0].items()}
    return MethodLaw({"name": "all"}, family, Chinchilla(**best), {}, (), 0.02, 36, None)


@pytest.mark.slow
@pytest.mark.parametrize("delta", DELTAS)
def test_a_profile_holds_the_truth_as_often_as_it_says(delta):
    """Of 50 sweeps 45 with an sd of 2."""
    held: dict[str, list[bool]] = {"E": [], "alpha": []}
    for sweep in clean(delta, 50):
        for name, profile in profiles(law_of(sweep), sweep, 0, ",".join(held)).items():
            low, high = profile["low"] or 0.0, profile["high"] or np.inf
            held[name].append(low <= getattr(TRUTH, name) <= high)
    for shares in held.values():
        assert 0.8 <= np.mean(shares) <= 0.98


def test_the_fit_is_the_bottom_and_the_ends_are_where_the_rise_is_used_up():
    sweep = clean(None, 1)[0]
    for profile in profiles(law_of(sweep), sweep, 0, "E, A, alpha").values():
        values, rises = np.array(profile["points"]).T
        assert (np.diff(values) > 0).all()
        assert values[rises.argmin()] == pytest.approx(profile["best"]) and rises.min() == 0
        for end in (profile["low"], profile["high"]):
            assert np.interp(end, values, rises) == pytest.approx(1, abs=0.02)


def test_a_normal_coefficient_has_the_interval_of_the_bootstrap():
    frame = grid(TRUTH, 8, 8, 0.01, seed=1)
    law = fit_laws(frame, family="chinchilla", profile="alpha,beta", **{**OPTIONS, "bootstraps": 400}).laws[0]
    for name, profile in law.profiles.items():
        low, high = law.intervals["chinchilla"][name]
        assert profile["high"] - profile["low"] == pytest.approx(high - low, rel=0.3)


def test_what_is_bounded_on_one_side_only_is_open_on_the_other(tmp_path):
    frame = grid(Power(A=500.0, alpha=0.2, beta=0.3), 6, 6, 0.01, seed=1)
    book = fit_laws(frame, family="multiplicative", profile="weak", **OPTIONS)
    law = book.laws[0]
    assert law.profiles["E"]["low"] is None
    assert law.profiles["E"]["high"] < frame.loss.min()
    assert f"up to {law.profiles['E']['high']:.4g}" in report.text(book)
    (tmp_path / "laws.json").write_text(json.dumps(book.to_json()))
    again = read_laws(tmp_path / "laws.json").laws[0]
    assert [list(point) for point in again.profiles["E"]["points"]] == [list(p) for p in law.profiles["E"]["points"]]


def test_every_coefficient_of_a_family_can_be_profiled():
    truth = Rectified(E=0.3, A=30.0, alpha=0.35, B=200.0, beta=0.4, D_l=2000.0)
    names = list(truth.coefficients)
    law = fit_laws(grid(truth, 8, 8, 0.005), family="rectified", profile=",".join(names), **OPTIONS).laws[0]
    assert list(law.profiles) == names
    for name, profile in law.profiles.items():
        assert (profile["low"] or 0) < law.law.coefficients[name] < (profile["high"] or np.inf)


def test_weak_ones_are_those_that_end_at_0_or_span_much():
    assert weak({"E": (0.0, 0.1), "A": (10.0, 31.0), "alpha": (0.2, 0.5), "D_l": (0.0, 0.0)}) == ["E", "A", "D_l"]


def test_what_cannot_be_profiled_is_refused_with_what_can():
    frame = grid(TRUTH, 6, 6, 0.01)
    with pytest.raises(
        ValueError, match="`profile` has 'gamma'; coefficients of chinchilla: E, A, alpha, B, beta; or weak"
    ):
        fit_laws(frame, family="chinchilla", profile="E,gamma", **OPTIONS)
    both = pd.concat([grid(TRUTH, 6, 6, 0.01, seed).assign(kind=seed) for seed in range(2)], ignore_index=True)
    shared = {**OPTIONS, "method": "kind", "family": "chinchilla", "exponents": "shared"}
    assert set(fit_laws(both, profile="alpha", **shared).laws[1].profiles) == {"alpha"}
    with pytest.raises(ValueError, match="of chinchilla with shared exponents: E, alpha, beta"):
        fit_laws(both, profile="A", **shared)


def test_of_methods_that_share_exponents_each_has_a_profile_of_its_E():
    other = Chinchilla(**{**TRUTH.coefficients, "E": 1.0})
    runs = [grid(law, 6, 6, 0.01, seed).assign(kind=seed) for seed, law in enumerate((TRUTH, other))]
    shared = {**OPTIONS, "method": "kind", "family": "chinchilla", "exponents": "shared"}
    for law, truth in zip(
        fit_laws(pd.concat(runs, ignore_index=True), profile="E", **shared).laws, (0.3, 1.0), strict=True
    ):
        profile, (low, high) = law.profiles["E"], law.intervals["chinchilla"]["E"]
        assert profile["low"] < law.law.E < profile["high"]
        assert profile["low"] - 0.05 < truth < profile["high"] + 0.05
        assert profile["high"] - profile["low"] == pytest.approx(high - low, rel=0.5)
