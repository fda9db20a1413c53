"""What a law asks of the trials that it is fitted to: how many, of how many sizes and lengths, how far repeated."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

MIN_STEPS = 50  # optimiser steps; shorter trials are not fitted
MAX_EPOCHS = 4.0  # passes over the unique pairs; beyond them repeated pairs are worth less (Muennighoff et al. 2023)
FEWEST_RUNS = 6  # of a method
FEWEST_LENGTHS = 3  # token counts of a method
FEWEST_SIZES = 3  # of a method, or one, for a law in tokens alone
# Where exponents are those of another sweep: E, A, B, and one run to see how well they do.
SHARING_RUNS = 4
SHARING_LENGTHS = 2

Runs = Iterable[tuple[float, Hashable]]  # N and D of each, or what stands for its D


def why_no_law(runs: Runs) -> str:
    """Why the runs of a method, each as its N and D, are too few for a law by themselves; "" when they are enough."""
    count, sizes, lengths = _counted(runs)
    if count < FEWEST_RUNS:
        return f"{count} runs; a law needs at least {FEWEST_RUNS}"
    if lengths < FEWEST_LENGTHS:
        return f"{lengths} token counts; a law needs at least {FEWEST_LENGTHS}"
    if 1 < sizes < FEWEST_SIZES:
        return f"two model sizes; a law in N needs at least {FEWEST_SIZES} (or one, for a law in tokens alone)"
    return ""


def why_no_shared_law(runs: Runs) -> str:
    """The same where the exponents come from another sweep and only the offsets are their own."""
    count, _, lengths = _counted(runs)
    if count < SHARING_RUNS or lengths < SHARING_LENGTHS:
        return f"{count} runs of {lengths} token counts; own offsets need {SHARING_RUNS} of {SHARING_LENGTHS}"
    return ""


def _counted(runs: Runs) -> tuple[int, int, int]:
    """Runs, sizes and token counts."""
    given = list(runs)
    return len(given), len({params for params, _ in given}), len({tokens for _, tokens in given})
