"""Which trials are a search of learning rates, and the loss between the rates that were tried."""

import json
import math
from dataclasses import replace

import pytest

from analysis import report
from analysis.tables.rate_curves import RateCurve, rate_curves
from analysis.tables.sweep_table import read_sweep
from planner.law_file import read_laws
from support.ladder import NANO
from support.made_sweep import observations, write_sweep
from sweeps.methods import Full
from sweeps.trial import Observation, Training, Trial, failure


def tried(lr: float, loss: float | None, steps: int = 100, **training) -> Observation:
    trial = Trial("nano-100k", Full(), Training(**training), lr, steps)
    if loss is None:
        return failure(trial, "training loss is inf", "diverged")
    return Observation(trial, "done", loss=loss, params=98_560)


def curves(*tries: Observation, min_steps: int = 50) -> tuple[RateCurve, ...]:
    return rate_curves(tries, Training(), lambda observation: observation.loss or math.nan, min_steps)


def test_trials_that_differ_in_their_rate_alone_are_a_search():
    (curve,) = curves(tried(3e-3, 2.0), tried(1e-3, 2.2), tried(9e-3, None), tried(1e-3, 2.3, steps=200))
    assert curve.rates == (1e-3, 3e-3, 9e-3) and curve.losses == (2.2, 2.0, math.inf)
    assert curve.best == 3e-3 and curve.at_an_end == 0 and curve.batch_size == 64
    assert curves(tried(1e-3, 2.2), tried(3e-3, 2.0), min_steps=101) == ()


def test_batch_sizes_are_searches_of_their_own_and_other_conditions_none():
    both = curves(*(tried(lr, 2.0 + lr, batch_size=size) for lr in (1e-3, 3e-3) for size in (8, 64)))
    assert sorted(curve.batch_size for curve in both) == [8, 64]
    assert curves(*(tried(lr, 2.0 + lr, temperature=0.1) for lr in (1e-3, 3e-3))) == ()


def test_the_loss_between_rates_is_that_of_a_parabola_around_the_best_and_of_straight_lines_beyond():
    curve = RateCurve(Full(), "nano-100k", 98_560, 24, (1e-4, 1e-3, 1e-2, 1e-1), (4.0, 2.0, 2.0, 3.0))
    ten = math.log(10)
    assert curve.log_loss_at(math.sqrt(1e-5)) < math.log(2)  # the bottom
    for rate, loss in zip(curve.rates, curve.losses, strict=True):
        assert curve.log_loss_at(rate) == pytest.approx(math.log(loss))
    assert curve.log_loss_at(1.0) == pytest.approx(math.log(3) + math.log(1.5))
    assert curve.log_loss_at(3e-2) == pytest.approx(math.log(2) + math.log(1.5) * math.log(3) / ten)


def test_a_fit_writes_a_rule_that_is_read_again(tmp_path):
    from analysis import fit_laws

    made = []
    for observation in observations(noise=0.01):
        made.append(observation)
        if observation.trial.steps < 3000:
            made += [
                replace(observation, trial=replace(observation.trial, lr=lr), loss=1.05 * (observation.loss or 0))
                for lr in (3e-4, 3e-3)
            ]
    folder = write_sweep(tmp_path / "made", made)
    table = read_sweep(folder)
    assert table.rate_curves and {curve.best for curve in table.rate_curves} == {1e-3}
    book = fit_laws(folder, bootstraps=20)
    told = report.text(book)
    assert f"full: {book.laws[0].rate_rule.formula()}" in told and "  all" in told
    (tmp_path / "laws.json").write_text(json.dumps(book.to_json()))
    again = read_laws(tmp_path / "laws.json")
    for law, read in zip(book.laws, again.laws, strict=True):
        assert law.rate_rule == read.rate_rule is not None
        assert read.rate_rule.predict(NANO[2].params, 64, 8)[0] == pytest.approx(1e-3, rel=0.2)
