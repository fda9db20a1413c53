"""The references of the recipe file and of an observation, from the records that they are read into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields

from sweeps.experiment.keys import Key, Table, line, meaning, tables
from sweeps.trial import Observation, Trial

RECIPE_HEAD = """\
# The recipe file

One trial as TOML: `plan --out recipe.toml` writes it, `embed train recipe.toml` trains it. Made from the code by
`python -m sweeps.experiment.reference`.

```toml
model  = "nano-340k"
lr     = 0.0023
steps  = 83
seed   = 0
budget = 4e11

[method]
name = "full"

[training]
data        = "pairs.jsonl"
batch_size  = 32
temperature = 0.05
```

Keys that a file leaves out have their defaults. Relative paths hold beside the file, then in the current folder. An
unknown key is an error that names the known ones. Comments at the top, written by `plan`, say what the recipe rests on.
"""
PREDICTED = """\
## `[predicted]`

What `plan` expects, under the names of a recipe in [`plan --json`](plan-json.md#a-recipe), with `measure` (the loss, or
the score that the laws predict) and `scores`. Training ignores the table. `embed train` prints what was
reached beside it.
"""
OBSERVATION_HEAD = """\
# The observation

What one trial left, failed ones included: a line of `observations.jsonl`, and `observation.json` in the folder of a
trained model. `sweep export DIR --csv FILE` writes the same as a table. Made from the code by
`python -m sweeps.experiment.reference`.

Values that are not known are `null` or empty. FLOPs, parameters, tokens and pairs are plain numbers. New fields may be
added; names and meanings stay.
"""
# Type of a field -> what JSON has for it.
JSON_TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "float | None": "number or `null`",
    "Trial": "object",
    "Method": "object",
    "Training": "object",
    "Mapping[str, Any]": "object",
    "Mapping[str, float]": "object of numbers",
    "tuple[tuple[int, int, float], ...]": "list of lists",
    "tuple[Mapping[str, float], ...]": "list of objects",
}
INSIDE = {"Trial": "[the trial](#trial)", "Method": "`name` and settings", "Training": "[conditions](sweep-file.md)"}


def recipe_page() -> str:
    """The reference of a recipe file as Markdown."""
    training, methods = (table for table in tables() if table.title in ("[training]", "[[methods]]"))
    settings = [key for key in methods.keys if key.name not in ("models", "budgets", "lr", "lr_search")]
    parts = [
        RECIPE_HEAD,
        _section("The top of the file", "The trial.", _top()),
        _section("`[method]`", "The tuning method with its settings, one value each.", _rows(settings)),
        _section("`[training]`", "The conditions, one value each.", _rows(training.keys)),
        _section("`[[data]]`", "Several sources in place of `training.data`; at least two.", _rows(_data().keys)),
        PREDICTED,
    ]
    return "\n".join(parts)


def observation_page() -> str:
    """The reference of an observation as Markdown."""
    key = ["`key`", "text", "Hash of the trial's contents: its name in the sweep."]
    return "\n".join(
        [
            OBSERVATION_HEAD,
            _section("Fields", "", [key, *_fields(Observation)], ("field", "type", "meaning")),
            _section("`trial`", "", _fields(Trial), ("field", "type", "meaning")),
        ]
    )


def _data() -> Table:
    return next(table for table in tables() if table.title == "[[data]]")


def _top() -> list[list[str]]:
    rows = []
    for item in fields(Trial):
        if item.type not in ("Method", "Training"):
            default = "required" if item.default is MISSING and item.name != "budget" else f"`{_toml(item.default)}`"
            rows.append([f"`{item.name}`", JSON_TYPES[str(item.type)], default, meaning(Trial, item.name)])
    return rows


def _toml(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else "0" if default in (MISSING, 0) else str(default)


def _rows(keys: Sequence[Key]) -> list[list[str]]:
    """Key, type, default and meaning; a recipe has one value where a sweep file may have a list."""
    rows = []
    for key in keys:
        plain = key.default == "required" or " " in key.default
        choices = [name or '""' for name in key.choices]
        known = f" One of {', '.join(f'`{name}`' for name in choices)}." if choices else ""
        rows.append([f"`{key.name}`", key.kind, key.default if plain else f"`{key.default}`", f"{key.meaning}{known}"])
    return rows


def _fields(record: type) -> list[list[str]]:
    rows = []
    for item in fields(record):
        kind = str(item.type)
        told = meaning(record, item.name).replace("None", "`null`")
        rows.append([f"`{item.name}`", JSON_TYPES[kind], f"{told} See {INSIDE[kind]}." if kind in INSIDE else told])
    return rows


def _section(title: str, about: str, rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    names = head or ("key", "type", "default", "meaning")
    lines = [line(names), line(["---"] * len(names)), *map(line, rows)]
    return "\n".join([f"## {title}", "", *([about, ""] if about else []), *lines, ""])


PAGES: Mapping[str, Callable[[], str]] = {"recipe-file.md": recipe_page, "observation.md": observation_page}
