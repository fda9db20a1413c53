"""The test of added terms keeps its level, however the law was fitted and whichever rows share a run."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.fitting.added_terms import added, slopes
from support.clean_sweeps import DELTAS, SWEEPS, clean, everyone
from support.known_runs import TRUTH, grid


def p_values(sweeps, terms=lambda rows: np.stack([rows.n**2, rows.n * rows.d, rows.d**2], axis=1)):
    for sweep in sweeps:
        rows = sweep.problem.rows
        yield added(sweep.residuals, slopes(sweep, everyone(sweep)), terms(rows), rows.run).p


@pytest.mark.parametrize("delta", DELTAS)
def test_the_level_is_kept(delta):
    p = np.array(list(p_values(clean(delta))))
    for level in (0.01, 0.1):
        assert (p < level).mean() <= 2 * level
    assert 0.35 < np.median(p) < 0.65


def test_terms_that_the_law_has_already_are_none():
    sweep = clean(None, 1)[0]
    own = slopes(sweep, everyone(sweep))
    assert added(sweep.residuals, own, own[:, :2], sweep.problem.rows.run) is None


def test_rows_of_one_run_that_share_its_error_are_no_evidence():
    frame, p = grid(TRUTH, 8, 6), []
    run = np.repeat(np.arange(16), 3)
    own = np.stack([np.ones(48), np.log(frame.N), np.log(frame.D)], axis=1)
    term = (np.log(frame.N).to_numpy() - np.log(frame.N).mean())[:, None] ** 2
    for seed in range(SWEEPS):
        chance = np.random.default_rng(seed)
        errors = chance.normal(0, 0.03, 16)[run] + chance.normal(0, 0.003, 48)
        p.append((added(errors, own, term, run).p, added(errors, own, term, np.arange(48)).p))
    by_run, by_row = np.array(p).T
    assert (by_run < 0.05).mean() <= 0.10
    assert (by_row < 0.05).mean() > 0.15  # what goes wrong without


def test_an_added_term_is_found_with_its_sign():
    sweep = clean(None, 2)[1]
    rows = sweep.problem.rows
    term = (rows.n * rows.d)[:, None]
    own = slopes(sweep, everyone(sweep))
    for sign in (-1, 1):
        found = added(sweep.residuals + sign * 0.02 * term[:, 0], own, term, rows.run)
        assert found.p < 1e-3 and sign * found.t[0] > 4
