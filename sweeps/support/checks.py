"""A dataclass from a parsed JSON or TOML table, every key and type checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "str": (str,),
    "tuple[int, ...]": (list, tuple),
}
_ITEMS: dict[str, tuple[type, ...]] = {"tuple[int, ...]": (int,)}


def from_table(kind: type, table: Mapping[str, Any], where: str) -> Any:
    """A `kind` from `table`. Raises ValueError naming `where`, the key and the choices."""
    known = _types(kind)
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"{where} has no key {key!r}; known: {', '.join(known) or 'none'}")
        items = value if known[key] in _ITEMS and isinstance(value, (list, tuple)) else []
        if not _fits(value, _TYPES.get(known[key])) or not all(_fits(item, _ITEMS[known[key]]) for item in items):
            raise ValueError(f"{where}.{key} is {value!r}; it must be of type {known[key]}")
    # 1 and 1.0 are one setting, and must give one key.
    return kind(**{key: float(value) if _is_float(known[key], value) else value for key, value in table.items()})


@cache
def _types(kind: type) -> dict[str, str]:
    return {item.name: str(item.type) for item in fields(kind)}


def _fits(value: object, wanted: tuple[type, ...] | None) -> bool:
    """Whether `value` is of a wanted type; None wants nothing. True is no number."""
    return wanted is None or (isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool)))


def _is_float(kind: str, value: object) -> bool:
    return kind.startswith("float") and value is not None
