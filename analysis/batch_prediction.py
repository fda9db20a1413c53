"""`python -m analysis.batch_prediction LAWS SWEEP BUDGET`: what laws say of batch sizes before they are tried.

Prints JSON: of every model, method and batch size of the sweep file at one budget the loss with its 90 % prediction
interval for one run, and of every model and method the best batch size.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.candidates import Candidate, Limits, candidates
from planner.law_book import LawBook
from planner.law_file import read_laws
from planner.learning_rates import learning_rate
from sweeps.experiment.sweep import Sweep
from sweeps.experiment.sweep_file import read_sweep
from sweeps.support import console


def predicted(book: LawBook, sweep: Sweep, budget: float) -> dict[str, Any]:
    """What the book's laws say of the trials of a sweep at a budget (FLOP). Raises ValueError where none knows them."""
    sizes = sorted({training.batch_size for training in sweep.conditions()})
    rows = [_of(one, budget) for size in sizes for one in _candidates(book, sweep, size)]
    trials = [row for row in rows if row["steps"] >= sweep.min_steps and row["epochs"] <= sweep.max_epochs]
    if not rows:
        raise ValueError(f"the laws of {book.name} know no batch sizes for the sweep's methods")
    if not trials:
        most = max(row["steps"] for row in rows)
        raise ValueError(
            f"no trial at {budget:.3g} FLOP has min_steps ({sweep.min_steps}) or more within max_epochs "
            f"({sweep.max_epochs:g}); at most {most:,} steps"
        )
    best = [_best(one, budget, trials) for one in _candidates(book, sweep, sizes[0])]
    return {
        "budget": budget,
        "laws": {"name": book.name, "rows_hash": book.source["rows_hash"], "batch_sizes": book.source["batch_sizes"]},
        "trials": trials,
        "best": [row for row in best if row],
    }


def _candidates(book: LawBook, sweep: Sweep, size: int) -> list[Candidate]:
    """Every model with every method of the sweep whose law knows batch sizes, in batches of this size."""
    assert book.pair
    methods = {entry.method for entry in sweep.entries}
    unique = book.source.get("unique_tokens")
    limits = Limits(max_pairs=unique / book.pair.tokens, max_epochs=sweep.max_epochs) if unique else Limits()
    every, _ = candidates(book, sweep.models, (), limits, pair=replace(book.pair, batch_size=size))
    return [one for one in every if one.method in methods and one.law.batch]


def _of(one: Candidate, budget: float) -> dict[str, Any]:
    tokens, steps = one.tokens(budget), round(one.affordable_steps(budget))
    low, high = one.law.interval(*one.inputs(tokens), run=True, drift=one.drift(tokens))
    return {
        "model": one.model.name,
        "method": one.method.label,
        "batch_size": one.batch_size,
        "steps": steps,
        "tokens": tokens,
        "epochs": steps * one.batch_size / one.limits.max_pairs,
        "lr": learning_rate(one).rate,
        "loss": one.expected_loss(tokens),
        "interval": [low, high],
    }


def _best(one: Candidate, budget: float, trials: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """B* of a model and method, and which of the batch sizes of the sweep is predicted to be the best."""
    own = [row for row in trials if (row["model"], row["method"]) == (one.model.name, one.method.label)]
    if not own or one.law.batch is None:
        return None
    tokens = one.tokens(budget)
    return {
        "model": one.model.name,
        "method": one.method.label,
        "batch": one.law.batch.best(tokens),
        "interval": one.law.batch.interval(tokens),
        "of_those_tried": min(own, key=lambda row: row["loss"])["batch_size"],
    }


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    return console.run("batch_prediction", lambda: _print(*arguments))


def _print(laws: str, sweep: str, budget: str) -> None:
    flops = console.positive("BUDGET", budget, "a positive number of FLOP such as 1.28e13")
    print(json.dumps(predicted(read_laws(Path(laws)), read_sweep(Path(sweep)), flops), indent=1))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
