"""Scores of a model on disk, or of the hub, on real tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from runner.data.tokenizer import unavailable
from runner.export.sentence_transformers import HOLDS
from runner.tasks.kinds import Score, find_task
from sweeps.support.json_io import refuse_special
from sweeps.support.progress import waiting

MODEL_FILES = (*HOLDS, "modules.json")  # one of them lies in a folder with a model: a whole one, an adapter, modules


def load_model(path: str) -> Any:
    """Returns the SentenceTransformer in a folder or by its name on the hub. Raises ValueError when there is none."""
    from sentence_transformers import SentenceTransformer

    if not Path(path).exists() and (path.startswith((".", "/", "~")) or path.count("/") != 1):
        raise ValueError(f"{path}: neither a folder nor a name on the hub (owner/name)")
    if Path(path).is_dir() and not any((Path(path) / name).exists() for name in MODEL_FILES):
        raise ValueError(f"{path}: contains no model (none of {', '.join(MODEL_FILES)}); `embed train` writes one")
    if Path(path).is_dir():
        refuse_special(Path(path))
    try:
        return SentenceTransformer(path, trust_remote_code=False)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a damaged file raises whatever its reader does
        raise unavailable(path, "cannot be loaded", error) from None


def evaluate(path: str, tasks: Sequence[str], told: bool = False) -> list[Score]:
    """Returns the scores of the model at `path` on every task. Raises ValueError before it loads when a task is
    none."""
    found = [find_task(text) for text in tasks]
    with waiting(f"loading {path}", quiet=not told):
        model = load_model(path)
    scores = []
    for text, (kind, where) in zip(tasks, found, strict=True):
        with waiting(text, quiet=not told):
            scores.append(kind.score(model, kind.read(where)))
    return scores
