"""Files as they are read: packed or not, how far, and whether they changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sweeps.support.json_io import open_file

if TYPE_CHECKING:
    from gzip import GzipFile

BOM = b"\xef\xbb\xbf"  # the byte order mark that Windows and Excel put before UTF-8
WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")  # those of UTF-16
PACKED = ".gz"

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row | str]]  # (number, row); a row that cannot be read is the reason, as text


@dataclass
class Meter:
    """How much of a source has been read: done() of `total`, in `unit`."""

    every: int = 1
    """Of so many rows one is read; the others are counted."""
    rows: int = 0
    """Rows so far, with those that are only counted."""
    total: float = 0.0
    """The whole of it, in `unit`; 0 where that is not known."""
    unit: str = ""
    """What is counted, such as MB."""
    done: Callable[[], float] = lambda: 0.0
    """How much of it has been read."""

    def wants(self) -> bool:
        """Count a row, and tell whether it is to be read."""
        self.rows += 1
        return self.rows % self.every == 1 % self.every


@contextmanager
def opened(path: Path, meter: Meter) -> Iterator[BinaryIO | GzipFile]:
    """The bytes of a file, unpacked. Raises ValueError for a damaged one and for UTF-16."""
    import gzip  # only here: what was counted before is told sooner without
    import zlib

    with open_file(path) as raw:
        # What is counted is the file's own bytes, packed or not: their sum is known.
        meter.total, meter.unit, meter.done = path.stat().st_size / 1e6, "MB", lambda: raw.tell() / 1e6
        try:
            if path.suffix.lower() != PACKED:
                yield _utf8(path, raw)
                return
            with gzip.open(raw) as file:
                yield _utf8(path, file)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: damaged: {error}") from None


def _utf8(path: Path, file: Any) -> Any:
    if file.peek(2)[:2] in WIDE_BOMS:
        raise ValueError(f"{path}: is UTF-16; save it as UTF-8")
    return file


def ending(path: Path) -> str:
    """What tells the format of a file: its last ending that is not .gz, in small letters."""
    name = path.name.lower().removesuffix(PACKED)
    return Path(name).suffix


def states(files: Iterable[Path]) -> list[list[Any]]:
    """What changes when a file does, for each: no change of its content leaves all of it as it was."""
    stats = [(str(path.resolve()), path.stat() if path.exists() else None) for path in files]
    return [[path, *((s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) if s else ())] for path, s in stats]


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: an escape in a file may leave half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
