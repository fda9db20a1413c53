"""What laws may miss: how far draws spread beyond the data and elsewhere, whatever families they are of."""

from __future__ import annotations

import math
import statistics

import pytest

from planner.discrepancy import DRIFT, METHOD_SPREAD, carried, drift
from planner.laws import family_of
from support.known_laws import FULL, MEASURED, mean_of_some, method_law


@pytest.mark.parametrize(("learnt", "sd"), [(None, DRIFT), (0.0, 0.0), (0.011, 0.011), (0.2, 0.2)])
def test_model_error_is_what_the_fit_learnt_and_grows_with_the_decades(learnt, sd):
    law = method_law(FULL, {"name": "full"}, drift=learnt)
    within = MEASURED.flops[1], MEASURED.params[1], MEASURED.tokens[1]
    assert drift(law, *within) == ()
    for decades in (1.0, 2.5):
        factors = drift(law, within[0] * 10**decades, *within[1:])
        assert len(factors) == len(law.draws)
        assert statistics.pstdev(map(math.log, factors)) == pytest.approx(sd * decades, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_draws_of_any_family_are_carried_with_their_own_factors_alone(seed):
    law = method_law(mean_of_some(seed), {"name": "full"})
    there = carried(law, "pythia", "")
    assert carried(law, "", "") is law
    assert there.law == law.law and [family_of(x) for x in there.draws] == [family_of(x) for x in law.draws]
    for before, after in zip(law.draws, there.draws, strict=True):
        moved = {name for name, value in after.coefficients.items() if value != before.coefficients[name]}
        assert moved == set(before.factors)


def test_an_error_of_a_place_is_the_same_in_every_method_but_for_a_smaller_one_of_its_own():
    laws = [method_law(mean_of_some(1), {"name": name}) for name in ("full", "bias")]
    moved = [
        [math.log(there.A / here.A) for here, there in zip(law.draws, carried(law, "pythia", "").draws, strict=True)]
        for law in laws
    ]
    apart = [one - other for one, other in zip(*moved, strict=True)]
    assert statistics.pstdev(apart) == pytest.approx(METHOD_SPREAD * math.sqrt(2), rel=0.3)
    assert statistics.pstdev(moved[0]) > 2 * statistics.pstdev(apart)
