"""Published runs with known answers: what others found in them is found again, and what they warn of is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from planner.law_book import MethodLaw
from support.published_runs import COLUMNS, DATA, FINE_TUNING, PUBLISHED_95, fine_tuning

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the published runs are not beside this repository")


@pytest.fixture(scope="module")
def chinchilla():
    return fit_laws(DATA / "chinchilla_svg.csv", drop_highest=5, family="chinchilla", **COLUMNS)


def test_the_known_answer_is_a_part_of_the_mean_without_being_asked_for(chinchilla):
    law = fit_laws(DATA / "chinchilla_svg.csv", drop_highest=5, delta=1e-3, bootstraps=50, **COLUMNS).laws[0]
    assert law.parts["chinchilla"].coefficients == pytest.approx(chinchilla.laws[0].law.coefficients, rel=1e-4)
    assert law.weights["chinchilla"] > 0.1


def test_the_known_answer_is_found(chinchilla):
    law = chinchilla.laws[0]
    assert law.objective <= 0.00101828
    assert law.law.alpha == pytest.approx(0.34731, abs=2e-5)
    assert law.law.beta == pytest.approx(0.36717, abs=2e-5)
    assert law.law.coefficients == pytest.approx({**law.law.coefficients, "A": 477.8, "B": 2143, "E": 1.8172}, rel=1e-3)
    assert not [n for n in chinchilla.warnings if n.code == "leverage"]


def test_the_published_intervals_are_found(chinchilla):
    for name, (low, high) in PUBLISHED_95.items():
        ours = chinchilla.laws[0].intervals_95["chinchilla"][name]
        assert ours == pytest.approx((low, high), abs=0.15 * (high - low)), name


def test_isoflop_minima_agree_with_the_law_on_the_exponents(chinchilla):
    by_runs, by_law = chinchilla.laws[0].isoflop["exponents"], chinchilla.laws[0].isoflop["law_exponents"]
    assert abs(by_runs["N"] - by_law["N"]) < 3 * by_runs["N_se"] < 0.1


def test_five_rows_that_carry_a_coefficient_are_named():
    book = fit_laws(DATA / "chinchilla_svg.csv", bootstraps=200, family="chinchilla", **COLUMNS)
    assert book.laws[0].law.coefficients == pytest.approx({**book.laws[0].law.coefficients, "B": 12846}, rel=1e-3)
    texts = [n.text for n in book.warnings if n.code == "leverage"]
    assert any("row 1, row 2, row 3, row 4, row 5 (5 of 245 runs)" in text for text in texts)


def misses(law: MethodLaw, runs: pd.DataFrame) -> np.ndarray:
    """Log residuals of one model's runs, smallest D first."""
    mine = runs[runs["config name"] == law.label]
    return np.log(mine["loss"] / law.law.loss(1.0, mine["D"])).to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name", FINE_TUNING)
def test_pretrained_models_are_described_and_forecast_as_well_as_published(name):
    runs, (residual, forecast) = fine_tuning(name), FINE_TUNING[name]
    columns = {"d": "D", "loss": "loss", "method": "config name", "bootstraps": 20}
    if name != "gigaword":  # there the plain law does as well
        some = runs[runs["config name"].isin(runs["config name"].unique()[::3])]  # ten models, for speed
        assert {law.family for law in fit_laws(some, **columns).laws} == {"rectified"}
    laws = fit_laws(runs, family="rectified", **columns).laws
    assert len(laws) == 30
    assert np.mean([np.sqrt(np.mean(misses(law, runs) ** 2)) for law in laws]) <= residual
    early = fit_laws(runs[runs["D"] <= runs["D"].max() / 8], family="rectified", **columns).laws
    assert np.mean([abs(misses(law, runs)[-1]) for law in early]) <= forecast
