"""Relative paths in a sweep file or a recipe: they hold beside the file, wherever a command is run from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweeps.support.json_io import read_json

MARKER = ".sweep.json"  # in the sweep's folder: its identity, the sweep file that it was last run from, a hash of that
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
    """The folder that relative paths in a file are written for: of the copy in a sweep's folder, that of the file."""
    folder = file.resolve().parent
    if file.name != "sweep.toml" or not (folder / "observations.jsonl").exists():
        return folder
    with suppress(OSError, ValueError, TypeError, KeyError):
        begun = Path(read_json(folder / MARKER)["file"])
        if begun.is_absolute() and begun.parent.is_dir():
            return begun.parent
    return folder.parents[1] if folder.parent.name == "results" else folder  # results/NAME/sweep.toml


def located(name: str) -> Path:
    """Where a file or folder named in a sweep file or a recipe lies: beside it, else in the current folder."""
    beside = Path(os.environ.get(FOLDER, ""), name)
    return beside if os.path.exists(beside) else Path(name)  # Path.exists raises where a name is too long


def named_in(file: Path, name: str, written_for: Path | None = None) -> str:
    """How a sweep file or recipe at `file` names a file or folder that lies at the relative path `name` from here.

    written_for: the folder that the path is looked for in first. Names of anything else are kept. What follows a path,
    columns after "?" or a part after "#", is kept too.
    """
    if Path(name).is_absolute():
        return name
    for folder in (written_for, Path()):
        for end in (len(name), name.find("?"), name.rfind("#")):
            if folder is not None and end > 0 and os.path.exists(folder / name[:end]):
                return os.path.relpath(folder / name[:end], folder_of(file)) + name[end:]
    return name


def refuse_to_replace(path: Path | None, force: bool) -> None:
    """Raise ValueError where `path` is to be written, is there already and is not to be replaced."""
    if path is not None and path.exists() and not force:
        raise ValueError(f"{path}: exists already; `force` replaces it")
