"""The one way to write a file or a folder: beside its place under a temporary name, then renamed.

A reader sees the old content or the new one, never half of it, and a writer that fails leaves nothing.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """`text` at `path` in place of whatever is there, as UTF-8. durable: see `replacing`."""
    with replacing(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def publish_text(path: Path, text: str, durable: bool = True) -> None:
    """Create `path` with `text` at once, unless it exists: of several writers the first wins.

    Raises OSError when `path` exists or cannot be made. durable: see `replacing`.
    """
    publish_bytes(path, text.encode(), durable)


def publish_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """As `publish_text`."""
    with _removed(_beside(path)) as temporary:
        temporary.write_bytes(content)
        if durable:
            to_disk(temporary)
        os.link(temporary, path)


def discard(path: Path) -> None:
    """Delete a file, a link itself, or a folder that is no link, with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Give a file that cannot be used another name beside its own, in place of one there; returns that."""
    aside = path.with_name(f"damaged-{path.name}")
    os.replace(path, aside)
    return aside


def append_text(path: Path, text: str) -> None:
    """Add `text` to a file, which is made if need be. Raises OSError where `path` is a link: a log follows none."""
    with open(path, "a", encoding="utf-8", opener=following_no_link) as file:
        file.write(text)


def touch(path: Path) -> None:
    """Make an empty file unless there is one. Raises OSError where `path` is a link."""
    os.close(following_no_link(path, os.O_CREAT | os.O_WRONLY))


def following_no_link(path: str | Path, flags: int) -> int:
    """An opener that fails on a link instead of writing to what it names."""
    try:
        return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a link, which is not followed: remove it", os.fspath(path)) from None
        raise


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A path to write a file to, which replaces `path` when the block ends and is removed when the block raises.

    Its name ends in .tmp, so that a writer that looks at endings must be told its format. durable: the content is on
    the disk before `path` refers to it, so that a power cut cannot leave the name without its content.
    """
    with _removed(_beside(path)) as temporary:
        try:
            yield temporary
        except OSError as error:
            if error.filename == os.fspath(temporary):
                error.filename = os.fspath(path)  # the name that the caller knows
            raise
        if durable:
            to_disk(temporary)
        os.replace(temporary, path)


@contextmanager
def new_folder(path: Path, inside: Path | None = None) -> Iterator[Path]:
    """A folder to fill, which becomes `path` when the block ends and is removed when the block raises.

    Its files are on the disk before `path` is there. inside: the folder to fill lies there, on the same file system,
    instead of beside `path`. Raises OSError when something other than an empty folder is at `path` by then.
    """
    with temporary_folder(path if inside is None else inside / path.name) as temporary:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                to_disk(file)
        os.rename(temporary, path)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, under a hidden name of its own, which is removed when the block ends."""
    with _removed(_beside(path)) as temporary:
        temporary.mkdir(parents=True)
        yield temporary


@contextmanager
def filling(folder: Path, last: Container[str]) -> Iterator[Path]:
    """A folder to write files to, which come to lie in `folder` when the block ends, those named in `last` at the end.

    Ended before, it leaves in `folder` some of the others, each whole, and none of the last.
    """
    with temporary_folder(folder / "filling") as temporary:
        yield temporary
        files = sorted(path.relative_to(temporary) for path in temporary.rglob("*") if path.is_file())
        for file in files:
            to_disk(temporary / file)
        for file in sorted(files, key=lambda file: str(file) in last):
            (folder / file).parent.mkdir(exist_ok=True)
            os.replace(temporary / file, folder / file)


def _beside(path: Path) -> Path:
    """A hidden name next to `path` that no other writer has, on whatever machine."""
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")


def is_begun(name: str, file: str) -> bool:
    """Whether `name` is what a writer of `file` that was killed leaves beside it."""
    return re.fullmatch(rf"\.{re.escape(file)}\.[0-9a-f]{{16}}\.tmp", name) is not None


@contextmanager
def _removed(temporary: Path) -> Iterator[Path]:
    """Nothing is left under this name, and what went wrong before is what is raised."""
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Have the content of a file on the disk before what follows."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
