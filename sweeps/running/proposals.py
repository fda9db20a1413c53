"""Asking for the next round of a goal: a process of its own proposes it, for that needs heavy libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeps.experiment.grid import cells
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep import Sweep
from sweeps.search.goal_rounds import REFUSED, GoalRound
from sweeps.support.json_io import NotJson, parse_json
from sweeps.support.processes import own_code
from sweeps.trial import Observation

PROPOSE = (sys.executable, "-P", "-m", "analysis.goal.propose")

Propose = Callable[[Sweep, Data, Mapping[str, Observation]], GoalRound]


def propose(
    path: Path, sweep: Sweep, data: Data, known: Mapping[str, Observation], command: Sequence[str] = PROPOSE
) -> GoalRound:
    """The next round of the goal in the sweep file at `path`, by the observations by key of what it asked for so far.

    `command` reads what was tried as JSON and prints the round. Raises ValueError where there can be none, and when the
    command fails; its own message is on stderr then.
    """
    asked = json.dumps({"data": data.to_json(), "tried": tried(sweep, data, known)})
    process = subprocess.run(
        [*command, str(path)], input=asked, env=os.environ | own_code(), stdout=subprocess.PIPE, text=True, check=False
    )
    if process.returncode:
        raise ValueError(f"{path}: its goal cannot be pursued (exit code {process.returncode}; the reason is above)")
    try:
        content = parse_json(process.stdout)
    except NotJson as error:
        raise ValueError(f"{path}: {command[-1]} printed {process.stdout[:80]!r}: {error}") from None
    if isinstance(content, dict) and REFUSED in content:
        raise ValueError(f"{path}: {content[REFUSED]}")
    return GoalRound.from_json(content, f"proposal for {path}")


def tried(sweep: Sweep, data: Data, known: Mapping[str, Observation]) -> list[dict[str, Any]]:
    """What the goal has asked for, in that order, with the loss of each; None where it gave none."""
    keys = [cell.trial(cell.lr or 0.0).key for cell in cells(sweep, data)]
    losses = [known[key].loss if key in known and known[key].status == "done" else None for key in keys]
    return [{**asdict(each), "loss": loss} for each, loss in zip(sweep.proposed, losses, strict=True)]
