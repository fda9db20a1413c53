"""The references of files that people read and write: `python -m sweeps.experiment.reference` writes them into docs/.

The sweep file has a page and a JSON Schema; the recipe file and the observation have a page each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeps.experiment.keys import CHANGES, REQUIRED, Key, Table, line, tables
from sweeps.experiment.record_reference import PAGES

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, SCHEMA = DOCS / "sweep-file.md", DOCS / "sweep-file.schema.json"
HEAD = """\
# The sweep file

Every key, its default and what it changes. Made from the code by `python -m sweeps.experiment.reference`, and so is
[sweep-file.schema.json](sweep-file.schema.json), by which an editor completes and checks the file. `sweep init FILE`
writes a commented sweep file for a suite, your data and a budget.

The file is the experiment: flags of `sweep run` operate it and never change it. `1e12` is a number. Relative paths hold
beside the file, then in the current folder. A grid of models x budgets x methods x conditions x seeds is trained; what
cannot be is left out with its reason, which `sweep run FILE --dry-run` shows:

- `min_steps`: a budget that buys fewer optimiser steps of a model is left out. `fit` takes trials of at least 50.
- `max_epochs`: a budget that buys more passes over the unique pairs is left out, and that is one pass unless it says
  otherwise. With few pairs most of a grid is left out; `fit` takes trials of up to 4.
"""
TYPES: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "whole number": {"type": "integer"},
    "number": {"type": "number"},
    "true or false": {"type": "boolean"},
    "list of texts": {"type": "array", "items": {"type": "string"}},
    "list of numbers": {"type": "array", "items": {"type": "number"}},
    "list of whole numbers": {"type": "array", "items": {"type": "integer"}},
    "list of lists of numbers": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    "table of columns": {
        "type": "object",
        "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    },
}


def page() -> str:
    """The reference as Markdown."""
    parts = [HEAD]
    for table in tables():
        head = ["key", "type", "default", "what it says", *([] if table.title else ["changes"])]
        rows = [line(head), line(["---"] * len(head)), *(line(_cells(key, not table.title)) for key in table.keys)]
        title = f"`{table.title}`" if table.title else "The top of the file"
        parts.append("\n".join([f"## {title}", "", table.about, "", *rows, ""]))
    return "\n".join(parts)


def _cells(key: Key, at_top: bool) -> list[str]:
    kind = f"{key.kind}, or a list of them" if key.spans else key.kind
    choices = f" One of {', '.join(f'`{name or _EMPTY}`' for name in key.choices)}." if key.choices else ""
    plain = key.default == REQUIRED or " " in key.default
    default = key.default if plain else f"`{key.default}`"
    return [f"`{key.name}`", kind, default, f"{key.meaning}{choices}", *([CHANGES[key.name]] if at_top else [])]


_EMPTY = '""'


def schema() -> dict[str, Any]:
    """The reference as a JSON Schema, for editors that check TOML by one."""
    top, training, methods, rates, racing, repeat, data, compare, goal = map(_object, tables())
    named = methods["properties"]
    named["lr"] = {"anyOf": [named["lr"], {"type": "object", "additionalProperties": {"type": "number"}}]}
    named["lr_search"] = {"anyOf": [named["lr_search"], rates]}
    inside = {"training": training, "racing": racing, "compare": compare, "goal": goal}
    inside |= {name: {"type": "array", "items": item} for name, item in (("methods", methods), ("repeat", repeat))}
    inside |= {"data": {"type": "array", "items": data, "minItems": 2}}
    for name, content in inside.items():
        top["properties"][name] = content | {"description": top["properties"][name]["description"]}
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Sweep file of the recipe planner"}
    either = [{"required": [backbones, trials]} for backbones in ("suite", "models") for trials in ("budgets", "goal")]
    return about | top | {"anyOf": either}


def _object(table: Table) -> dict[str, Any]:
    required = [key.name for key in table.keys if key.default == REQUIRED]
    return {
        "type": "object",
        "description": table.about,
        "properties": {key.name: _property(key) for key in table.keys},
        "required": required,
        "additionalProperties": False,
    }


def _property(key: Key) -> dict[str, Any]:
    one = _type(key)
    content = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]} if key.spans else one
    return {**content, "description": key.meaning}


def _type(key: Key) -> dict[str, Any]:
    content = dict(TYPES.get(key.kind.removesuffix(" or table"), {}))
    limits: dict[str, Any] = {"minimum": key.least} if key.least is not None else {}
    limits |= {"enum": list(key.choices)} if key.choices else {}
    if "items" in content:
        return {**content, "items": {**content["items"], **limits}}
    return {**content, **limits}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")
    for name, text in PAGES.items():
        (DOCS / name).write_text(text(), encoding="utf-8")
