"""Files that only save doing something again: one that is damaged is made anew, and that is said."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sweeps.support.atomic import discard, write_text
from sweeps.support.console import sentence
from sweeps.support.json_io import read_json

DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zlib.error, OverflowError)

Kept = TypeVar("Kept")


def recalled(path: Path, read: Callable[[Path], Kept]) -> Kept | None:
    """What `read` makes of a kept file or folder; None where there is none, or where it is damaged and now deleted."""
    if not path.exists() and not path.is_symlink():
        return None
    try:
        return read(path)
    except DAMAGED as error:
        reason = f"has no {error.args[0]!r}" if isinstance(error, KeyError) else sentence(error)
        print(f"{path}: cannot be used and is rebuilt: {reason}", file=sys.stderr, flush=True)
        discard(path)
        return None


def keep_json(path: Path, content: Any) -> None:
    """Write what `kept_json` reads, with its checksum."""
    text = json.dumps(content)
    if path.is_dir():
        discard(path)
    write_text(path, json.dumps({"checksum": zlib.crc32(text.encode()), "kept": content}))


def kept_json(path: Path) -> Any:
    """What `keep_json` wrote. Raises ValueError or OSError where it is not that any more."""
    content = read_json(path)
    if not isinstance(content, dict) or zlib.crc32(json.dumps(content.get("kept")).encode()) != content.get("checksum"):
        raise ValueError("its checksum does not match")
    return content["kept"]
