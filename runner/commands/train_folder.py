"""The folder that `embed train` writes: whose it is, and a model in it that is whole or not there."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

from runner.export.sentence_transformers import HOLDS, must_be_free
from sweeps.store.files import CHECKPOINT, PROGRESS
from sweeps.store.records import lenient
from sweeps.store.trunks import drop_parts, parts_folder
from sweeps.support import atomic
from sweeps.support.atomic import write_text
from sweeps.trial import Trial

MARKER = ".embed-train.json"  # in the folder of a training under way: the key of its trial


def begin(out: Path, trial: Trial) -> None:
    """Make or find the folder of a training. Raises ValueError when it holds a model, or anything of somebody else."""
    key = lenient(out / MARKER).get("key")
    if key == trial.key and any((out / name).exists() for name in HOLDS):
        tidy_up(out)  # it was ended between the model and this
    must_be_free(out)
    if key not in (None, trial.key):
        raise ValueError(f"{out}: holds an unfinished training of another recipe; give another folder")
    if key is None and out.exists() and not (out / CHECKPOINT).exists() and _is_occupied(out):
        raise ValueError(f"{out}: is not empty and holds no training to continue; give an empty or new folder")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / MARKER, json.dumps({"key": trial.key}) + "\n")


def _is_occupied(out: Path) -> bool:
    """Whether there is more than a folder in which a training was killed at its very beginning."""
    return not out.is_dir() or not all(atomic.is_begun(path.name, MARKER) for path in out.iterdir())


def filling(out: Path) -> AbstractContextManager[Path]:
    """A folder to write a model to, whose files come to lie in `out` when the block ends, what makes it a model last:
    one that is ended before is no model, and its training can be continued."""
    return atomic.filling(out, HOLDS)


def tidy_up(out: Path) -> None:
    """Remove what a training that goes on would need."""
    from runner.training.early_stopping import BEST

    for name in (CHECKPOINT, BEST, PROGRESS, MARKER):
        (out / name).unlink(missing_ok=True)
    drop_parts(parts_folder(out))
