"""Every schedule rises to the peak, never rises again, ends low; the names that trials may use are the real ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.encoder import POOLING
from runner.training.schedule import SCHEDULES, rate_factor
from sweeps.methods import Full
from sweeps.trial import POOLINGS, SCHEDULE_NAMES, Training, Trial


def test_the_names_trials_may_use_are_those_that_exist():
    assert set(SCHEDULE_NAMES) == set(SCHEDULES)
    assert set(POOLINGS) == set(POOLING)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 7, 100, 1000])
def test_a_schedule_rises_to_the_peak_and_falls_from_it(schedule, steps):
    factors = [rate_factor(schedule, step, steps, warmup=0.1, cooldown=0.3) for step in range(steps)]
    warmup = max(1, round(0.1 * steps))
    assert factors[warmup - 1] == 1.0
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    assert all(0 < factor <= 1 for factor in factors)
    if steps >= 100:
        assert factors[-1] < 0.05


def test_wsd_holds_the_peak_until_its_cooldown():
    factors = [rate_factor("wsd", step, 100, warmup=0.1, cooldown=0.2) for step in range(100)]
    assert set(factors[10:81]) == {1.0} and factors[83] < 1.0


@given(steps=st.integers(2, 3000), warmup=st.integers(1, 50), cooldown=st.floats(0.01, 0.99))
def test_until_its_branch_a_trial_does_what_any_longer_one_does(steps, warmup, cooldown):
    training = Training(warmup_steps=warmup, cooldown=cooldown)

    def factor(step, of):
        return rate_factor("wsd", step, of, training.warmup, cooldown, warmup)

    cooldown_start = Trial("nano-25k", Full(), training, 1e-3, steps).cooldown_start
    if warmup < steps:
        assert warmup <= cooldown_start <= steps
        assert all(factor(step, steps) == factor(step, 10 * steps + 7) for step in range(cooldown_start))
        assert all(
            factor(step, steps) < 1 for step in range(cooldown_start + 1, steps)
        )  # at the cooldown_start it may be 1 still
    else:
        assert cooldown_start == warmup  # which is refused: it would never be warm


def test_an_absolute_warm_up_takes_the_place_of_the_share():
    absolute = [rate_factor("wsd", step, 100, 0.5, 0.2, warmup_steps=10) for step in range(100)]
    assert absolute == [rate_factor("wsd", step, 100, 0.1, 0.2) for step in range(100)]
