"""Random numbers that are kept: the same laws come of them again, and moves leave what is likely as likely."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from analysis.fitting.published.chance import Chance
from analysis.fitting.published.facts_file import paper_of
from analysis.fitting.published.sample import propose, sample
from support.printed_lines import facts_of, truths


def test_the_same_numbers_make_the_same_laws():
    paper = paper_of(facts_of(next(truths(1)), noise=0.02, seed=0), "unwritten")
    draws, _ = sample(paper, paper.facts, 20, seed=1)
    again, rows = propose(paper, paper.facts, Chance(np.random.default_rng(9), 20, draws.chance.kept))
    assert list(rows) == list(range(20))
    for name, laws in draws.laws.items():
        assert (again.laws[name].alpha == laws.alpha).all() and (again.laws[name].log_size == laws.log_size).all()


@pytest.mark.parametrize("move", ["turned", "crossed"])
def test_moves_leave_the_distribution_as_it_is(move):
    chance = Chance(np.random.default_rng(0), 2000)
    chance.uniform(3.0, 5.0)
    chance.normal()
    chance.normal(2)
    chance.order(3)
    begin = chance
    for _ in range(60):
        proposed, likelier = getattr(chance, move)()
        chance = chance.where(proposed, np.log(chance.rng.random(2000)) < likelier)
    shares, first, pairs, orders = (column.values for column in chance.kept)
    assert kstest(shares, "uniform").pvalue > 0.001
    assert kstest(first, "norm").pvalue > 0.001
    assert kstest(pairs[:, 0], "norm").pvalue > 0.001 and abs(np.corrcoef(pairs.T)[0, 1]) < 0.1
    assert (np.sort(orders, axis=1) == [0, 1, 2]).all() and orders.mean(axis=0) == pytest.approx(1.0, abs=0.1)
    assert abs(np.corrcoef(first, begin.kept[1].values)[0, 1]) < 0.3  # it has moved


def test_rows_are_taken_with_all_their_numbers():
    chance = Chance(np.random.default_rng(0), 5)
    shares, normals = chance.uniform(0.0, 1.0, 2), chance.normal(3)
    some = chance.take(np.array([4, 4, 0]))
    assert some.rows == 3
    some.given = 0
    assert (some.uniform(0.0, 1.0, 2) == shares[:, [4, 4, 0]]).all() and (some.normal(3) == normals[[4, 4, 0]]).all()
