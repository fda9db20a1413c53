"""`python -m analysis.repeats FOLDER [FOLDER ...]`: trainings that were repeated with other seeds, side by side.

Prints a line for each model, method, budget, batch size and rate: the mean held-out loss over the seeds, the standard
deviation of one run, and how far the mean lies above the lowest of the same model, method and budget.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.tables.sweep_table import read_observations
from sweeps.support import console
from sweeps.support.text import table

PLACE = ["model", "method", "budget"]


def repeats(folders: Sequence[Path]) -> pd.DataFrame:
    """The means of all finished trials of these results folders, by budget and batch size.

    Columns: model, method, budget (FLOP), batch (pairs), lr, steps, seeds, loss (nats per pair), sd (of a run; NaN for
    one seed) and regret (share of the lowest loss of that model, method and budget). Raises ValueError where no trial
    has finished.
    """
    rows = [row for folder in folders for row in _rows(folder)]
    if not rows:
        raise ValueError(f"{', '.join(map(str, folders))}: no trial has finished")
    groups = pd.DataFrame(rows).groupby([*PLACE, "batch", "lr", "steps"])["loss"]
    means = groups.agg(seeds="count", loss="mean", sd="std").reset_index()
    means["regret"] = means["loss"] / means.groupby(PLACE)["loss"].transform("min") - 1
    return means


def _rows(folder: Path) -> list[dict[str, object]]:
    observations, _ = read_observations(folder / "observations.jsonl")
    finished = {one.key: one for one in observations if one.status == "done"}
    return [
        {
            "model": one.trial.model,
            "method": one.trial.method.label,
            "budget": one.trial.budget or one.flops,
            "batch": one.trial.training.batch_size,
            "lr": one.trial.lr,
            "steps": one.trial.steps,
            "loss": one.loss,
        }
        for one in finished.values()
    ]


def text(means: pd.DataFrame) -> str:
    """The table."""
    head = ["model", "method", "budget", "batch", "steps", "lr", "seeds", "loss", "sd of a run", "above the lowest"]
    return "\n".join(table([head, *map(_line, means.to_dict("records"))], numbers_right=False))


def _line(row: dict[Any, Any]) -> list[str]:
    spread = "" if pd.isna(row["sd"]) else f"{100 * row['sd'] / row['loss']:.1f} %"
    start = [row["model"], row["method"], f"{row['budget']:.3g}", f"{row['batch']:,}", f"{row['steps']:,}"]
    return [*start, f"{row['lr']:.2g}", str(row["seeds"]), f"{row['loss']:.3f}", spread, f"{100 * row['regret']:.1f} %"]


def main(folders: Sequence[str]) -> int:
    if not folders:
        print(__doc__, file=sys.stderr)
        return 2
    return console.run("repeats", lambda: print(text(repeats([Path(folder) for folder in folders]))))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
