"""Exponents are shared only where the runs of the methods do not contradict it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from analysis.fitting.forms import SHAPES
from analysis.fitting.sharing import contradiction, own_bottoms, own_exponents
from analysis.tables.rows import Rows
from planner.laws import Chinchilla
from support.known_runs import TRUTH, grid, rows_of

SIMILAR = [replace(TRUTH, A=TRUTH.A * k, B=TRUTH.B / k) for k in (1.0, 1.2, 0.9)]
# Compute-optimal exponents of N from 0.50 to 0.86, as those of published protocols.
PROTOCOLS = [Chinchilla(E=0.3, A=30.0, alpha=0.7 * (1 - a), B=200.0, beta=0.7 * a) for a in np.linspace(0.50, 0.86, 15)]


def centred(share: float) -> Chinchilla:
    """A law whose best size grows as C**share, through the middle of a grid of 10 sizes and 6 budgets."""
    alpha, beta, size, budget = 0.6 * (1 - share), 0.6 * share, 25e3 * 2.1**4.5, 1e12 * 4**2.5
    A = 0.3 * size**alpha
    return Chinchilla(E=0.5, A=A, alpha=alpha, B=0.3 * alpha / beta * (budget / 6 / size) ** beta, beta=beta)


def methods(laws, noise: float, seed: int = 0, sizes: int = 6, budgets: int = 5) -> Rows:
    """The runs of one method a law, each in a grid of its own."""
    parts = [rows_of(grid(law, sizes, budgets, noise, 1000 * seed + g)) for g, law in enumerate(laws)]
    names = [name for name in Rows.__dataclass_fields__ if name not in ("times", "B")]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    count = sum(map(len, parts))
    return Rows(**{**columns, "run": np.arange(count), "group": np.repeat(np.arange(len(parts)), count // len(parts))})


@pytest.mark.slow
def test_at_most_two_of_a_hundred_sweeps_that_share_exponents_are_told_not_to():
    rows = [methods(SIMILAR, 0.02, seed) for seed in range(200)]
    p = np.array([(own_exponents(some, SHAPES["chinchilla"], 0.027), own_bottoms(some)) for some in rows])
    assert ((p < 0.005).mean(axis=0) <= 0.01).all()
    assert (p.min(axis=1) < 0.005).mean() <= 0.02


@pytest.mark.parametrize("delta", [1e-3, 0.027])
def test_exponents_that_are_alike_are_not_contradicted(delta):
    assert sum(contradiction(methods(SIMILAR, 0.02, seed), SHAPES["chinchilla"], delta) != "" for seed in range(8)) <= 1


@pytest.mark.parametrize("family", ["chinchilla", "tied"])
@pytest.mark.parametrize("noise", [0.003, 0.01, 0.02])
def test_fifteen_protocols_with_exponents_of_their_own_are_told(noise, family):
    assert "exponents of their own" in contradiction(methods(PROTOCOLS, noise), SHAPES[family], 1e-3)


def protocols(noise: float = 0.005) -> pd.DataFrame:
    runs = [grid(law, 6, 5, noise, g).assign(protocol=g) for g, law in enumerate(PROTOCOLS)]
    return pd.concat(runs, ignore_index=True)


OPTIONS = {"n": "N", "d": "D", "loss": "loss", "method": "protocol", "family": "chinchilla", "bootstraps": 20}


@pytest.mark.slow
def test_by_themselves_protocols_keep_their_own_exponents():
    book = fit_laws(protocols(), **OPTIONS)
    assert not any(law.shared for law in book.laws)
    found = [law.law.beta / (law.law.alpha + law.law.beta) for law in book.laws]
    assert found == pytest.approx(list(np.linspace(0.50, 0.86, 15)), abs=0.09)  # all near 0.68 where they are shared


@pytest.mark.slow
def test_exponents_that_are_shared_as_asked_are_warned_of():
    shared = fit_laws(protocols(), exponents="shared", **OPTIONS)
    assert all(law.shared for law in shared.laws)
    assert [caveat.code for caveat in shared.warnings].count("exponents_differ") == 1


def test_isoflop_minima_tell_protocols_apart_without_any_law():
    assert own_bottoms(methods([centred(0.4), centred(0.6)], 0.002, sizes=10, budgets=6)) < 0.005
    assert own_bottoms(methods([centred(0.5), centred(0.5)], 0.002, sizes=10, budgets=6)) > 0.05
    assert own_bottoms(methods(SIMILAR[:1], 0.01)) == 1.0
