"""Commands that write, killed and interrupted at any moment: every file is the old one or the new one, never half."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from planner.law_book import read_laws
from runner.training.checkpoint import read_tensors
from sweeps.experiment.recipe_file import read_recipe, write_recipe
from sweeps.methods import Full
from sweeps.models import find_model
from sweeps.store.files import CHECKPOINT
from sweeps.trial import Training, Trial

ROOT = Path(__file__).resolve().parents[1]
TIMES = 20
NANO = find_model("nano-7k").source


def whole(path: Path) -> bool:
    """Whether a file is what its name says, to its end."""
    content = path.read_bytes()
    if path.name.endswith(".tmp") or any(part.endswith(".tmp") for part in path.parts):
        return True  # nobody takes it for a file of ours
    if path.name == "laws.json":
        return bool(read_laws(path).laws)
    if path.suffix == ".json":
        return json.loads(content) is not None
    if path.suffix == ".jsonl":
        return all(json.loads(line) for line in content.splitlines())
    if path.suffix == ".toml":
        return bool(read_recipe(path))
    if path.suffix == ".png":
        return content.endswith(b"IEND\xaeB`\x82")
    if path.suffix in (".svg", ".html"):
        return content.rstrip().endswith((b"</svg>", b"</html>"))
    if path.suffix == ".safetensors":
        return bool(read_tensors(path)) if path.name == CHECKPOINT else content[:8] != b"" and _tensors(path)
    return True


def _tensors(path: Path) -> bool:
    from safetensors.torch import load_file

    return bool(load_file(path))


def fit(folder: Path) -> list[str]:
    shutil.copytree(ROOT / "results" / "dense", folder / "dense", ignore=shutil.ignore_patterns("figures", "*.html"))
    arguments = ["dense", "--bootstraps", "20", "--out", "out/laws.json", "--figures", "out/figures"]
    return ["analysis.cli", *arguments, "--page", "out/page.html"]


def plan(folder: Path) -> list[str]:
    return ["planner.cli", "--budget", "1e13", "--out", "out/recipe.toml"]


def train(folder: Path) -> list[str]:
    texts = ({"query": f"what is number {i}", "positive": f"number {i} is {i * i}"} for i in range(800))
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    training = Training(data=str(folder / "pairs.jsonl"), batch_size=8, context=16, pool_size=16, pools=1)
    write_recipe(folder / "recipe.toml", Trial("nano-7k", Full(), training, lr=1e-3, steps=30), {})
    return ["runner.cli", "train", "recipe.toml", "--out", "out/model", "--on", "cpu"]


def merge(folder: Path) -> list[str]:
    for name in ("a", "b"):
        shutil.copytree(NANO, folder / name)
    return ["runner.cli", "merge", NANO, "a", "b", "--method", "average", "--out", "out/model"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("command", [fit, plan, train, merge], ids=lambda command: command.__name__)
def test_every_file_is_old_or_new(tmp_path, command, number):
    arguments = command(tmp_path)
    line = [sys.executable, "-m", *arguments]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "stderr": subprocess.PIPE}
    out, begun = tmp_path / "out", time.monotonic()
    out.mkdir()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, **options)
    takes, chance = time.monotonic() - begun, random.Random(0)
    for _ in range(TIMES):
        if command in (train, merge):
            shutil.rmtree(out)  # they replace nothing
            out.mkdir()
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, **options)
        time.sleep(takes * chance.uniform(0.3, 1.05))  # most of the time before is imports
        process.send_signal(number)
        said = process.communicate(timeout=60)[1].decode()
        # Python itself tells of what ends it before the command has begun.
        assert "Traceback" not in said or said.rstrip().endswith("KeyboardInterrupt"), said
        torn = [path for path in out.rglob("*") if path.is_file() and not whole(path)]
        assert not torn
    if command in (train, merge) and not (out / "model" / "config.json").exists():
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, **options)  # what was begun goes on
    assert all(whole(path) for path in out.rglob("*") if path.is_file())
