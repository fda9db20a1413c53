"""What `fit` prints of batch size: the best one along the tokens, what others are worth, and how rival forms did."""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.batch_law import BatchLaw
from planner.law_book import MethodLaw
from sweeps.support.text import table

BESIDE = 4.0  # times smaller and larger than the best batch size: what they are worth is told


def batch_text(laws: Sequence[MethodLaw]) -> str:
    """The batch sizes of laws that know them; "" where none does."""
    known = [(law.label, law.batch) for law in laws if law.batch]
    if not known:
        return ""
    first = known[0][1]
    sizes = ", ".join(map(str, first.sizes))
    ends = _ends(first)
    heads = [f"B* at D = {tokens:.2g}" for tokens in ends]
    rows = [["method", *heads, f"{BESIDE:g}x smaller", f"{BESIDE:g}x larger"]]
    for label, batch in known:
        middle = ends[1]
        beside = [float(batch.term.share(middle, batch.best(middle) * times)) for times in (1 / BESIDE, BESIDE)]
        rows.append([label, *(_best(batch, tokens) for tokens in ends), *(f"{share:.0%} of D" for share in beside)])
    said = (
        f"batch     measured at {sizes} pairs; one law in N and D, at the best batch size B*, which depends on D alone"
    )
    lines = [said, *(f"          {line}" for line in table(rows, numbers_right=False))]
    return "\n".join([*lines, *_rivals(first)])


def _ends(batch: BatchLaw) -> tuple[float, float, float]:
    low, high = batch.tokens
    return low, math.sqrt(low * high), high


def _best(batch: BatchLaw, tokens: float) -> str:
    ends = batch.interval(tokens)
    return f"{batch.best(tokens):.3g}" + (f" ({ends[0]:.3g} to {ends[1]:.3g})" if ends else "")


def _rivals(batch: BatchLaw) -> list[str]:
    """How each form of the worth of a batch size predicted larger runs, the best first."""
    tried = batch.backtest.get("tried", {})
    if not tried:
        return ["          too few runs to compare its form with others"]
    order = sorted(tried, key=lambda name: tried[name]["error"])
    errors = [f"{name} {100 * tried[name]['error']:.2f} ± {100 * tried[name]['se']:.2f} %" for name in order]
    return [
        f"          form {batch.backtest['chosen']}; error on {batch.backtest['predicted']} larger runs:",
        f"          {'; '.join(errors)}",
    ]
