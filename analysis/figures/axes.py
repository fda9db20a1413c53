"""Logarithmic axes with a few round ticks, and numbers in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from analysis.tables.rows import Array

Names = Callable[[float], str]


def log_axis(axes: Axes, which: str, name: Names, most: int = 6) -> None:
    """A logarithmic axis, x or y, with a few round numbers and no others. Its limits must be final."""
    if which == "x":
        axes.set_xscale("log")
    else:
        axes.set_yscale("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(round_numbers(low, high, most, fine=which == "y")))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: name(value)))


def round_numbers(low: float, high: float, most: int, fine: bool = False) -> list[float]:
    """At most so many round numbers from low to high: by decade where they span much, evenly spaced where little.

    fine: 1.5 and the like count as round.
    """
    if high > 4 * low:
        first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
        finest = [((1, 1.5, 2, 3, 5, 7), 1)] if fine else []
        for steps, apart in (*finest, ((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3), ((1,), 6)):
            values = [m * 10.0**e for e in range(first, last + 1) if e % apart == 0 for m in steps]
            inside = [value for value in values if low <= value <= high]
            if len(inside) <= most:
                break
        if len(inside) > 1:
            return inside
    even = MaxNLocator(most - 1, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(value) for value in even if low <= value <= high]


def limits(*values: Array, room: float = 1.15) -> tuple[float, float]:
    """Ends of a logarithmic axis that holds these, with some room; values that are not finite do not count."""
    every = np.concatenate([np.ravel(v) for v in values])
    every = every[np.isfinite(every) & (every > 0)]
    return float(every.min() / room), float(every.max() * room)


def plain_number(value: float) -> str:
    return f"{value:.4g}"


def count(value: float) -> str:
    """25000 as 25 k."""
    for unit, name in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def flops(value: float) -> str:
    """A number of FLOPs as a power of ten: 3e12 as 3 x 10^12."""
    mantissa, exponent = f"{value:.1e}".split("e")
    mantissa = mantissa.removesuffix(".0")
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if mantissa == "1" else f"${mantissa}\\times{power}$"
