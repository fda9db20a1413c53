"""The notebook of examples/ runs from its first cell to its last, and its stored outputs are those of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "own_runs.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
# After the last cell: the trials are done, the plan is of their laws, and the model is the one that it names.
TRUTHS = """
assert len(observations) >= 6 and (observations["status"] == "done").all()
assert answer.laws.name == "notebook" and answer.budget.flops == 4e10
assert answer.recipe.low / 2 < reached < answer.recipe.high * 2
assert model.encode(["a query"]).shape == (1, answer.recipe.dim)
"""


@pytest.mark.slow
def test_every_cell_runs_in_an_empty_folder(tmp_path):
    source = "\n".join("".join(cell["source"]) for cell in CELLS)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    (tmp_path / "notebook.py").write_text(f"{source}\n{TRUTHS}", encoding="utf-8")
    program = [sys.executable, "notebook.py"]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "held-out loss" in done.stdout


def test_its_outputs_are_stored_and_name_no_machine():
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert '"output_type": "error"' not in text and "image/png" in text and "text/html" in text
    assert str(Path.home()) not in text and "/tmp/" not in text
