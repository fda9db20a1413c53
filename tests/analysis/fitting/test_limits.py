"""Coefficients that the runs do not tell lie at an end of the search: that is said, and no interval is printed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import fit_laws, report
from analysis.fitting.limits import at_limits
from planner.laws import Chinchilla, Power, Rectified, Repeated
from support.clean_sweeps import DELTAS, SWEEPS, clean, solved
from support.known_runs import TRUTH, columns, grid


def told(sweep) -> list[str]:
    return [caveat.text for caveat in at_limits("all", 0, sweep)]


@pytest.mark.parametrize("delta", DELTAS)
def test_sweeps_that_tell_all_coefficients_are_not_at_a_limit(delta):
    assert sum(bool(told(sweep)) for sweep in clean(delta)) <= 0.02 * SWEEPS


def test_an_irreducible_loss_that_is_not_there_is_at_0():
    frame = grid(Power(A=500.0, alpha=0.2, beta=0.3), 6, 6, 0.005, seed=1)
    frame["loss"] *= np.exp(-0.02 * (np.log(frame.D) - np.log(frame.D).mean()) ** 2)  # falls faster than any power
    text = next(text for text in told(solved(frame, family="multiplicative")) if "E is at 0" in text)
    assert "does not mean that it is known" in text
    book = fit_laws(frame, family="multiplicative", bootstraps=20, n="N", d="D", loss="loss")
    assert "0 to 0" not in report.text(book)
    assert "at_limit" in [caveat.code for caveat in book.warnings]


def test_the_part_of_pretraining_that_was_not_there_is_told_to_be_unknown():
    texts = told(solved(grid(TRUTH, 8, 8, 0.002), family="rectified"))
    assert any("D_l (" in text and "move no run by more than its noise" in text for text in texts)
    own = Rectified(E=0.3, A=30.0, alpha=0.35, B=200.0, beta=0.4, D_l=2000.0)
    assert not any("D_l" in text for text in told(solved(grid(own, 8, 8, 0.002), family="rectified")))


def test_repeats_that_are_worth_fresh_tokens_are_at_the_upper_end():
    fresh = Repeated(**Chinchilla(0.3, 30.0, 0.35, 200.0, 0.4).coefficients, repeats=1e9)
    book = fit_laws(grid(fresh, 6, 6, 0.001), bootstraps=20, family="repeated", **columns(fresh))
    assert "repeats is at the upper end of the range of the fit (1e+03)" in " ".join(c.text for c in book.warnings)


def test_resamples_at_a_limit_count_too():
    sweep = clean(None, 1)[0]
    draws = sweep.draws.copy()
    draws[: int(0.6 * len(draws)), -1] = sweep.problem.limits()[0][-1]
    texts = told(replace(sweep, draws=draws))
    assert len(texts) == 1 and "beta is at the lower end of the range of the fit in 60 % of the resamples" in texts[0]
    assert np.isfinite(sweep.draws).all()
