"""Simulated isoFLOP sweeps under truths that a family of laws holds, and such as none holds.

5 to 9 sizes at 4 to 7 budgets over 1.5 to 2.5 decades; the noise of a run is 0.3 to 3 %.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.tables.rows import Array

Truth = Callable[[Array, Array], Array]
TOKENS_PER_PARAMETER = 20.0


def _draw(chance: np.random.Generator) -> tuple[float, ...]:
    """Exponents differ by a quarter, as published ones do: alpha, beta, E, A, B at the middle, its N and D."""
    alpha = chance.uniform(0.2, 0.5)
    beta = float(np.clip(alpha * np.exp(chance.normal(0, 0.25)), 0.1, 0.8))
    E, A, N = chance.uniform(0.05, 1.8), chance.uniform(0.3, 1.5), 10 ** chance.uniform(5, 9)
    return alpha, beta, E, A, alpha * A / beta * np.exp(chance.normal(0, 0.3)), N, TOKENS_PER_PARAMETER * N


def plain(chance: np.random.Generator) -> tuple[Truth, float]:
    alpha, beta, E, A, B, middle, tokens = _draw(chance)
    return lambda N, D: E + A * (N / middle) ** -alpha + B * (D / tokens) ** -beta, middle


def rectified(chance: np.random.Generator) -> tuple[Truth, float]:
    alpha, beta, E, A, B, middle, tokens = _draw(chance)
    held = chance.uniform(0.1, 1)
    return lambda N, D: E + A * (N / middle) ** -alpha + B * (1 + held) / (held + (D / tokens) ** beta), middle


def bent(chance: np.random.Generator) -> tuple[Truth, float]:
    """The slope in D becomes half to twice what it was, that in N 0.6 to 1.6 times, around some D and N."""
    alpha, beta, E, A, B, middle, tokens = _draw(chance)
    more_d, more_n = beta * (chance.uniform(0.5, 2) - 1), alpha * (chance.uniform(0.6, 1.6) - 1)
    turn_d, turn_n = tokens * 10 ** chance.uniform(-1, 1), middle * 10 ** chance.uniform(-1, 1)

    def truth(N: Array, D: Array) -> Array:
        size = A * (N / middle) ** -alpha * ((turn_n + N) / (turn_n + middle)) ** -more_n
        return E + size + B * (D / tokens) ** -beta * ((turn_d + D) / (turn_d + tokens)) ** -more_d

    return truth, middle


def interacting(chance: np.random.Generator) -> tuple[Truth, float]:
    """The exponent of D grows (7 of 10) or falls with N, by a power of 0.03 to 0.09."""
    alpha, beta, E, A, B, middle, tokens = _draw(chance)
    power = chance.uniform(0.03, 0.09) * chance.choice([-1, 1], p=[0.3, 0.7])
    return lambda N, D: E + A * (N / middle) ** -alpha + B * (D / tokens) ** (-beta * (N / middle) ** power), middle


# Each returns a law and the size around which the sweep lies; 20 tokens a parameter are nearly best there.
TRUTHS = {
    "plain": plain,
    "rectified": rectified,
    "bent": bent,
    "interaction": interacting,
    "small D": plain,  # noise four times as large at the smallest D, and 3 % of bias
    "outliers": plain,  # five runs off by 10 to 50 %
}


def usual(sizes: Array, budget: float) -> Array:
    """Which sizes anybody would train with a budget: 0.1 to 10,000 tokens a parameter."""
    ratio = budget / 6 / sizes**2
    return (ratio > 0.1) & (ratio < 1e4)


def sweep(name: str, seed: int) -> tuple[Truth, pd.DataFrame, Array, float]:
    """The truth, its runs, the ladder of sizes and the noise of a run."""
    chance = np.random.default_rng([seed, list(TRUTHS).index(name)])
    truth, middle = TRUTHS[name](chance)
    budgets, sizes = chance.integers(4, 8), chance.integers(5, 10)
    decades, ratio = chance.uniform(1.5, 2.5), chance.uniform(1.4, 2.2)
    ladder = middle * ratio ** np.arange(-40, 41.0)
    off, runs = chance.normal(0, 0.5), []
    for C in 6 * TOKENS_PER_PARAMETER * middle**2 * 10 ** np.linspace(-decades / 2, decades / 2, budgets):
        best = int(np.argmin(np.where(usual(ladder, C), truth(ladder, C / 6 / ladder), np.inf)))
        near = np.sort(np.argsort(np.abs(np.arange(len(ladder)) - best - off), kind="stable")[:sizes])
        runs.append(pd.DataFrame({"N": ladder[near], "D": C / 6 / ladder[near], "C": C}))
    frame = pd.concat(runs, ignore_index=True)
    noise = np.exp(chance.uniform(np.log(0.003), np.log(0.03)))
    few = frame["D"].min() / frame["D"]
    logs = np.full(len(frame), noise) if name != "small D" else noise * (0.25 + 0.75 * few**0.5) * 2
    logs = chance.normal(size=len(frame)) * logs + (chance.normal(0, 0.03) * few**0.7 if name == "small D" else 0)
    uneven = dict(zip(frame["N"].unique(), chance.normal(0, noise * chance.uniform(0, 0.7), 99), strict=False))
    logs = logs + frame["N"].map(uneven)  # checkpoints are a little better or worse than their size says
    if name == "outliers":
        wild = chance.choice(len(frame), 5, replace=False)
        logs[wild] += chance.uniform(0.1, 0.5, 5) * chance.choice([-1, 1], 5, p=[0.3, 0.7])
    frame["loss"] = truth(frame["N"].to_numpy(), frame["D"].to_numpy()) * np.exp(logs)
    return truth, frame, ladder, noise
