"""Checkpoints where every machine can read them: copies in a bucket, or in a folder that is mounted everywhere.

    <key>/0002-1795929380336062000.json    what attempt 2 saved then: the files of it, with sizes and SHA-256
    <key>/0002-1795929380336062000/<file>  those files: checkpoint.safetensors, the best state, models of one source

A description is written after its files and never changed, so that nobody sees half a checkpoint, and an attempt that
was cut off and goes on writing touches nothing of the next one's. The newest one of the newest attempt counts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from sweeps.store.files import CHECKPOINT, KEY, changed
from sweeps.store.objects import CHUNK, Entry, open_objects
from sweeps.support.atomic import filling
from sweeps.support.checks import check_fields
from sweeps.support.checksum import NAME, refuse_changed, sealed
from sweeps.support.json_io import parse_json

_DESCRIPTION = re.compile(r"(\d{4,})-(\d{1,20})\.json")
_PART = re.compile(rf"{KEY.pattern}\.safetensors")
_FILE = re.compile(rf"(best-)?{re.escape(CHECKPOINT)}|{_PART.pattern}")
_LIMITS = {"size": (0, 1e15), "changed": (1, 1e20)}


class Unusable(ValueError):
    """A copy of a checkpoint that is not what was written, and why."""


@dataclass(frozen=True)
class Copied:
    """One file of a checkpoint."""

    name: str
    """Its name: that of the checkpoint, of the best state, or of a model of one source."""
    size: int
    """Bytes."""
    sha256: str
    """Of its content."""
    changed: int
    """When it was last written on the machine that saved it, ns since 1970."""


@dataclass(frozen=True, order=True)
class Description:
    """Which checkpoint: the number of the attempt that saved it, and when its file was written, ns."""

    attempt: int
    changed: int

    @property
    def stem(self) -> str:
        return f"{self.attempt:04d}-{self.changed}"


class Checkpoints:
    """The copies of the checkpoints of one sweep, under a URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._objects = open_objects(self.url)

    def newest(self, key: str) -> int:
        """When the checkpoint that a trial would go on from was written, ns; 0 when there is none."""
        descriptions = _descriptions(self._objects.listed(key))
        return descriptions[0].changed if descriptions else 0

    def save(self, key: str, attempt: int, paths: Sequence[Path]) -> int:
        """Copy a checkpoint, the first path, and what belongs to it; returns when it was written, ns. Paths that are
        not there are left out; 0 when the first is not."""
        with ExitStack() as stack:
            # Opened in this order: what belongs to a checkpoint may be newer than it, never older.
            files = [stack.enter_context(file) for path in paths if (file := _opened(path))]
            if not files or Path(files[0].name).name != CHECKPOINT:
                return 0
            mark = Description(attempt, os.fstat(files[0].fileno()).st_mtime_ns)
            copied = [self._upload(f"{key}/{mark.stem}", file) for file in files]
        text = sealed({"key": key, "files": [asdict(each) for each in copied]})
        self._objects.write(f"{key}/{mark.stem}.json", text.encode())
        self._tidy(key, mark)
        return mark.changed

    def _upload(self, folder: str, file: IO[bytes]) -> Copied:
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        at = os.fstat(file.fileno())
        file.seek(0)
        name = Path(file.name).name
        self._objects.upload(f"{folder}/{name}", file)
        return Copied(name, at.st_size, digest.hexdigest(), at.st_mtime_ns)

    def _tidy(self, key: str, newest: Description) -> None:
        """Delete what this attempt and those before it had saved until then."""
        older = []
        for entry in self._objects.listed(key):
            stem = entry.name.split("/")[1].removesuffix(".json")
            if (match := _DESCRIPTION.fullmatch(f"{stem}.json")) and Description(int(match[1]), int(match[2])) < newest:
                older.append(entry.name)
        self._objects.delete(sorted(older, key=lambda name: not name.endswith(".json")))  # descriptions first

    def fetch(self, key: str, folder: Path, parts: Path) -> list[str]:
        """Have the newest checkpoint of a trial in its `folder`, unless what lies there is as new; models of one source
        in `parts`. Returns what went wrong, as sentences; older copies are taken then, or none."""
        said: list[str] = []
        for _ in range(3):  # an attempt that was cut off may delete what is just read, for it has saved anew
            descriptions = _descriptions(self._objects.listed(key))
            if not descriptions or changed(folder / CHECKPOINT) >= descriptions[0].changed:
                return said
            with suppress(FileNotFoundError):
                for description in descriptions:
                    try:
                        self._take(key, description, folder, parts)
                        return said
                    except Unusable as error:
                        said.append(f"{error}; it is not used")
                return said
        return [*said, f"{self.url}/{key}: files of its newest checkpoint are missing; it is not used"]

    def _take(self, key: str, mark: Description, folder: Path, parts: Path) -> None:
        copied = self._described(key, mark)
        with ExitStack() as stack:  # the trial's own files come to lie there last, and the checkpoint after them all
            own = stack.enter_context(filling(folder, {CHECKPOINT}))
            of_sources = any(_PART.fullmatch(each.name) for each in copied)
            shared = stack.enter_context(filling(parts, ())) if of_sources else own
            for each in copied:
                into = shared if _PART.fullmatch(each.name) else own
                self._download(f"{key}/{mark.stem}/{each.name}", each, into / each.name)

    def _described(self, key: str, mark: Description) -> list[Copied]:
        name = f"{key}/{mark.stem}.json"
        text = self._objects.read(name)
        try:
            content = parse_json(text)
            refuse_changed(text, content.pop(NAME, ""))
            if content["key"] != key:
                raise ValueError(f"is of {content['key']!r}")
            return [_copied(each) for each in content["files"]]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unusable(f"{self.url}/{name}: {' '.join(str(error).split())}") from None

    def _download(self, name: str, copied: Copied, path: Path) -> None:
        digest, size = hashlib.sha256(), 0
        with open(path, "wb") as file:
            for chunk in self._objects.chunks(name):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
        if (size, digest.hexdigest()) != (copied.size, copied.sha256):
            raise Unusable(f"{self.url}/{name}: differs from what was written ({size:,} of {copied.size:,} bytes)")
        os.utime(path, ns=(copied.changed, copied.changed))

    def drop(self, key: str) -> None:
        """Delete what was there to continue a trial."""
        names = [entry.name for entry in self._objects.listed(key)]
        self._objects.delete(sorted(names, key=lambda name: not name.endswith(".json")))


def _descriptions(entries: Iterable[Entry]) -> list[Description]:
    """What is described, the newest first."""
    matches = [_DESCRIPTION.fullmatch(entry.name.rpartition("/")[2]) for entry in entries]
    return sorted((Description(int(match[1]), int(match[2])) for match in matches if match), reverse=True)


def _copied(content: Any) -> Copied:
    """One file as a description has it. Raises ValueError for what no description of ours says: a name is no path."""
    check_fields(Copied, content, "", _LIMITS)
    copied = Copied(**content)
    if not _FILE.fullmatch(copied.name):
        raise ValueError(f"{copied.name!r} is no file of a checkpoint")
    return copied


def _opened(path: Path) -> IO[bytes] | None:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None
