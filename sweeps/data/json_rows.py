"""Rows of JSON files: an object a line, or one array of objects, whichever of the two the file is called."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sweeps.data.files import BOM, Meter, Row, Rows, ending, opened
from sweeps.support.json_io import MOST_LINE

CHUNK = 2**16  # characters that are read of an array at a time
CUT = 16  # characters before the end of what was read: an error there may be the cut's, not the file's
DEEP = "lists and objects are nested too deeply"
LONG_NUMBER = "contains a number with thousands of digits"
BETWEEN = re.compile(r"[\s,]*")


def json_rows(path: Path, meter: Meter) -> Rows:
    """The rows of a file of JSON. Of lines the number is the line's, of an array the place in it, from 1.

    Raises ValueError where an array cannot be read on: only lines have an end that can be found again.
    """
    with opened(path, meter) as file:
        start = _first(line.removeprefix(BOM).strip() for line in iter(partial(file.readline, CHUNK), b""))
        file.seek(0)
        if start.startswith(b"[") or (ending(path) == ".json" and not _is_json(start)):
            yield from _values(path, file, meter)
        else:
            yield from _lines(path, file, meter)


def _first(parts: Iterator[Any]) -> Any:
    """The first part that is not empty."""
    return next(filter(None, parts), b"")


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _row(value: Any) -> Row | str:
    return value if isinstance(value, dict) else f"a {type(value).__name__}, not an object"


def _lines(path: Path, file: Any, meter: Meter) -> Rows:
    for number, line in enumerate(iter(partial(file.readline, MOST_LINE + 1), b""), 1):
        if len(line) > MOST_LINE:
            raise ValueError(f"{path}:{number}: has more than {MOST_LINE:,} bytes in one line")
        line = line.removeprefix(BOM) if number == 1 else line
        if not line.strip() or not meter.wants():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            yield number, "not UTF-8"
        except json.JSONDecodeError as error:
            yield number, f"not JSON ({error.msg})"
        except RecursionError:
            yield number, DEEP
        except ValueError:  # Python's own bound
            yield number, LONG_NUMBER
        else:
            yield number, _row(value)


def _values(path: Path, file: Any, meter: Meter) -> Rows:
    """The values of an array, or values one after another that may go over several lines."""
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape")
    read, decoder = _first(part.lstrip() for part in iter(partial(text.read, CHUNK), "")), json.JSONDecoder()
    closing = "]" if read.startswith("[") else ""
    at, number = len(closing), 0
    while True:
        at = _between(read, at)
        if closing and read[at : at + 1] == closing:
            break
        try:
            value, end = decoder.raw_decode(read, at)
        except json.JSONDecodeError as error:
            more = text.read(max(CHUNK, len(read) - at))
            inside = error.pos < len(read) - CUT and not error.msg.startswith("Unterminated string")
            if not more and at == len(read) and not closing:
                return
            if inside or not more:
                raise ValueError(f"{path}:{number + 1}: not JSON ({error.msg}); the rest cannot be read") from None
            if len(read) - at > MOST_LINE:
                raise ValueError(f"{path}:{number + 1}: has more than {MOST_LINE:,} characters in one value") from None
            read, at = read[at:] + more, 0
            continue
        except (RecursionError, ValueError) as error:
            reason = DEEP if isinstance(error, RecursionError) else LONG_NUMBER
            raise ValueError(f"{path}:{number + 1}: {reason}; the rest cannot be read") from None
        at, number = end, number + 1
        if meter.wants():
            yield number, _row(value)
    if rest := (read[at + 1 :] + text.read(CHUNK)).strip():
        raise ValueError(f"{path}: has text after its array: {rest[:40]!r}; give one array, or one object per line")


def _between(text: str, at: int) -> int:
    found = BETWEEN.match(text, at)
    return found.end() if found else at
