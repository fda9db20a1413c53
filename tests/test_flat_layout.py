"""A sweep's folder written before the modules moved into folders is read, shown, continued and fitted as it was."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

RECORD = Path(__file__).parent / "records" / "flat-layout"  # status.json and laws.json: what the code of then said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORD, tmp_path / "record"))


def run(folder: Path, module: str, *arguments: str) -> str:
    """What a command prints in the folder of the sweep file."""
    environment = os.environ | {"PYTHONPATH": str(RECORD.parents[2])}
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=folder, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_it_is_shown_as_it_was(folder):
    shown = json.loads(run(folder, "sweeps.cli", "status", "old-sweep", "--json"))
    text = (folder / "status.json").read_text()
    for was, today in (("the budget buys", "the budget allows"), ("the rates listed", "the listed rates")):
        text = text.replace(was, today)
    then = json.loads(text)
    assert then["done"] == 20 and then["waiting"] == 5
    for kept, row in zip(shown["left_out"], then["left_out"], strict=True):  # rows have more to say since
        assert kept["reason"].startswith(row.pop("reason")) and row == {name: kept[name] for name in row}
    assert {name: shown[name] for name in then if name != "left_out"} == {
        name: value for name, value in then.items() if name != "left_out"
    }


def test_it_is_fitted_as_it_was(folder):
    then = json.loads((folder / "laws.json").read_text())
    (family,) = {law["family"] for law in then["laws"]}  # one, of LoRA there are runs of two sizes
    run(folder, "analysis.cli", "old-sweep", "--family", family, "--out", "new.json")
    new = json.loads((folder / "new.json").read_text())
    for name in ("range", "excluded"):
        assert new[name] == then[name]
    for law, old in zip(new["laws"], then["laws"], strict=True):
        assert (law["method"], law["family"]) == (old["method"], old["family"])
        # B and beta trade against each other: the solver ends anywhere in that valley.
        assert law["coefficients"] == {family: pytest.approx(old["coefficients"], rel=1e-3)}


def mark(checkpoint: Path) -> None:
    """Add to the seconds that a checkpoint has counted, so that a training that goes on from it shows it."""
    with safe_open(checkpoint, framework="np") as file:
        record = json.loads(file.metadata()["record"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    record["seconds"] += 10_000
    save_file(tensors, checkpoint, metadata={"record": json.dumps(record)})


@pytest.mark.slow
def test_it_is_continued_where_it_stood(folder):
    trials = folder / "old-sweep" / "trials"
    results = {path: path.read_bytes() for path in trials.glob("*/result.json")}
    queue = json.loads((folder / "old-sweep" / "queue.json").read_text())
    (checkpoint,) = trials.glob("*/checkpoint.safetensors")
    begun = checkpoint.parent.name
    mark(checkpoint)
    run(folder, "sweeps.cli", "run", "sweep.toml", "--out", "old-sweep", "--workers", "2")
    assert {path: path.read_bytes() for path in results} == results
    finished = {path.parent.name for path in trials.glob("*/result.json")}
    assert len(results) == 20 and set(queue) <= finished
    for key in finished - {path.parent.name for path in results}:
        result = json.loads((trials / key / "result.json").read_text())
        assert result["status"] == "done" and math.isfinite(result["loss"])
    assert json.loads((trials / begun / "result.json").read_text())["seconds"] > 10_000
