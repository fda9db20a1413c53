"""What lies in a sweep's folder on this machine, wherever its claims and results are kept: copies, trials' files, logs.

.sweep.json         which sweep this is, see identity.py
sweep.toml          the sweep file as last run            data.json     what `embed prepare` said of its data
trials/<key>/       progress.json, checkpoint.safetensors, log.txt
logs/               sweep.log and one log a worker
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from sweeps.experiment.sources import Data
from sweeps.store.identity import refuse_link, refuse_links
from sweeps.store.records import lenient
from sweeps.support.atomic import append_text, write_text
from sweeps.support.checks import is_number
from sweeps.support.json_io import read_json

CHECKPOINT = "checkpoint.safetensors"
_CHECKPOINTS = re.compile(r"\.?((best|damaged)-)*checkpoint\.safetensors(\.[0-9a-f]{16}\.tmp)?")
KEY = re.compile(r"[0-9a-f]{16}")
PROGRESS = "progress.json"


class SweepFiles:
    """The folder of a sweep on this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trials = directory / "trials"
        self.logs = directory / "logs"

    def trial(self, key: str) -> Path:
        """Where a trial keeps all it has. Raises ValueError on anything but a key: names never become paths."""
        if not KEY.fullmatch(key):
            raise ValueError(f"{self.trials}: {key!r} is not the key of a trial")
        return self.trials / key

    def own_trial(self, key: str) -> Path:
        """The same, to write to. Raises ValueError where it is a link to somewhere else."""
        folder = self.trial(key)
        refuse_link(folder)
        return folder

    def refuse_links(self) -> None:
        """Raise ValueError when something that is written to is a link to somewhere else."""
        refuse_links(self.directory)

    def worker_log(self, index: int) -> Path:
        return self.logs / f"worker-{index}.log"

    def begin(self, sweep_file: str, data: str) -> None:
        """Make the folders, and keep the texts of the sweep file and of the data's description."""
        self.refuse_links()
        for path in (self.trials, self.logs):
            path.mkdir(parents=True, exist_ok=True)
        write_text(self.directory / "sweep.toml", sweep_file)
        write_text(self.directory / "data.json", data)

    def read_data(self) -> Data | None:
        """What the sweep's data were when it was last run; None when that was not here."""
        path = self.directory / "data.json"
        try:
            return Data.from_json(read_json(path), str(path))
        except FileNotFoundError:
            return None

    def checkpointed(self, key: str) -> int:
        """When a trial's checkpoint was last written, ns; 0 when there is none."""
        return changed(self.trial(key) / CHECKPOINT)

    def checkpoint_files(self, key: str) -> list[Path]:
        """The checkpoint of a trial, and the best state that belongs to it."""
        return [self.trial(key) / CHECKPOINT, self.trial(key) / f"best-{CHECKPOINT}"]

    def drop_checkpoint(self, key: str) -> None:
        """Delete what was there to continue a trial."""
        folder = self.own_trial(key)
        for path in folder.iterdir() if folder.is_dir() else ():
            if _CHECKPOINTS.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def progress(self, key: str) -> dict[str, Any]:
        """The figures that a trial's process last left here: step and loss."""
        return figures(lenient(self.trial(key) / PROGRESS))

    def log(self, sentence: str) -> str:
        """Append to the sweep's log here; returns the line."""
        self.refuse_links()
        self.logs.mkdir(exist_ok=True)
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}\n"
        append_text(self.log_file(), line)
        return line

    def log_trial(self, key: str, text: str) -> str:
        """Append to a trial's own log here; returns the lines."""
        folder, lines = self.own_trial(key), text if text.endswith("\n") else f"{text}\n"
        folder.mkdir(parents=True, exist_ok=True)  # it may have run elsewhere
        append_text(folder / "log.txt", lines)
        return lines

    def log_file(self, key: str = "") -> Path:
        """The log of a trial on this machine, or of the sweep."""
        return self.trial(key) / "log.txt" if key else self.logs / "sweep.log"


def report(folder: Path, step: int, loss: float) -> None:
    """Leave the current figures of a running trial in its `folder` for displays; call it once a second at most."""
    write_text(folder / PROGRESS, json.dumps({"step": step, "loss": loss}), durable=False)


def figures(told: Any) -> dict[str, Any]:
    """What a trial's process told of step and loss; nothing where that is not what it says."""
    known = {name: told[name] for name in ("step", "loss") if name in told} if isinstance(told, dict) else {}
    whole = isinstance(known.get("step"), int) and known["step"] >= 0
    return known if whole and all(map(is_number, known.values())) else {}


def changed(path: Path) -> int:
    """When a file last changed, ns; 0 when there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
