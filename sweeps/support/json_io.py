"""JSON files that come from anybody: regular files of bounded size and depth, read without waiting for anything."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 200_000_000  # of a file
MOST_LINE = 20_000_000  # bytes of a line of one
DEEPEST = 30  # lists and objects inside one another
KINDS = {stat.S_ISFIFO: "a named pipe", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device", stat.S_ISSOCK: "a socket"}


def open_file(path: Path | str) -> IO[bytes]:
    """A file opened to read. Raises ValueError for what is none, such as a pipe; OSError where it cannot be opened."""
    file = open(path, "rb", opener=_not_waiting)  # noqa: SIM115 (the caller closes it)
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        kind = next((name for test, name in KINDS.items() if test(mode)), "no file")
        raise ValueError(f"{path}: is {kind}; it must be a file")
    return file


def _not_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


def read_bytes(path: Path | str, most: int = MOST_BYTES) -> bytes:
    """The content of a file. Raises ValueError for more than `most` bytes, and as `open_file` does."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"{path}: has {size:,} bytes; at most {most:,} are read")
        return file.read()


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
        content = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except RecursionError:
        raise NotJson(f"not JSON of ours: lies more than {DEEPEST} lists and objects deep") from None
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8: {error}") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error}") from None
    except ValueError:  # Python's own bound
        raise NotJson("not JSON of ours: holds a number of thousands of digits") from None
    if too_deep(content):
        raise NotJson(f"not JSON of ours: lies more than {DEEPEST} lists and objects deep")
    return content


def too_deep(content: Any, deepest: int = DEEPEST) -> bool:
    """Whether lists and objects lie further inside one another than that."""
    level = [content] if isinstance(content, (list, dict)) else []
    for _ in range(deepest):
        if not level:
            return False
        inside = []
        for each in level:
            inside += [item for item in (each.values() if type(each) is dict else each) if type(item) in (list, dict)]
        level = inside
    return bool(level)
