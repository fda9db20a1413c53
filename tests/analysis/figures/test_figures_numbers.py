"""The numbers behind the figures: optimal sizes, forecasts, smoothing, contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.figures.axes import flops, round_numbers
from analysis.figures.backtest import _forecasts
from analysis.figures.budgets import shades
from analysis.figures.curves import _points, smoothed
from analysis.figures.labels import readable
from analysis.figures.residuals import running_mean
from analysis.figures.style import COLOURS, LONGEST, plain
from analysis.fitting.backtest import FamilyChoice, forecasts
from analysis.fitting.estimate import Settings
from analysis.fitting.fit import fit_table
from analysis.fitting.forms import SHAPES
from analysis.frontier import optimum
from analysis.tables.columns import Columns
from analysis.tables.foreign_table import runs_table
from planner.law_book import MeasuredRange
from planner.laws import Chinchilla
from planner.palette import FAMILIES
from support.known_laws import method_law
from support.made_sweep import observation
from support.pictures import MODELS
from sweeps.methods import Full
from sweeps.trial import Training

LAW = Chinchilla(E=0.5, A=30.0, alpha=0.30, B=400.0, beta=0.36)


def runs() -> pd.DataFrame:
    """A grid whose every run spends 6 FLOPs per parameter and token."""
    grid = [(n, c / (6 * n)) for n in (1e6, 3e6, 1e7, 3e7) for c in (1e15, 1e16, 1e17)]
    frame = pd.DataFrame(grid, columns=["n", "d"])
    return frame.assign(loss=LAW.loss(frame["n"], frame["d"]))


def law(**other):
    measured = MeasuredRange(flops=(1e15, 1e17), params=(1e6, 3e7), tokens=(1e6, 2e10))
    return replace(method_law(LAW, {"name": "full"}), measured=measured, **other)


def test_the_optimum_is_that_of_the_formula():
    table = runs_table(runs(), Columns(loss="loss", n="n", d="d"))
    budgets = np.geomspace(1e15, 1e17, 9)
    params, tokens = optimum(law(), table.rows, budgets)
    factor = (LAW.alpha * LAW.A / (LAW.beta * LAW.B)) ** (1 / (LAW.alpha + LAW.beta))  # Hoffmann et al. 2022, eq. 4
    expected = factor * (budgets / 6) ** (LAW.beta / (LAW.alpha + LAW.beta))
    assert params.middle == pytest.approx(expected, rel=0.04)  # sizes looked at lie 3.3 % apart
    assert params.middle * tokens.middle == pytest.approx(budgets / 6, rel=1e-9)
    assert (params.low <= params.middle).all() and (params.middle <= params.high).all()
    assert (tokens.low <= tokens.middle).all() and (tokens.middle <= tokens.high).all()


def test_an_optimum_beyond_the_range_is_unknown_and_its_interval_open():
    table = runs_table(runs(), Columns(loss="loss", n="n", d="d"))
    flat = Chinchilla(E=0.5, A=1e9, alpha=1.0, B=1e-9, beta=0.3)  # ever larger models are better
    beyond = law(law=flat, draws=(flat,) * 5)
    params, tokens = optimum(beyond, table.rows, np.array([1e15, 1e17]))
    assert np.isnan(params.middle).all() and np.isnan(tokens.middle).all()
    assert np.isinf(params.high).all() and (tokens.low == 0).all()


def test_forecasts_of_noiseless_runs_are_right_and_lie_beyond_the_fit():
    table = runs_table(
        pd.concat([runs(), runs().assign(d=lambda f: f["d"] * 3.1)]).assign(loss=lambda f: LAW.loss(f["n"], f["d"])),
        Columns(loss="loss", n="n", d="d"),
    )
    rows = table.of(list(table.settings))
    predictions = forecasts({FamilyChoice("chinchilla", SHAPES["chinchilla"]): 1.0}, rows, 6, 1e-3)
    assert set(predictions.along) == {"C", "N"}
    assert (predictions.factor > 1).all()
    assert predictions.predicted == pytest.approx(rows.loss[predictions.place], rel=2e-3)


def test_where_a_coefficient_is_held_so_it_is_in_the_fits_to_smaller_runs():
    budgets = pd.concat([runs().assign(d=lambda f, k=k: f["d"] * k) for k in (1.0, 3.1)])
    frame = budgets.assign(loss=lambda f: LAW.loss(f["n"], f["d"]))
    table = runs_table(frame, Columns(loss="loss", n="n", d="d"))
    misses = {}
    for alpha in (LAW.alpha, 1.2):
        book = fit_table(table, Settings("chinchilla", bootstraps=20, fixed={"alpha": alpha}))
        (drawn,) = _forecasts(table, book)["C"]
        misses[alpha] = np.abs(drawn.predicted / drawn.measured - 1).max()
    assert misses[LAW.alpha] < 2e-3 and misses[1.2] > 0.01


def test_a_smoothed_curve_keeps_levels_and_slopes_and_drops_noise():
    steps = np.arange(1.0, 200.0)
    for straight in (np.full(199, 2.5), 4 - np.log(steps)):  # to its very ends
        assert smoothed(steps, straight) == pytest.approx(straight, abs=1e-5)
    noise = np.random.default_rng(0).normal(0, 1, 199)
    assert np.std(smoothed(steps, noise)[50:]) < 0.4


def test_a_running_mean_of_residuals_is_their_mean_where_runs_are_alike_and_shows_a_trend():
    values = np.repeat([1e3, 1e6, 1e9], 4)
    at, mean = running_mean(values, np.tile([-1.0, 1.0, 2.0, -2.0], 3) + np.repeat([0.0, 3.0, 6.0], 4))
    assert at == pytest.approx([1e3, 1e6, 1e9]) and mean == pytest.approx([0, 3, 6], abs=1e-3)
    many = np.geomspace(1, 1e6, 300)
    at, mean = running_mean(many, np.log10(many))
    assert len(at) < 100 and (np.diff(mean) > 0).all()


def test_a_curve_borrows_from_its_trunk_up_to_the_earlier_branch_only():
    training = Training(warmup_steps=20)
    short, long = (observation(MODELS[1], Full(), LAW, budget, training=training) for budget in (1e13, 4e13))
    assert short.trial.trunk == long.trial.trunk and short.trial.cooldown_start < long.trial.cooldown_start
    short, long = (
        replace(o, curve=tuple((s, 10 * s, float(place)) for s in range(1 + place, o.trial.steps + 1, 2)))
        for place, o in enumerate((short, long))
    )
    steps, _, losses = _points(long, [short, long])
    borrowed = steps[losses == 0]
    assert len(borrowed) and borrowed.max() <= short.trial.cooldown_start


@pytest.mark.parametrize(
    "colour",
    [*COLOURS, *(look.colour for look in FAMILIES.values()), *map(tuple, shades(6))],
    ids=str,
)
def test_words_on_white_can_be_read(colour):
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in readable(colour))
    assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 4.5


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.1), (0.9, 4.2), (3e9, 5e13), (1e11, 3e11), (2.0, 900.0)])
def test_ticks_are_few_round_and_inside(low, high):
    ticks = round_numbers(low, high, 6)
    assert 2 <= len(ticks) <= 6
    assert all(low <= value <= high and float(f"{value:.3g}") == pytest.approx(value) for value in ticks)


def test_numbers_and_names_are_said_plainly():
    assert [flops(value) for value in (1e12, 3e11, 9.96e10)] == ["$10^{12}$", r"$3\times10^{11}$", "$10^{11}$"]
    assert plain("a\nb\x00c $x$ \\y") == r"a b c \$x\$ /y"
    assert len(plain("n" * 99)) == LONGEST
