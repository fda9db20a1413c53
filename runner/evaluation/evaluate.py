"""Scores of a model on disk, or of the hub, on real tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.tasks.kinds import Score, find_task
from sweeps.support.progress import waiting


def load_model(path: str) -> Any:
    """Returns the SentenceTransformer in a folder or by its name on the hub. Raises ValueError when there is none."""
    from sentence_transformers import SentenceTransformer

    if not Path(path).exists() and (path.startswith((".", "/", "~")) or path.count("/") != 1):
        raise ValueError(f"{path}: no such folder, nor a name on the hub (owner/name)")
    if Path(path).is_dir() and not (Path(path) / "config.json").exists():
        raise ValueError(f"{path}: holds no model (it has no config.json); `embed train` and `embed export` write one")
    try:
        return SentenceTransformer(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from None


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
