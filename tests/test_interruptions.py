"""Commands that write, killed and interrupted at any moment: every file is the old one or the new one, never half.

`INTERRUPTIONS=20 pytest tests/test_interruptions.py` interrupts as many times.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from planner.law_file import read_laws
from runner.training.checkpoint import read_tensors
from support.forked_commands import commands
from sweeps.experiment.recipe_file import read_recipe, write_recipe
from sweeps.methods import Full
from sweeps.models import find_model
from sweeps.store.files import CHECKPOINT
from sweeps.trial import Training, Trial

ROOT = Path(__file__).resolve().parents[1]
TIMES = int(os.environ.get("INTERRUPTIONS", "3"))  # of each command by each signal
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
    (folder / "dense").mkdir()
    for name in ("data.json", "sweep.toml"):
        shutil.copy(ROOT / "results" / "dense" / name, folder / "dense")
    rows = (ROOT / "results" / "dense" / "observations.jsonl").read_text().splitlines(keepends=True)
    kept = [
        row for row in rows if json.loads(row)["trial"]["method"]["name"] == "full"
    ]  # of one law all is written too
    (folder / "dense" / "observations.jsonl").write_text("".join(kept))
    arguments = [
        "dense",
        "--family",
        "chinchilla",
        "--bootstraps",
        "20",
        "--out",
        "out/laws.json",
        "--figures",
        "out/figures",
    ]
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


@pytest.fixture(scope="module", params=[fit, plan, train, merge], ids=lambda command: command.__name__)
def started(request, tmp_path_factory):
    """A command that has been run, its arguments, the folder `out` that it writes to, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    (folder / "out").mkdir()
    module, *arguments = request.param(folder)
    with commands(module, arguments, folder) as ready:
        empty(folder / "out", arguments)
        begun = time.monotonic()
        ready.start(*arguments)
        assert ready.end()[0] == 0
        yield ready, arguments, folder / "out", time.monotonic() - begun


def empty(out: Path, arguments: list[str]) -> None:
    """Away with the model that a command has written, for it replaces none."""
    if "out/model" in arguments:
        shutil.rmtree(out)
        out.mkdir()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_every_file_is_old_or_new(started, number):
    command, arguments, out, takes = started
    chance = random.Random(number)

    def ended(seconds: float) -> tuple[int, str]:
        """Exit code and stderr of the command, which gets the signal after so many seconds."""
        empty(out, arguments)
        process = command.start(*arguments)
        until = time.monotonic() + seconds
        while time.monotonic() < until and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.005)
        os.kill(process, number)
        return command.end()

    for _ in range(TIMES):
        begun = time.monotonic()
        code, said = ended(takes * chance.uniform(0.0, 1.05))
        if code == 0:
            takes = min(takes, time.monotonic() - begun)  # a machine that was busy is so no more
        # Python itself tells of what ends it before the command has begun.
        assert "Traceback" not in said or said.rstrip().endswith("KeyboardInterrupt"), said
        assert code in (0, 130, -number), said
        torn = [path for path in out.rglob("*") if path.is_file() and not whole(path)]
        assert not torn
    command.start(*arguments)  # what was begun goes on, what is there is replaced or refused
    assert command.end()[0] == 0 or (out / "model" / "config.json").exists()
    assert all(whole(path) for path in out.rglob("*") if path.is_file())
