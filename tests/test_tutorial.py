"""The tutorial: its blocks, run one after another in an empty folder, end in a model that finds something."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(sh|python)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
# The commands of the page, as modules of this interpreter: a script of this name may be another checkout's.
COMMANDS = {"plan": "planner.cli", "sweep": "sweeps.cli", "fit": "analysis.cli", "embed": "runner.cli"}


def run(language: str, block: str, folder: Path) -> str:
    """What a block prints."""
    named = "".join(f'{name}() {{ "{sys.executable}" -m {module} "$@"; }}\n' for name, module in COMMANDS.items())
    command = [sys.executable, "-c", block] if language == "python" else ["bash", "-euc", named + block]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_tutorial_ends_in_a_model_whose_loss_was_predicted(tmp_path):
    printed = [run(language, block, tmp_path) for language, block in BLOCKS]
    assert len(printed) == 8
    assert 2_000 < len((tmp_path / "pairs.jsonl").read_text(encoding="utf-8").splitlines()) < 6_000
    first, own = printed[1], printed[5]
    assert "pairs.jsonl not seen" in first and "evidence  measured (mine)" in own
    assert re.search(r"held-out loss: predicted \S+ \(90 %: .*\), got \S+: inside", printed[6])
    found = re.findall(r"^  (\d\.\d\d)  \S", printed[7], re.MULTILINE)
    assert len(found) == 6 and all(float(score) > 0.4 for score in found)
