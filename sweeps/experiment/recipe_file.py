"""recipe.toml: one trial as a file that `plan` writes and `embed train` reads, what is predicted of it beside."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeps.methods import make_method
from sweeps.support.atomic import write_text
from sweeps.support.checks import from_table
from sweeps.trial import Training, Trial, mixed

MOST_BYTES = 1_000_000  # of a sweep file or a recipe
MOST_CHARACTERS = 10_000  # of a text in one
DEEPEST = 8  # tables and lists inside one another
LARGEST = 2**63 - 1  # whole number, as TOML has it
MOST_STEPS = 10**9
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
    content = read_toml(path)
    try:
        return _trial(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A file from anybody. Raises ValueError naming the file and what no sweep and no recipe can hold."""
    import tomllib  # only here: the planner writes recipes and starts faster without

    with open(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path}: is larger than {MOST_BYTES:,} bytes")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: not TOML: lists or tables inside one another too deeply") from None
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
        return f"lies more than {DEEPEST} tables and lists deep"
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value!r}; it must be finite"
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        return f"is {short(value)}; whole numbers go up to 2^63 - 1"
    for text in value if isinstance(value, dict) else [value]:
        if isinstance(text, str) and len(text) > MOST_CHARACTERS:
            return f"has a text of {len(text):,} characters; at most {MOST_CHARACTERS:,}"
    return ""


class _Brief(reprlib.Repr):
    def repr_float(self, value: float, _: int) -> str:
        brief = f"{value:g}"  # 1e+12, not 1000000000000.0
        return brief if "e" in brief and float(brief) == value else repr(value)


_BRIEF = _Brief()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80


def short(value: Any) -> str:
    """As Python writes it, cut where it is long, but for round floats such as 1e+12."""
    return _BRIEF.repr(value)


def nearest(value: Any, known: Iterable[str]) -> str:
    """The known name that was probably meant, in brackets; "" when none is near."""
    import difflib  # only here: as above

    near = difflib.get_close_matches(str(value)[:80], list(known), n=1)
    return f" (meant {near[0]!r}?)" if near else ""


def _trial(content: dict[str, Any]) -> Trial:
    content.pop("predicted", None)
    known = ("model", *NUMBERS, "method", "training")
    if "data" in content:
        from sweeps.experiment.grid import (
            read_sources,  # only here: the planner writes recipes and starts faster without
        )

        sources = content.pop("data")
        if "data" in content.get("training", {}):
            raise ValueError("training.data and [[data]] both say what to train on; give one")
        content["training"] = {**content.get("training", {}), "data": mixed(read_sources(sources))}
    for key in content:
        if key not in known:
            raise ValueError(f"has no key {short(key)}{nearest(key, known)}; known: {', '.join(known)}, predicted")
    for key in ("model", "lr", "steps", "method", "training"):
        if key not in content:
            raise ValueError(f"lacks {key!r}")
    for key in ("method", "training"):
        if not isinstance(content[key], dict):
            raise ValueError(f"{key} is {short(content[key])}; it must be a table")
    for key, kinds in NUMBERS.items():
        value = content.get(key, 0)
        if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
            whole = "whole " if kinds == (int,) else ""
            raise ValueError(f"{key} is {short(value)}; it must be a {whole}number, 0 or more")
    if content["steps"] > MOST_STEPS:
        raise ValueError(f"steps is {content['steps']}; at most {MOST_STEPS:,}")
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
