"""Learning-rate schedules: the factor on the peak rate at each step. One function and one registry line each."""

from __future__ import annotations

import math
from collections.abc import Callable

from sweeps.trial import how_far, warmup_length


def wsd(progress: float, cooldown: float) -> float:
    """Constant, then down to zero over the last `cooldown` share, as 1 - sqrt (Haegele et al. 2024, section 3)."""
    if progress < 1 - cooldown:
        return 1.0
    return 1 - math.sqrt((progress - (1 - cooldown)) / cooldown)


def cosine(progress: float, cooldown: float) -> float:
    """Half a cosine from 1 to 0 (Ziarko et al. 2024, appendix E.1). `cooldown` has no meaning here."""
    return (1 + math.cos(math.pi * progress)) / 2


SCHEDULES: dict[str, Callable[[float, float], float]] = {"wsd": wsd, "cosine": cosine}


def rate_factor(schedule: str, step: int, steps: int, warmup: float, cooldown: float, warmup_steps: int = 0) -> float:
    """Returns the factor on the peak rate for `step` (from 0) of `steps`.

    The first `warmup_steps` rise linearly, or where that is 0 the first `warmup` share of the steps.
    """
    rising = warmup_length(steps, warmup, warmup_steps)
    if step < rising:
        return (step + 1) / rising
    return SCHEDULES[schedule](how_far(step, steps, rising), cooldown)
