"""Scores that are expected of a predicted loss: they follow the relation, and never leave what a score can be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.scores import ScoreLaw, expected_scores

SPREAD = ((0.04, -0.02, 0.0), (-0.02, 0.012, 0.0), (0.0, 0.0, 1e-6))
LAW = ScoreLaw("x ndcg@10", 0.0, 0.6, -1.5, 0.1, SPREAD, 0.02, 1.7, 20, (1.0, 3.0), (1e5, 1e7), -0.95)


N = 1e6


def test_a_lower_loss_is_expected_to_score_more_and_never_more_than_1():
    scores = [law.score for law in expected_scores([LAW], 1e-9, 0.0, 0.1, N) + expected_scores([LAW], 2.0, 1.9, 2.1, N)]
    assert scores[0] > scores[1]
    for loss in (-1000.0, 0.0, 1.5, 40.0, 1000.0):
        low, high = LAW.interval(loss, loss - 1, loss + 1, N)
        assert 0 <= low <= LAW.at(loss, N) <= high <= 1


def test_every_doubt_widens_the_interval():
    (known,) = expected_scores([LAW], 2.0, 2.0, 2.0, N)
    (unsure,) = expected_scores([LAW], 2.0, 1.5, 2.5, N)
    assert unsure.low < known.low < known.score == unsure.score < known.high < unsure.high
    assert known.score - known.low > LAW.width * LAW.noise  # the scatter is the least of it
    assert known.within_range and not expected_scores([LAW], 4.0, 3.9, 4.1, N)[0].within_range
    assert not expected_scores([LAW], 2.0, 1.9, 2.1, 1e9)[0].within_range


def test_a_correlation_may_be_expected_below_zero():
    signed = replace(LAW, score="x spearman", lowest=-1.0, a=1.0, b=-1.0, c=0.0)
    assert signed.at(1.0, N) == pytest.approx(0.0) and signed.at(9.0, N) < -0.9
