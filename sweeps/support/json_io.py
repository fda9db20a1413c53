"""JSON files and logs that come from anybody: regular files, bounded in size and depth, read without waiting."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 200_000_000  # of a file
MOST_LINE = 20_000_000  # bytes of a line of one
MOST_END = 2_000_000  # bytes of a log, from its end
DEEPEST = 30  # lists and objects inside one another
KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def open_file(path: Path | str) -> IO[bytes]:
    """A file opened to read. Raises ValueError for what is none, such as a pipe; OSError where it cannot be opened."""
    try:
        file = open(path, "rb", opener=_not_waiting)  # noqa: SIM115 (the caller closes it)
    except FileNotFoundError:
        if os.path.islink(path):  # something was here: that is not the same as nothing
            raise ValueError(f"{path}: is a broken link to {os.readlink(path)}") from None
        raise
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise _no_file(path, mode)
    return file


def _no_file(path: Path | str, mode: int) -> ValueError:
    kind = KINDS.get(stat.S_IFMT(mode), "no file")
    return ValueError(f"{path}: is {kind}; it must be a file")


def refuse_special(folder: Path) -> None:
    """Raise ValueError naming a pipe, a device or a socket in a folder, or in one within, that a library is to read:
    it would wait for ever. Links that lead nowhere are left to whoever opens them."""
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        with suppress(OSError):
            if stat.S_IFMT(mode := path.stat().st_mode) in KINDS:
                raise _no_file(path, mode)


def _not_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


def read_bytes(path: Path | str, most: int = MOST_BYTES) -> bytes:
    """The content of a file. Raises ValueError for more than `most` bytes, and as `open_file` does."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"{path}: has {size:,} bytes; at most {most:,} are read")
        return file.read()


def read_end(path: Path | str, most: int = MOST_END) -> str:
    """The last `most` bytes of a log, as text whatever they are; "" without a file. Raises as `open_file` does."""
    with suppress(FileNotFoundError), open_file(path) as file:
        file.seek(max(os.fstat(file.fileno()).st_size - most, 0))
        return file.read(most).decode("utf-8", errors="replace")
    return ""


def read_lines(path: Path | str, most: int = MOST_LINE) -> Iterator[bytes]:
    """The lines of a file. Raises ValueError for a line of more than `most` bytes, and as `open_file` does."""
    with open_file(path) as file:
        number = 0
        while line := file.readline(most + 1):
            number += 1
            if len(line) > most:
                raise ValueError(f"{path}:{number}: has more than {most:,} bytes in one line")
            yield line


def read_json(path: Path | str, most: int = MOST_BYTES) -> Any:
    """The content of a JSON file. Raises ValueError naming the file when it is not JSON, or as `read_bytes` does."""
    return json_of(read_bytes(path, most), path)


def json_of(text: bytes, path: Path | str) -> Any:
    """The content of a JSON file whose text was read. Raises ValueError naming the file when it is not JSON."""
    try:
        return parse_json(text)
    except NotJson as error:
        raise ValueError(f"{path}: {error}") from None


class NotJson(ValueError):
    """What is wrong with a text that is not JSON, or JSON that no program of ours has written."""


def parse_json(text: bytes | str) -> Any:
    """The content of a JSON text. Raises NotJson saying why it is none."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        content = json.loads(text)
    except RecursionError:
        raise NotJson(f"nested more than {DEEPEST} lists and objects deep") from None
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8: {error}") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error}") from None
    except ValueError:  # Python's own bound
        raise NotJson("contains a number with thousands of digits") from None
    if text.count("[") + text.count("{") > DEEPEST and too_deep(content):
        raise NotJson(f"nested more than {DEEPEST} lists and objects deep")
    return content


def too_deep(content: Any, deepest: int = DEEPEST) -> bool:
    """Whether lists and objects lie further inside one another than that."""
    level = [content] if isinstance(content, (list, dict)) else []
    for _ in range(deepest):
        if not level:
            return False
        inside = chain.from_iterable([each.values() if type(each) is dict else each for each in level])
        level = [item for item in inside if type(item) is list or type(item) is dict]
    return bool(level)
