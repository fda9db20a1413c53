"""A shuffle that is computed only where it is looked at is still a shuffle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.data.shuffle import shuffled


@settings(max_examples=60)
@given(size=st.integers(1, 3000), seed=st.integers(0, 2**40), epoch=st.integers(0, 99))
def test_every_size_and_seed_gives_each_number_once(size, seed, epoch):
    assert sorted(shuffled(np.arange(size), size, [seed, epoch])) == list(range(size))


@pytest.mark.parametrize("size", [2**17 + 1, 10**6 - 1, 1000**2, 1000**2 + 1])
def test_large_sizes_give_each_number_once(size):
    assert (np.bincount(shuffled(np.arange(size), size, [3, 1])) == 1).all()


def test_a_window_is_a_part_of_the_whole_at_any_size():
    whole = shuffled(np.arange(5000), 5000, [1, 2])
    assert np.array_equal(shuffled(np.arange(4321, 4400), 5000, [1, 2]), whole[4321:4400])
    huge = shuffled(np.arange(10**8 - 10, 10**8), 10**8, [1, 2])
    assert len(set(huge.tolist())) == 10 and huge.min() >= 0 and huge.max() < 10**8


def test_each_thing_may_stand_anywhere_next_to_any_other():
    """Over many seeds, places of things and of their neighbours are as even as chance makes them."""
    size, seeds = 40, 4000
    orders = np.array([shuffled(np.arange(size), size, [seed, 0]) for seed in range(seeds)])
    gaps = (np.diff(orders, axis=1) % size - 1).ravel()
    for what, cells in ((orders[:, 0], size), (orders[:, 17], size), (np.argmin(orders, 1), size), (gaps, size - 1)):
        counts = np.bincount(what, minlength=cells)
        expected = len(what) / cells
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert chi2 < cells + 5 * np.sqrt(2 * cells)  # five standard deviations


def test_epochs_and_seeds_differ():
    orders = [shuffled(np.arange(1000), 1000, seed) for seed in ([0, 0], [0, 1], [1, 0])]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (orders[one] == orders[other]).mean() < 0.02
