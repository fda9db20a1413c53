"""`python -m analysis.repeats FOLDER [FOLDER ...]`: trainings that were repeated with other seeds, side by side.

The table has a line for each model, method, budget, batch size and rate: the mean held-out loss over the seeds, the
standard deviation of one run, and how far the mean lies above the lowest of the same model, method and budget.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.tables.sweep_table import IN_LAWS, read_observations, row_of
from sweeps.conditions import differing
from sweeps.support import console
from sweeps.support.text import table
from sweeps.trial import Observation

PLACE = ["model", "method", "budget"]


def repeats(observations: Sequence[Observation]) -> pd.DataFrame:
    """The means of all trials that are done, each counted once, by budget and batch size.

    Columns: model, method, budget (FLOP), batch (pairs), lr, steps, seeds, loss (nats per pair), sd (of a run; NaN for
    one seed) and regret (share of the lowest loss of that model, method and budget). Raises ValueError where none is
    done, and where trials differ in more of [training] than the batch size: their losses do not compare.
    """
    done = list({one.key: one for one in observations if one.status == "done"}.values())
    if not done:
        raise ValueError("no trial is done")
    _check_conditions(done)
    rows = pd.DataFrame([{**row_of(one), "steps": one.trial.steps} for one in done])
    groups = rows.groupby([*PLACE, "batch", "lr", "steps"])["loss"]
    means = groups.agg(seeds="count", loss="mean", sd="std").reset_index()
    means["regret"] = means["loss"] / means.groupby(PLACE)["loss"].transform("min") - 1
    return means


def _check_conditions(done: Sequence[Observation]) -> None:
    trainings = list(dict.fromkeys(one.trial.training for one in done))
    others = [f"training.{name}" for name in differing(trainings) if name not in IN_LAWS]
    if not others and len({replace(each, batch_size=trainings[0].batch_size) for each in trainings}) > 1:
        others = ["the hash of their data"]
    if others:
        raise ValueError(f"trials differ in {', '.join(others)}; their losses do not compare")


def text(observations: Sequence[Observation]) -> str:
    """The table, and what does not enter it."""
    head = ["model", "method", "budget", "batch", "steps", "lr", "seeds", "loss", "sd of a run", "above the lowest"]
    lines = table([head, *map(_line, repeats(observations).to_dict("records"))], numbers_right=False)
    ways = Counter(one.status for one in observations if one.status != "done")
    return "\n".join([*lines, *(f"not in the table: {count} {way}" for way, count in ways.items())])


def _line(row: dict[Any, Any]) -> list[str]:
    spread = "" if pd.isna(row["sd"]) else f"{100 * row['sd'] / row['loss']:.1f} %"
    start = [row["model"], row["method"], f"{row['budget']:.3g}", f"{row['batch']:,}", f"{row['steps']:,}"]
    return [*start, f"{row['lr']:.2g}", str(row["seeds"]), f"{row['loss']:.3f}", spread, f"{100 * row['regret']:.1f} %"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = console.parser(
        "python -m analysis.repeats",
        "Mean and spread of trainings that were repeated with other seeds.",
        "  python -m analysis.repeats results/batch/beyond/*",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="results folder of a sweep")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    return console.run("repeats", lambda: print(text(list(_read(arguments.folders)))))


def _read(folders: Sequence[Path]) -> Iterator[Observation]:
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder; it must be that of a sweep")
        observations, caveats = read_observations(folder / "observations.jsonl")
        for caveat in caveats:
            print(f"warning: {caveat.text}", file=sys.stderr)
        yield from observations


if __name__ == "__main__":
    raise SystemExit(main())
