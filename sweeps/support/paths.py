"""Relative paths in a sweep file or a recipe: they hold beside the file, wherever a command is run from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "RECIPE_PLANNER_FOLDER"  # the folder that relative paths are looked for in first; children inherit it


@contextmanager
def relative_to(file: Path) -> Iterator[None]:
    """Inside, and in processes started there, relative paths are those of `file`; see `located`."""
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(folder_of(file))
    try:
        yield
    finally:
        os.environ.pop(FOLDER)
        if before is not None:
            os.environ[FOLDER] = before


def folder_of(file: Path) -> Path:
    """The folder that the relative paths in a file are written for."""
    folder = file.resolve().parent
    copied = file.name == "sweep.toml" and (folder / "observations.jsonl").exists()
    return folder.parents[1] if copied and folder.parent.name == "results" else folder  # results/NAME/sweep.toml


def located(name: str) -> Path:
    """Where a file or folder named in a sweep file or a recipe lies: beside it, else in the current folder."""
    beside = Path(os.environ.get(FOLDER, ""), name)
    return beside if os.path.exists(beside) else Path(name)  # Path.exists raises where a name is too long


def named_in(file: Path, name: str) -> str:
    """How a sweep file or recipe at `file` names a file or folder that lies at the relative path `name` from here.

    Names of anything else are kept. What follows a path, columns after "?" or a part after "#", is kept too.
    """
    place = next(
        (end for end in (len(name), name.find("?"), name.rfind("#")) if end > 0 and os.path.exists(name[:end])), 0
    )
    if not place or Path(name).is_absolute():
        return name
    return os.path.relpath(name[:place], folder_of(file)) + name[place:]
