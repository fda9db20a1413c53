"""Numbers as people write and read them."""

import pytest

from planner.extrapolation import times
from planner.quantities import time_text

TIMES = {0.0044: "4.4 ms", 14: "14 s", 390: "6.5 min", 86400: "24 h"}
FACTORS = {1.6: "1.6x", 83: "83x", 99.7: "100x", 612: "610x", 1100: "1,100x", 1e6: "1e6x"}


@pytest.mark.parametrize("seconds", TIMES)
def test_times_have_the_unit_that_people_use(seconds):
    assert time_text(seconds) == TIMES[seconds]


@pytest.mark.parametrize("factor", FACTORS)
def test_factors_have_no_exponent_where_digits_are_shorter(factor):
    assert times(factor) == FACTORS[factor]
