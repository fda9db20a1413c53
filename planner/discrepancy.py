"""What laws may miss where nobody measured them: beyond their range, on another suite of models, on other data.

The draws of a law book know only how surely its own runs or facts tell the coefficients. Here they are spread by the
discrepancy between law and truth as well (Kennedy and O'Hagan 2001): normal errors, whose sizes are assumptions that
the answer names. The errors follow from names alone, so that the same question has the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from planner.extrapolation import extrapolation_factor
from planner.law_book import MethodLaw
from planner.laws import scaled

# How the factors of laws (E, A, B) differ on a suite that was not measured, as sd of their logs: in common for all
# methods, and besides for each method. Assumed, not fitted.
FACTOR_SPREAD = 0.3
METHOD_SPREAD = 0.1
# On data that were not measured all losses differ by one factor, as sd of its log: three data sets had 1.00, 0.42 and
# 0.32 times the loss of the law of a fourth, at every size and budget alike (results/reference/README.md, "Other
# data"). Each method's factors differ besides.
LEVEL_SPREAD = 0.8
# Sd of the log loss for every decade beyond the measured compute, model size or data size, of laws whose fit has not
# learnt it; that of the reference sweep learnt 2.8 %.
DRIFT = 0.03
FARTHEST = 3.0  # decades beyond the range in one of the three: further on there is no loss and no probability
MODULUS = 2**31 - 1
MULTIPLIER = 48271  # the minimal standard generator of Park, Miller and Stockmeyer (1993)
SKIPPED = 4  # numbers: names that differ in one letter start close to one another


@cache
def normals(name: str, count: int) -> tuple[float, ...]:
    """So many normal numbers that belong to a name; their mean is 0 and their sd 1 exactly."""
    state = 1
    for letter in name:
        state = (state * 31 + ord(letter)) % MODULUS
    state = state or 1
    uniform: list[float] = []
    for _ in range(2 * (count + SKIPPED)):
        state = state * MULTIPLIER % MODULUS
        uniform.append(state / MODULUS)
    drawn = [
        math.sqrt(-2 * math.log(uniform[2 * i])) * math.cos(2 * math.pi * uniform[2 * i + 1])
        for i in range(SKIPPED, count + SKIPPED)
    ]
    mean = sum(drawn) / count
    sd = math.sqrt(sum((value - mean) ** 2 for value in drawn) / count) or 1.0
    return tuple((value - mean) / sd for value in drawn)


def carried(law: MethodLaw, suite: str, data: str) -> MethodLaw:
    """The law on a suite and on data that it has not seen: the same coefficients, draws with a wider spread.

    suite, data: their names; "" for those that it has seen.

    An error of the same name is the same for every method, and a smaller one of its own comes on top.
    """
    count = len(law.draws)
    if not count or not (suite or data):
        return law
    names = {name for draw in law.draws for name in draw.factors}  # draws are of several families
    spreads = {name: _spread(law.label, name, suite, data, count) for name in names}
    draws = []
    for place, draw in enumerate(law.draws):
        draws.append(scaled(draw, {name: spreads[name][place] for name in draw.factors}))
    return replace(law, draws=tuple(draws))


def _spread(label: str, factor: str, suite: str, data: str, count: int) -> list[float]:
    """What a factor of a law is multiplied with in each draw."""
    logs = [0.0] * count
    if suite:
        logs = _moved(logs, FACTOR_SPREAD, f"{suite} {factor}")
        logs = _moved(logs, METHOD_SPREAD, f"{suite} {factor} {label}")
    if data:
        logs = _moved(logs, LEVEL_SPREAD, f"{data} level")
        logs = _moved(logs, METHOD_SPREAD, f"{data} {factor} {label}")
    return [math.exp(log) for log in logs]


def _moved(logs: Sequence[float], spread: float, name: str) -> list[float]:
    """The logs with normal errors of this sd, which belong to a name, added."""
    errors = normals(name, len(logs))
    return [log + spread * error for log, error in zip(logs, errors, strict=True)]


def drift_sd(law: MethodLaw) -> float:
    """Sd of the log loss for every decade beyond the measured range: learnt by the fit, else assumed."""
    return DRIFT if law.drift is None else law.drift


def drift(law: MethodLaw, flops: float, params: float, tokens: float) -> tuple[float, ...]:
    """By what the loss of each draw is multiplied for the decades beyond the measured compute, N and D.

    The error in compute is common to all methods; those in N and in D belong to the method. Empty within the range.
    """
    count, measured = len(law.draws), law.measured
    compute = math.log10(extrapolation_factor(flops, measured.flops))
    size = math.log10(extrapolation_factor(params, measured.params))
    data = math.log10(extrapolation_factor(tokens, measured.tokens))
    if not count or not (compute or size or data):
        return ()
    common, by_size, by_data = (
        normals("compute", count),
        normals(f"size {law.label}", count),
        normals(f"data {law.label}", count),
    )
    sd = drift_sd(law)
    return tuple(
        math.exp(sd * (compute * a + size * b + data * c)) for a, b, c in zip(common, by_size, by_data, strict=True)
    )
