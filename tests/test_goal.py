"""A sweep with a goal proposes the same and ends the same, however often it is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from support.sweep_process import spawn
from sweeps.search.goal_rounds import FILE, read_rounds

TIMES = int(os.environ.get("INTERRUPTIONS", "4"))
SWEEP = """
models = ["nano-25k", "nano-100k"]
[goal]
budget = "1e13"
spend = "4%"
regret = 1e-6
laws = "ziarko2024"
together = 3
[training]
data = "other"
batch_size = 24
warmup_steps = 10
[[methods]]
name = "full"
lr_search = [1e-3, 2e-3]
[[methods]]
name = "lora"
rank = 8
lr_search = [3e-3, 1e-2]
"""


def ended(folder: Path, *options: str) -> None:
    process = spawn("run", "goal.toml", "--out", str(folder), "--workers", "2", *options, cwd=folder.parent)
    assert process.wait() == 0


def losses(folder: Path) -> dict[str, float]:
    rows = map(json.loads, (folder / "observations.jsonl").read_text().splitlines())
    return {row["key"]: row["loss"] for row in rows}


@pytest.mark.slow
def test_killed_and_continued_it_proposes_the_same_and_ends_in_the_same_plan(tmp_path):
    (tmp_path / "goal.toml").write_text(SWEEP)
    ended(tmp_path / "whole")
    rounds = read_rounds(tmp_path / "whole")
    assert len(rounds) > 3 and rounds[-1].stop and rounds[-1].spent <= rounds[-1].limit
    killed, chance = tmp_path / "killed", random.Random(0)
    for _ in range(TIMES):
        process = spawn("run", "goal.toml", "--out", str(killed), "--workers", "2", "--fresh", cwd=tmp_path)
        time.sleep(chance.uniform(1, 12))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if killed.exists():
            found = read_rounds(killed)
            assert found == rounds[: len(found)]
    (killed / FILE).unlink(missing_ok=True)  # what was proposed follows from the losses alone
    ended(killed, "--fresh")
    assert read_rounds(killed) == rounds
    assert losses(killed) == losses(tmp_path / "whole")
    assert (killed / "recipe.toml").read_bytes() == (tmp_path / "whole" / "recipe.toml").read_bytes()


def test_the_first_round_is_shown_before_anything_is_trained(tmp_path):
    import subprocess

    (tmp_path / "goal.toml").write_text(SWEEP)
    process = spawn("run", "goal.toml", "--dry-run", cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    said = process.communicate()[0]
    assert process.returncode == 0
    assert "round 1:" in said and "later rounds follow from its losses" in said and "search" in said
    assert not (tmp_path / "results").exists()
