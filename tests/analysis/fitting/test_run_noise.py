"""The noise of a run is told apart by tokens where repeats allow it, and intervals of a run follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from analysis.fitting.run_noise import slope_in_tokens
from planner.law_book import NORMAL
from support.clean_sweeps import SWEEPS
from support.known_runs import TRUTH, grid, rows_of

OPTIONS = {"n": "N", "d": "D", "loss": "loss", "family": "chinchilla"}


def repeated(slope: float, seed: int, times: int = 3) -> pd.DataFrame:
    """Repeats in every cell; noise of 1 % in the middle of ln D, proportional to D**-slope."""
    frame = pd.concat([grid(TRUTH, 5, 5)] * times, ignore_index=True)
    middle = np.log(frame.D.min() * frame.D.max()) / 2
    sd = 0.01 * np.exp(-slope * (np.log(frame.D) - middle))
    return frame.assign(loss=frame.loss * np.exp(np.random.default_rng(seed).normal(0, sd)))


def slopes(power: float, seeds) -> np.ndarray:
    """Told slope and p of the errors themselves, as a fit would leave them."""
    told = []
    for seed in seeds:
        frame = repeated(power, seed)
        told.append(slope_in_tokens(rows_of(frame), np.log(frame.loss / TRUTH.loss(frame.N, frame.D)).to_numpy()))
    return np.array(told)


def test_a_noise_that_is_the_same_everywhere_is_seldom_told_to_fall():
    slope, p = slopes(0.0, range(SWEEPS)).T
    assert (slope != 0).mean() <= 0.02
    assert (p < 0.1).mean() <= 0.2


@pytest.mark.parametrize("power", [0.25, 0.5, -0.25])
def test_a_noise_that_falls_is_told_with_its_power(power):
    slope, _ = slopes(power, range(20)).T
    assert (slope != 0).mean() > 0.8
    assert np.median(slope) == pytest.approx(power, abs=0.1)


def test_intervals_of_a_run_are_wider_where_repeats_scatter_more():
    frame = repeated(0.3, 1, times=4)
    book = fit_laws(frame, bootstraps=50, **OPTIONS)
    law = book.laws[0]
    assert "noise_in_tokens" in [caveat.code for caveat in book.warnings]
    assert law.noise == pytest.approx(0.01, rel=0.25)
    ends = law.measured.tokens
    for tokens in ends:
        true = 0.01 * np.exp(-0.3 * (np.log(tokens) - np.log(ends[0] * ends[1]) / 2))
        assert law.noise_at(tokens) == pytest.approx(true, rel=0.4)
    alone = replace(law, draws=())
    few, many = (np.log(np.divide(*reversed(alone.interval(1e5, tokens)))) / 2 / NORMAL for tokens in ends)
    assert few > 3 * many
    assert law.noise_at(ends[1] * 100) == law.noise_at(ends[1])  # nobody measured that it falls on


def test_without_repeats_no_power_is_told():
    frame = grid(TRUTH, 8, 8, 0.02)
    law = fit_laws(frame, bootstraps=20, **OPTIONS).laws[0]
    assert law.noise_slope == 0 and law.noise_at(1.0) == law.noise
    assert law.scatter["mad"] == pytest.approx(law.scatter["rms"], rel=0.4)
