"""What `fit --methods` prints: methods at equal FLOPs by what becomes of the token table, and the best LoRA rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analysis.fitting.method_order import BestRank, Pairing, best_ranks, pairings
from analysis.tables.table import Table
from sweeps.support.text import table

SURE = 0.9  # share of the draws in which the order changes, from which on it does


def text(runs: Table) -> str:
    """The order of methods, where it changes, and the best rank."""
    parts = [_pairs(pairings(runs)), *map(_rank, best_ranks(runs))]
    return (
        "\n\n".join(part for part in parts if part)
        or "methods: no two methods treat the token table alike at the same budget"
    )


def document(runs: Table) -> dict[str, Any]:
    """The same for programs."""
    return {
        "pairings": [asdict(pairing) for pairing in pairings(runs)],
        "best_ranks": [asdict(rank) for rank in best_ranks(runs)],
    }


def _pairs(pairs: Sequence[Pairing]) -> str:
    if not pairs:
        return ""
    rows = [["methods at equal FLOPs", "token table", "against", "budgets", "loss", "90 %", "10x the budget", "order"]]
    for pair in pairs:
        low, high = (f"{_percent(end):+.1f}" for end in pair.interval)
        rows.append(
            [
                f"  {pair.first}",
                pair.table,
                pair.second,
                f"{len(pair.places)}",
                f"{_percent(pair.mean):+.1f} %",
                f"{low} to {high}",
                f"{_percent(math.log(10) * pair.slope):+.1f} %",
                _order(pair),
            ]
        )
    return "\n".join(table(rows, numbers_right=False))


def _percent(log: float) -> float:
    return 100 * (math.exp(log) - 1)


def _order(pair: Pairing) -> str:
    """Which is better, and where that changes."""
    low, high = pair.interval
    better = pair.first if pair.mean < 0 else pair.second
    if pair.crossover is None or pair.crosses < 1 - SURE:
        return f"{better} at all budgets" if low > 0 or high < 0 else "undecided"
    before, after = (pair.second, pair.first) if pair.slope < 0 else (pair.first, pair.second)
    ends = [f"{end:.2g}" if end else "beyond" for end in pair.crossover_interval]
    return f"{before} up to {pair.crossover:.2g} FLOP (90 %: {' to '.join(ends)}), then {after}"


def _rank(best: BestRank) -> str:
    power, sd = best.in_size
    lines = [
        f"best rank of {best.method}: {best.rank:.3g}, 90 % {best.interval[0]:.2g} to {best.interval[1]:.2g}, tried "
        f"ranks {best.tried[0]:g} to {best.tried[1]:g}; within them in {best.inside} of {best.curves} models and "
        f"budgets; N^{power:+.2f} ± {sd:.2f}"
    ]
    if best.rates:
        told = ", ".join(f"rank {rank}: {rate:.2g}" for rank, rate in best.rates.items())
        lines.append(f"  best learning rate with alpha / sqrt(rank): {told}")
    return "\n".join(lines)
