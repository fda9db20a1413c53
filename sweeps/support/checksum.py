"""A checksum within a JSON object: whether the rest of it still is what was written. White space does not count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NAME = "checksum"
_SPACE = b" \t\r\n"


def sealed(content: Mapping[str, Any], indent: int | None = None) -> str:
    """The JSON of `content` with its checksum as the last field."""
    before, after = json.dumps({**content, NAME: ""}, indent=indent).rsplit('""', 1)
    return f'{before}"{_digest((before + after).encode())}"{after}'


def refuse_changed(text: bytes | str, checksum: Any) -> None:
    """Raise ValueError when `text`, in which that checksum stands, is no longer what `sealed` made.

    checksum: None where there is none; such texts are of earlier versions or made by hand, and taken as they are.
    """
    if checksum is None:
        return
    raw = text.encode() if isinstance(text, str) else text
    before, _, after = raw.rpartition(json.dumps(checksum).encode())
    if _digest(before + after) != checksum:
        raise ValueError(f'changed since it was written; if you changed it, remove its "{NAME}" to use it')


def _digest(text: bytes) -> str:
    return hashlib.sha256(text.translate(None, _SPACE)).hexdigest()[:16]
