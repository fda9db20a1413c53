"""TOML files that come from anybody, and the writing of tables as TOML."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sweeps.support.checks import brief
from sweeps.support.json_io import open_file

MOST_BYTES = 1_000_000  # of a file
MOST_CHARACTERS = 10_000  # of a text in one
DEEPEST = 8  # tables and lists inside one another
LARGEST = 2**63 - 1  # whole number, as TOML has it

Checked = TypeVar("Checked")


def read_checked(path: Path, check: Callable[[dict[str, Any]], Checked]) -> Checked:
    """What `check` makes of the table in a TOML file. What it refuses (ValueError) is given the file's name."""
    return checked(read_toml(path), path, check)


def checked(table: dict[str, Any], where: Path | str, check: Callable[[dict[str, Any]], Checked]) -> Checked:
    """What `check` makes of a table. What it refuses (ValueError) is given its place."""
    try:
        return check(table)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file. Raises ValueError naming the file and the place of what is absurd anywhere."""
    with open_file(path) as file:
        return parse_toml(file.read(MOST_BYTES + 1), path)


def parse_toml(content: bytes, path: Path | str) -> dict[str, Any]:
    """The table in the content of a TOML file. Raises ValueError as `read_toml` does."""
    import tomllib  # only here: the planner writes recipes and starts faster without

    if len(content) > MOST_BYTES:
        raise ValueError(f"{path}: is larger than {MOST_BYTES:,} bytes")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: not TOML: lists or tables nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    inside: list[tuple[str, Any, int]] = [("", table, 0)]
    while inside:
        where, value, depth = inside.pop()
        if problem := _absurd(value, depth):
            raise ValueError(f"{path}: {where} {problem}")
        if isinstance(value, dict):
            inside += [(f"{where}.{key}" if where else key, item, depth + 1) for key, item in value.items()]
        if isinstance(value, list):
            inside += [(f"{where}[{i}]", item, depth + 1) for i, item in enumerate(value)]
    return table


def _absurd(value: Any, depth: int) -> str:
    """What is wrong with a value wherever it stands; "" when nothing is."""
    if depth > DEEPEST:
        return f"is nested more than {DEEPEST} tables and lists deep"
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value!r}; it must be finite"
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        return f"is {brief(value)}; whole numbers go up to 2^63 - 1"
    for text in value if isinstance(value, dict) else [value]:
        if isinstance(text, str) and len(text) > MOST_CHARACTERS:
            return f"has a text of {len(text):,} characters; at most {MOST_CHARACTERS:,}"
    return ""


def comments(remarks: tuple[str, ...]) -> list[str]:
    """Remarks as comment lines; what cannot be printed, line breaks included, becomes a space."""
    plain = ("".join(char if char.isprintable() else " " for char in remark) for remark in remarks)
    return [f"# {' '.join(remark.split())}" for remark in plain]


def lines(table: Mapping[str, Any]) -> list[str]:
    """`key = value` for every key of a flat table; None has no TOML and is left out."""
    return [f"{_key(key)} = {toml_value(value)}" for key, value in table.items() if value is not None]


def toml_value(value: Any) -> str:
    """One value in TOML. Raises ValueError for what a recipe or a sweep never holds."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, str)):
        # A JSON string is a TOML basic string, once the one control character that JSON leaves bare is escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, float) and math.isfinite(value):
        text = repr(value)
        return text if "." in text or "e" in text else f"{text}.0"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {toml_value(item)}' for key, item in value.items())} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    raise ValueError(f"{value!r} cannot be written to TOML")


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else toml_value(key)
