"""Facts as a prior: runs move its draws to the truth, and runs that tell nothing leave them where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.fitting.published.choices import by_group, losses_at, odds_at
from analysis.fitting.published.facts_file import paper_of, read_paper
from analysis.fitting.published.sample import sample
from analysis.fitting.published.weigh import OTHER, SAME, Runs, Spread, log_likelihoods, weigh
from support.printed_lines import facts_of, truths

ZIARKO = Path(__file__).resolve().parents[4] / "results" / "ziarko2024"
SMALL = ("pythia-70m", "pythia-160m", "pythia-410m")
BUDGET = 1e19


@pytest.fixture(scope="module")
def paper():
    return read_paper(ZIARKO)


def runs_of(paper, truth, spread, budgets, models, noise=0.02, factors=(0.0, 0.0, 0.0), seed=0):
    """Runs of full tuning and LoRA by the laws of one draw; factors: ln of what the data do to E, A and B."""
    rng = np.random.default_rng(seed)
    settings, rows = (("full", "full"), ("lora", "r32")), []
    for place, (group, member) in enumerate(settings):
        cells = paper.grid.beyond(paper.groups[group].members[member], budgets)
        c = {name: float(values[0]) for name, values in truth.laws[group].coefficients(member).items()}
        for model, size, tokens in zip(
            paper.grid.menu, np.exp(cells.log_sizes), np.exp(cells.log_tokens.T), strict=True
        ):
            if model.name in models:
                E, A, B = np.exp(factors) * [c["E"], c["A"] * size ** -c["alpha"], c["B"]]
                rows += [(place, size, D, np.log(E + A + B * D ** -c["beta"])) for D in tokens if np.isfinite(D)]
    place, sizes, tokens, logs = (np.array(column) for column in zip(*rows, strict=True))
    return Runs(place, settings, sizes, tokens, logs + noise * rng.normal(size=len(logs)), spread)


def test_the_likelihood_is_the_mean_over_the_factors_that_are_free(paper):
    truth, _ = sample(paper, paper.facts, 1, seed=4)
    runs = runs_of(paper, truth, Spread(0.05, 0.04, 0.02), [1e16], SMALL)
    rng, count = np.random.default_rng(0), 400_000
    common = 0.05 * rng.normal(size=(count, 1)) + 0.04 * rng.normal(size=(count, 3))
    off = np.zeros((count, len(runs.params)))
    for place, (group, member) in enumerate(runs.settings):
        mine = runs.place == place
        c = {name: float(values[0]) for name, values in truth.laws[group].coefficients(member).items()}
        E, A, B = np.exp(common + 0.02 * rng.normal(size=(count, 3))).T[:, :, None]
        size, data = c["A"] * runs.params[mine] ** -c["alpha"], c["B"] * runs.tokens[mine] ** -c["beta"]
        off[:, mine] = runs.log_losses[mine] - np.log(E * c["E"] + A * size + B * data)
    for noise in (0.02, 0.03):
        logs = -0.5 * (off**2).sum(axis=1) / noise**2 - len(runs.params) * np.log(noise)
        told = log_likelihoods(truth, np.array([noise]), runs)
        assert told[0] == pytest.approx(np.logaddexp.reduce(logs) - np.log(count), abs=0.05)


def test_under_the_same_conditions_nothing_is_free(paper):
    truth, _ = sample(paper, paper.facts, 1, seed=4)
    runs = runs_of(paper, truth, SAME, [1e16], SMALL, noise=0.0)
    for noise in (0.01, 0.02):
        told = log_likelihoods(truth, np.array([noise]), runs)
        assert told[0] == pytest.approx(-len(runs.params) * np.log(noise), abs=1e-6)


def test_a_run_that_tells_nothing_leaves_the_facts_as_they_are():
    """One run, at a height of all losses that is free, as after a change of pools."""
    paper = paper_of(facts_of(next(truths(1)), noise=0.02, seed=0), "unwritten")
    budget = 10 * paper.grid.budgets[-1]
    facts, _ = sample(paper, paper.facts, 300, seed=8)
    where = [np.array([value]) for value in (1e5, 1e7, 1.0)]
    run = Runs(np.array([0]), (("full", "full"),), *where, Spread(level=1.0))
    weighed = weigh(paper, run, 300, seed=1)
    before, after = (by_group(odds_at(draws, budget)) for draws in (facts, weighed.draws))
    assert after["full"] == pytest.approx(before["full"], abs=0.12)
    for name in ("alpha", "beta", "log_size"):
        was, now = (getattr(draws.laws["full"], name) for draws in (facts, weighed.draws))
        assert np.mean(now) == pytest.approx(np.mean(was), abs=0.3 * np.std(was)), name
        assert np.std(now) == pytest.approx(np.std(was), rel=0.25), name
    assert weighed.effective > 75 and len(weighed.draws) == 300


@pytest.fixture(scope="module")
def drawn(paper):
    """Draws of what may be true, and those that the facts allow."""
    return [sample(paper, paper.facts, count, seed=seed)[0] for count, seed in ((2, 99), (60, 5))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_runs_on_real_shapes_move_the_draws_to_the_truth(paper, drawn, seed):
    possible, facts = drawn
    truth = possible.take(np.array([seed]))
    runs = runs_of(paper, truth, OTHER, [4e15, 1.6e16, 6.4e16], SMALL)
    weighed = weigh(paper, runs, 120, seed=3)
    _, true = losses_at(truth, BUDGET)
    regrets, misses = [], []
    for draws in (facts, weighed.draws):
        _, losses = losses_at(draws, BUDGET)
        chosen = np.exp(losses).mean(axis=0).argmin()
        regrets.append(float(np.exp(true[0, chosen] - true.min()) - 1))
        about = (losses - losses.mean(axis=1, keepdims=True)) - (true - true.mean())  # what decides
        misses.append(float(np.sqrt((about**2).mean())))
    assert misses[1] < 0.75 * misses[0] and regrets[1] <= regrets[0] + 1e-9
    assert abs(np.log(np.median(weighed.noise) / 0.02)) < np.log(2)
    assert weighed.effective > 20
