"""A dataclass from a parsed JSON or TOML table, every key and type checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str}


def from_table(kind: type, table: Mapping[str, Any], where: str) -> Any:
    """A `kind` from `table`. Raises ValueError naming `where`, the key and the choices."""
    known = {item.name: str(item.type) for item in fields(kind)}
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"{where} has no key {key!r}; known: {', '.join(known) or 'none'}")
        wanted = _TYPES.get(known[key])
        if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise ValueError(f"{where}.{key} is {value!r}; it must be of type {known[key]}")
    # 1 and 1.0 are one setting, and must give one key.
    return kind(**{key: float(value) if known[key] == "float" else value for key, value in table.items()})
