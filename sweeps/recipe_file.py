"""recipe.toml: one trial as a file that `plan` writes and `embed train` reads, what is predicted of it beside."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeps.methods import make_method
from sweeps.tables import from_table
from sweeps.trial import Training, Trial

NUMBERS = {"lr": (int, float), "steps": (int,), "seed": (int,), "budget": (int, float)}


def write_recipe(path: Path, trial: Trial, predicted: Mapping[str, Any], remarks: tuple[str, ...] = ()) -> None:
    """The recipe at `path`, replaced whole or not at all. `remarks` become comments at its top."""
    write_text(path, recipe_text(trial, predicted, remarks))


def recipe_text(trial: Trial, predicted: Mapping[str, Any], remarks: tuple[str, ...] = ()) -> str:
    """TOML: the trial at the top level, [method] and [training]; [predicted], which training ignores."""
    head = {"model": trial.model, "lr": trial.lr, "steps": trial.steps, "seed": trial.seed, "budget": trial.budget}
    tables = {
        "method": {"name": trial.method.name, **trial.method.options},
        "training": asdict(trial.training),
        "predicted": predicted,
    }
    parts = ["\n".join([*comments(remarks), *lines(head)])]
    parts += ["\n".join([f"[{name}]", *lines(table)]) for name, table in tables.items()]
    return "\n\n".join(parts) + "\n"


def read_recipe(path: Path) -> Trial:
    """The trial of a recipe. Raises ValueError naming the file, the place and the choices."""
    import tomllib  # only here: the planner writes recipes and starts faster without

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    try:
        return _trial(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _trial(content: dict[str, Any]) -> Trial:
    content.pop("predicted", None)
    known = ("model", *NUMBERS, "method", "training")
    for key in content:
        if key not in known:
            raise ValueError(f"has no key {key!r}; known: {', '.join(known)}, predicted")
    for key in ("model", "lr", "steps", "method", "training"):
        if key not in content:
            raise ValueError(f"lacks {key!r}")
    for key in ("method", "training"):
        if not isinstance(content[key], dict):
            raise ValueError(f"{key} is {content[key]!r}; it must be a table")
    for key, kinds in NUMBERS.items():
        value = content.get(key, 0)
        if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{key} is {value!r}; it must be a number, 0 or more")
    if not isinstance(content["model"], str) or not content["lr"] or not content["steps"]:
        raise ValueError("model must be a name, lr and steps positive")
    method = dict(content.pop("method"))
    if "name" not in method:
        raise ValueError("method lacks 'name'")
    name = method.pop("name")
    try:
        made = make_method(name, method)
    except (ValueError, TypeError) as error:
        raise ValueError(f"method: {error}") from None
    training = from_table(Training, content.pop("training"), "training")
    return from_table(Trial, {**content, "method": made, "training": training}, "recipe")


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


def write_text(path: Path, text: str) -> None:
    """`text` at `path`, written beside it first and renamed, so that no reader sees half of it."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
