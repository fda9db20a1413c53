"""Whose a folder is: a marker tells a sweep's folder from anybody's own, and one sweep from another.

Folders of earlier versions and committed ones have no marker; they are known by what only a sweep leaves there.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from contextlib import suppress
from pathlib import Path

from sweeps.experiment.sources import Data
from sweeps.store.records import OBSERVATIONS, lenient
from sweeps.support.atomic import is_begun, publish_text, write_text
from sweeps.support.checksum import sealed
from sweeps.support.json_io import parse_json, read_lines
from sweeps.support.paths import MARKER

WITHIN = ("trials", "trunks", "parts", "logs", "cancelled", "running")  # folders that a sweep makes in its own


def identity_of(directory: Path) -> str:
    """What tells the sweep in `directory` from every other, wherever it is kept; "" where nothing says it."""
    identity = lenient(directory / MARKER).get("sweep", "")
    return identity if isinstance(identity, str) else ""


def beginning(sweep_file: str, data: Data) -> str:
    """A hash of what a sweep began as: two machines that begin it at once, outside of a shared folder, begin one."""
    return hashlib.sha256(f"{sweep_file}{json.dumps(data.to_json())}".encode()).hexdigest()


def edited(directory: Path) -> bool:
    """Whether the folder's sweep.toml is another text than the sweep was last run from; False where nothing says it."""
    with suppress(OSError, ValueError):
        if ran := lenient(directory / MARKER).get("ran"):
            return ran != _digest(directory / "sweep.toml")
    return False


def _digest(sweep_file: Path) -> str:
    return hashlib.sha256(sweep_file.read_text(encoding="utf-8").encode()).hexdigest()[:16]


def is_sweep(directory: Path) -> bool:
    """Whether the folder is one that a sweep made."""
    if identity_of(directory) or _holds_observations(directory / OBSERVATIONS):
        return True
    return (directory / "sweep.toml").is_file() and "data_hash" in lenient(directory / "data.json")


def _holds_observations(path: Path) -> bool:
    with suppress(OSError, ValueError, TypeError):
        return {"key", "trial"} <= set(parse_json(next(read_lines(path), b"{}")))
    return False


def refuse_foreign(directory: Path, sweep_file: Path | None = None) -> None:
    """Raise ValueError unless `directory` is free for a sweep: missing, empty, or that of this very sweep.

    sweep_file: what is to be run there; None where any sweep may be meant. A file that was edited since is still the
    same sweep, and so is one that was moved, as long as not both happened.
    """
    occupied = _is_occupied(directory)  # first, for one that begins just now leaves its marker before all else
    if not is_sweep(directory):
        if occupied:
            raise ValueError(
                f"{directory}: is not empty and holds no sweep; nothing was changed: give an empty or new folder"
            )
        return
    refuse_links(directory)
    if sweep_file is not None and not _same_file(directory, sweep_file):
        begun = lenient(directory / MARKER).get("file") or "a file of another name"
        raise ValueError(
            f"{directory}: holds the sweep of {begun}, and {sweep_file} is another; give another folder, or "
            f"edit {directory / 'sweep.toml'} and run that"
        )


def _is_occupied(directory: Path) -> bool:
    """Whether there is anything but an empty folder, or one in which a sweep has begun, or died, at its marker."""
    try:
        return not all(is_begun(name, MARKER) for name in os.listdir(directory))
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return True


def _same_file(directory: Path, sweep_file: Path) -> bool:
    kept, begun = directory / "sweep.toml", lenient(directory / MARKER).get("file")
    if sweep_file.resolve() == kept.resolve() or begun == str(sweep_file.resolve()):
        return True
    if kept.is_file() and sweep_file.read_bytes() == kept.read_bytes():
        return True
    return not begun and sweep_file.stem == directory.resolve().name


def refuse_links(directory: Path) -> None:
    """Raise ValueError when a folder that a sweep writes to and deletes from is a link to somewhere else."""
    for name in WITHIN:
        refuse_link(directory / name)


def refuse_link(path: Path) -> None:
    """Raise ValueError when `path` is a link: what a sweep writes or deletes lies in its own folder."""
    if path.is_symlink():
        raise ValueError(f"{path}: is a link to {os.readlink(path)}; a sweep does not write through links: remove it")


def mark(directory: Path, sweep_file: Path | None = None, identity: str = "") -> str:
    """Leave the marker, which keeps its identity where it has one; returns that.

    sweep_file: that the sweep is run from. identity: of a sweep that is known already, in a database. Raises ValueError
    when the folder is somebody else's.
    """
    path = directory / MARKER
    there = path.exists()  # first: what another leaves after this look is refused below, and never written over
    refuse_foreign(directory, sweep_file)
    directory.mkdir(parents=True, exist_ok=True)
    before = identity_of(directory) if there else ""
    within = sweep_file is not None and sweep_file.resolve() == (directory / "sweep.toml").resolve()
    begun = lenient(path).get("file", "") if sweep_file is None or within else str(sweep_file.resolve())
    ran = {"ran": _digest(sweep_file)} if sweep_file else {}
    text = sealed({"sweep": identity or before or uuid.uuid4().hex, "file": begun, **ran}) + "\n"
    if identity or there:  # a file without an identity is torn, or was changed by hand
        write_text(path, text)
        return identity_of(directory)
    with suppress(FileExistsError):
        publish_text(path, text)
    refuse_foreign(directory, sweep_file)  # of two that begin at once the first wins
    return identity_of(directory)
