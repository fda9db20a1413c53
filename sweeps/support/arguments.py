"""Numbers as arguments of a command. argparse names the option beside what is said here, and exits with code 2."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole(least: int = 1, most: int | None = None) -> Callable[[str], int]:
    """What reads a whole number of at least `least` and at most `most`."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number {wanted}")
        return int(text)

    return read


def real(wanted: str, fits: Callable[[float], bool] = lambda value: True) -> Callable[[str], float]:
    """What reads a finite number that `fits`; wanted: that in words."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} must be {wanted}")
        return value

    return read


positive = real("a positive number", lambda value: value > 0)
seconds = real("a number of seconds, 0 or more", lambda value: value >= 0)
share = real("a share from 0 to below 1", lambda value: 0 <= value < 1)
