"""The note in a sweep's folder that says where the sweep is kept, if not there: in a database, or in a bucket."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps.store.database import without_password
from sweeps.store.identity import identity_of
from sweeps.store.objects import checked_url, is_objects
from sweeps.store.records import lenient
from sweeps.support.atomic import write_text

_NOTE = "store.json"


@dataclass(frozen=True)
class Note:
    """Where what a sweep shares between machines is kept. "" for its folder."""

    store: str = ""
    """URL of the trials, claims and results: of a database, or of objects."""
    checkpoints: str = ""
    """URL of the objects that are copies of its checkpoints."""

    def __bool__(self) -> bool:
        return bool(self.store or self.checkpoints)


def checked_store(url: str) -> str:
    """The URL of a store, less its password, which is put into PGPASSWORD. Raises ValueError on any other."""
    return checked_url(url) if is_objects(url) else without_password(url)


def read_note(directory: Path) -> Note:
    """What the note says; nothing where there is none.

    Raises ValueError when the note is not as it was written: what it says then is neither repeated nor connected to.
    """
    path = directory / _NOTE
    if not path.exists() and not path.is_symlink():
        return Note()
    told = lenient(path)
    note = Note(*(url if isinstance(url := told.get(name, ""), str) else "" for name in ("store", "checkpoints")))
    older = told.get("postgresql")  # of earlier versions
    if isinstance(older, str) and told.get("check") == _check(older, directory):
        return Note(without_password(older))
    if not note or told.get("check") != _check_of(note, directory):
        raise ValueError(
            f"{path}: is damaged, or was changed by hand; name the store again: `sweep status DIR --store URL`"
        )
    return Note(note.store and checked_store(note.store), note.checkpoints and checked_url(note.checkpoints))


def write_note(directory: Path, note: Note) -> None:
    """Leave where the sweep is kept; no address in it holds a password."""
    write_text(directory / _NOTE, json.dumps({**asdict(note), "check": _check_of(note, directory)}) + "\n")


def refuse_other_copies(directory: Path, kept: str, given: str) -> None:
    """Raise ValueError where another URL is given ("": none is) than the one that copies of checkpoints are kept in."""
    if given and given != kept:
        raise ValueError(f"{directory}: the checkpoints of this sweep are kept in {kept}, not in {given}")


def _check_of(note: Note, directory: Path) -> str:
    return _check(" ".join(asdict(note).values()), directory)


def _check(said: str, directory: Path) -> str:
    """What tells a note that was written from one that was changed, or brought from another sweep's folder."""
    return hashlib.sha256(f"{identity_of(directory)} {said}".encode()).hexdigest()[:16]
