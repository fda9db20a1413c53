"""A shuffle of any number of things that is computed only where it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import numpy as np

ROUNDS = 6


def shuffled(places: np.ndarray, size: int, seed: Sequence[int]) -> np.ndarray:
    """Returns what stands at `places` of a shuffle of 0 .. size - 1; time and memory are those of `places` alone.

    A Feistel network over Z_a x Z_a, with a the side of the smallest square that holds `size`; what falls outside is
    sent through again (Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 4).
    """
    side = isqrt(size - 1) + 1
    keys = np.random.SeedSequence(seed).generate_state(ROUNDS, np.uint64)
    shuffled_places = _network(np.asarray(places, np.uint64), side, keys)
    while len(outside := np.flatnonzero(shuffled_places >= size)):
        shuffled_places[outside] = _network(shuffled_places[outside], side, keys)
    return shuffled_places.astype(np.int64)


def _network(values: np.ndarray, side: int, keys: np.ndarray) -> np.ndarray:
    left, right = np.divmod(values, np.uint64(side))
    for key in keys:
        left, right = right, (left + (_mix(right ^ key) >> np.uint64(1))) % np.uint64(side)  # half of it: no overflow
    return left * np.uint64(side) + right


def _mix(values: np.ndarray) -> np.ndarray:
    """Returns 64 bits that depend on all 64 given (the finaliser of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
