"""`sweep` as a process of its own, with the toy trainer behind it, and what it has begun so far."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.toy_sweeps import COMMAND, SWEEP, toy_main
from sweeps.store.folder import FolderStore
from sweeps.store.identity import mark


def begin(folder: str, **toy) -> Path:
    """Leave the toy its orders before the sweep runs."""
    mark(Path(folder))
    (Path(folder) / "toy.json").write_text(json.dumps(toy))
    return Path(folder)


def partly_failed() -> FolderStore:
    """The toy's sweep, run in the working folder; three of its trials failed."""
    Path("toy.toml").write_text(SWEEP)
    folder = begin("results/toy", raises="nano-100k")
    assert toy_main(["run", "toy.toml"]) == 1
    return FolderStore(folder)


def started(folder: Path) -> list[str]:
    """Keys of the trials that workers have begun, in order, again where one was begun again."""
    path = folder / "started.txt"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def spawn(*arguments: str, **options) -> subprocess.Popen:
    """`sweep` with these arguments, running."""
    return subprocess.Popen([*COMMAND, "sweep", *arguments], **options)
