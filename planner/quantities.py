"""What people write after a flag: `1e19`, `24h`, `$500`, `24GB`, `1.4B`, `2%`, `1e15..1e20`. One clear error each."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sweeps.support.console import positive

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
COUNTS = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}

EXAMPLES = {"epochs": "4", "dimensions": "1024", "pairs": "2M"}  # of a number of these


def with_unit(flag: str, text: str, units: Mapping[str, float], wanted: str) -> float:
    """A positive number with one of `units` behind it, or bare."""
    for unit in sorted(units, key=len, reverse=True):
        if text.endswith(unit):
            return positive(flag, text, wanted, text.removesuffix(unit)) * units[unit]
    return positive(flag, text, wanted)


def memory(flag: str, text: str) -> float:
    """Bytes."""
    return with_unit(flag, text, BYTES, "a positive number of bytes such as 24GB or 80GiB")


def count(flag: str, text: str, what: str) -> float:
    """How many: 1.4B, 200M or 2e12."""
    return with_unit(flag, text, COUNTS, f"a positive number of {what} such as {EXAMPLES.get(what, '1.4B or 2e12')}")


def share(flag: str, text: str) -> float:
    """A part of the whole: 2% or 0.02."""
    wanted = "a share between 0 and 1, such as 2% or 0.02"
    value = positive(flag, text, wanted, text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if value >= 1:
        raise ValueError(f"{flag} is {text!r}; it must be {wanted}")
    return value


def span(flag: str, text: str) -> tuple[float, float]:
    """Two budgets, the lower one first: 1e15..1e20."""
    wanted = "two budgets in FLOP, the lower one first, such as 1e15..1e20"
    low, dots, high = text.partition("..")
    ends = [positive(flag, end, wanted) if dots else math.nan for end in (low, high)]
    if not ends[0] < ends[1]:
        raise ValueError(f"{flag} is {text!r}; it must be {wanted}")
    return ends[0], ends[1]


def short(value: float) -> str:
    """A count as people say it: 302 M, 8.1 B, 1e+15."""
    if value >= 1e15:
        return f"{value:.3g}"
    for unit in ("T", "B", "M", "k"):
        if value >= COUNTS[unit]:
            return f"{value / COUNTS[unit]:.3g} {unit}"
    return f"{value:.3g}"


def time_text(seconds: float) -> str:
    """A time as people say it: 4.4 ms, 14 s, 6.5 min, 24 h."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"


def memory_text(value: float) -> str:
    """Bytes as people say them: 311 MB, 24 GB."""
    for unit in ("TB", "GB", "MB", "kB"):
        if value >= BYTES[unit]:
            return f"{value / BYTES[unit]:.3g} {unit}"
    return f"{value:.3g} B"
