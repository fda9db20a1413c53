"""Rows that are too far off to be noise are named at both ends, and do not widen what is said of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import fit_laws
from analysis.fitting.outliers import far_off
from support.clean_sweeps import DELTAS, PUBLISHED, SWEEPS, clean, everyone, solved
from support.known_runs import TRUTH, grid

CASES = Path(__file__).resolve().parents[4] / "shared/cases/fit"
SLIPS = (0.1, 8.0, 100.0, 0.003)  # what a mistyped loss is multiplied with


@pytest.mark.parametrize("delta", DELTAS)
def test_clean_sweeps_name_a_row_at_most_twice_in_a_hundred(delta):
    told = sum(bool(far_off("all", sweep, everyone(sweep))) for sweep in clean(delta))
    assert told <= 0.02 * SWEEPS


@pytest.mark.parametrize("slip", SLIPS)
@pytest.mark.parametrize("delta", [None, PUBLISHED])
def test_a_mistyped_loss_is_named_and_moves_neither_noise_nor_law(slip, delta):
    frame = grid(TRUTH, 8, 6, 0.01, seed=1)
    before = solved(frame, delta)
    frame.loc[20, "loss"] *= slip
    after = solved(frame, delta)
    caveat = far_off("all", after, everyone(after))[0]
    assert caveat.code == "far_off"
    assert "20 (loss" in caveat.text and ("above" if slip > 1 else "below") in caveat.text
    assert after.noise == pytest.approx(before.noise, rel=0.15)
    place = before.problem.predict(before.theta), after.problem.predict(after.theta)
    assert np.abs(place[0] - place[1]).max() < 0.02


def test_several_experiments_are_no_single_rows():
    frame = grid(TRUTH, 8, 6, 0.01, seed=1)
    frame["loss"] *= np.where(np.arange(len(frame)) % 3, 1.0, 1.6)
    sweep = solved(frame)
    assert not sweep.scatter.far.any()
    assert sweep.noise == pytest.approx(sweep.scatter.rms)


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases/fit")
def test_one_loss_of_20_or_of_001_among_124():
    options = {"n": "params", "d": "tokens", "loss": "loss", "family": "chinchilla", "bootstraps": 100}
    high, low = (fit_laws(CASES / f"outlier_{end}.csv", **options) for end in ("high", "low"))
    for book, row in ((high, "row 61 (loss 20"), (low, "row 1 (loss 0.01")):
        assert row in next(caveat.text for caveat in book.warnings if caveat.code == "far_off")
        assert book.laws[0].noise < 0.01
    assert low.laws[0].law.coefficients == pytest.approx(
        {"E": 1.847, "alpha": 0.368, "A": 686, "B": 2616, "beta": 0.377}, rel=0.01
    )
