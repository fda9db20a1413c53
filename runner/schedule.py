"""Learning-rate schedules: the factor on the peak rate at each step. One function and one registry line each."""

from __future__ import annotations

import math
from collections.abc import Callable


def wsd(progress: float, cooldown: float) -> float:
    """Constant, then down to zero over the last `cooldown` share, as 1 - sqrt (Haegele et al. 2024, section 3)."""
    if progress < 1 - cooldown:
        return 1.0
    return 1 - math.sqrt((progress - (1 - cooldown)) / cooldown)


def cosine(progress: float, cooldown: float) -> float:
    """Half a cosine from 1 to 0 (Ziarko et al. 2024, appendix E.1). `cooldown` has no meaning here."""
    return (1 + math.cos(math.pi * progress)) / 2


SCHEDULES: dict[str, Callable[[float, float], float]] = {"wsd": wsd, "cosine": cosine}


def rate_factor(schedule: str, step: int, steps: int, warmup: float, cooldown: float) -> float:
    """Factor on the peak rate for `step` (from 0) of `steps`; the first `warmup` share rises linearly."""
    warmup_steps = max(1, round(warmup * steps))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return SCHEDULES[schedule]((step - warmup_steps) / max(1, steps - warmup_steps), cooldown)
