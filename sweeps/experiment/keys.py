"""Every key of a sweep file, from the records that it is read into: type, default, meaning, and where it stands."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from functools import cache
from textwrap import dedent
from typing import Any

from sweeps.data.columns import ROLES
from sweeps.experiment.sweep import Compare, Goal, Racing, RateRange, Repeat, Sweep
from sweeps.flops import FLOPS
from sweeps.methods import METHODS, TOKEN_TABLES
from sweeps.models import SUITES
from sweeps.support.checks import brief
from sweeps.trial import AT_LEAST, CHOICES, JOINT, MERGES, Training

REQUIRED = "required"
NO_KEYS = ("entries", "spanned", "proposed")  # fields of Sweep that are no key of the file
ONE_OF_A_SWEEP = "all losses of a sweep are measured in the same pools at the same steps: give one value"
ONE_VALUE = {  # settings of training that span no conditions, and why
    "data": "give one source, several as [[data]] tables, or a sweep file for each",
    "merge": "ways to merge are compared with [compare]",
    **dict.fromkeys(("pool_size", "pools", "loss_temperature", "score", "evaluate_every", "tasks"), ONE_OF_A_SWEEP),
}


@dataclass(frozen=True)
class Key:
    """One key of a sweep file."""

    name: str
    """As it is written."""
    kind: str
    """Type of its value, one of KINDS."""
    default: str
    """Value that holds where it is left out, as TOML or in words; REQUIRED where it may not be."""
    meaning: str
    """What it says: unit, range, what it changes."""
    choices: tuple[str, ...] = ()
    """The only values that it has; (): any of its type."""
    least: float | None = None
    """The lowest value; None: none is known but to the check."""
    spans: bool = False
    """Whether a list of values spans the grid."""


@dataclass(frozen=True)
class Table:
    """The keys that stand together."""

    title: str
    """As TOML writes its head; "" for the top of the file."""
    place: str
    """Where that is, in words."""
    about: str
    """What the table is for, and what changes with it."""
    keys: tuple[Key, ...]
    """Its keys, in the order of the record."""


KINDS = {
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "float | None": "number",
    "str": "text",
    "tuple[int, ...]": "list of whole numbers",
    "tuple[float, ...]": "list of numbers",
    "tuple[str, ...]": "list of texts",
    "tuple[tuple[float, ...], ...]": "list of lists of numbers",
}
SETTING_CHOICES = {"token_table": TOKEN_TABLES}  # settings of methods that have few values
CHANGES = {  # what a key at the top of the file changes
    **dict.fromkeys(("suite", "models", "budgets", "seeds", "methods", "repeat", "goal"), "the set of trials"),
    **dict.fromkeys(("training", "compare", "data", "tasks"), "every trial"),
    "flops": "the steps of every trial",
    **dict.fromkeys(("min_steps", "max_epochs"), "which trials are left out"),
    "racing": "which trials of larger budgets are run",
}
# Keys that the file writes otherwise than the record holds them.
SUITE = Key("suite", "text", "models, each by name or folder", "Suite of backbones.", tuple(SUITES))
WRITTEN = {
    "models": Key("models", "list of texts", "all of the suite", "Names of models of the suite, or folders of models."),
    "budgets": Key("budgets", "list of numbers", "the goal's", "", least=0),
    "training": Key("training", "table", "the defaults below", ""),
    "seeds": Key("seeds", "list of whole numbers", "[0]", "", least=0),
    "racing": Key("racing", "table", "no racing", ""),
    "repeat": Key("repeat", "list of tables", "no additional seeds", ""),
    "compare": Key("compare", "table", "one way", ""),
    "goal": Key("goal", "table", "the grid is trained", ""),
}
METHODS_KEY = Key("methods", "list of tables", REQUIRED, "Tuning methods of the grid.")
DATA_KEY = Key("data", "list of tables", "training.data", "Several sources for joint training.")
TASKS_KEY = Key("tasks", "list of texts", "training.tasks", "The same as training.tasks.")
COLUMNS_KEY = Key(
    "columns",
    "table of columns",
    "the default names",
    f"Column names of the source that differ from the defaults: one or a list for each of {', '.join(ROLES)}.",
)
RATES = (
    Key(
        "lr",
        "number or table",
        "lr_search",
        "Known peak learning rate, or a table of rates by model; lr or lr_search is required, except with a goal.",
        least=0,
    ),
    Key(
        "lr_search",
        "list of numbers or table",
        "lr",
        "Rates to try for every model at its smallest budget, at least two; while the best is at an end, the search "
        "continues beyond it. A table is a range in which rates are proposed, see below.",
        least=0,
    ),
)


def tables() -> tuple[Table, ...]:
    """Every table of a sweep file, the top of the file first."""
    top = [SUITE, *(_top(item) for item in fields(Sweep) if item.name not in NO_KEYS), METHODS_KEY, DATA_KEY, TASKS_KEY]
    methods = (
        Key("name", "text", REQUIRED, "The tuning method.", tuple(METHODS)),
        Key("models", "list of texts", "all", "Models on which the method is tried."),
        Key("budgets", "list of numbers", "all", "Budgets at which the method is tried.", least=0),
        *RATES,
    )
    return (
        Table(
            "",
            "at the top of the file",
            "The set of trials. Changing it never changes or deletes finished trials.",
            tuple(top),
        ),
        Table(
            "[training]",
            "in [training]",
            "The conditions of every trial; another value gives new trials. A list spans the grid: each value is a "
            "condition with learning rates and laws of its own.",
            (*(_setting(item) for item in fields(Training) if item.name != "data_hash"), COLUMNS_KEY),
        ),
        Table(
            "[[methods]]",
            "in a [[methods]] table",
            "A tuning method and its learning rate. Lists of its settings span the grid.",
            (*methods, *_method_settings()),
        ),
        Table(
            "lr_search = {...}",
            "in the table lr_search of [[methods]]",
            "A range in which Optuna's TPE proposes rates.",
            _keys(RateRange, least={"low": 0, "high": 0, "trials": 2, "together": 1}),
        ),
        Table(
            "[racing]",
            "in [racing]",
            "A method that is clearly worse on a model is not run at larger budgets.",
            _keys(Racing, least={"margin": 0, "from_budgets": 2}),
        ),
        Table("[[repeat]]", "in a [[repeat]] table", "Additional seeds for a part of the grid.", _keys(Repeat)),
        Table(
            "[[data]]",
            "in a [[data]] table",
            "One of several sources, instead of training.data; at least two.",
            (
                Key("source", "text", REQUIRED, "A file, `hf:owner/name` or `python-env`."),
                COLUMNS_KEY,
                Key("weight", "number", "1", "How often the source is drawn, relative to the others.", least=0),
            ),
        ),
        Table(
            "[compare]",
            "in [compare]",
            "Compares joint training with merging; gives a table and no laws.",
            (
                Key("merges", "list of texts", REQUIRED, "Ways to make one model.", (JOINT, *MERGES)),
                *(key for key in _keys(Compare) if key.name == "ratios"),
            ),
        ),
        Table(
            "[goal]",
            "in [goal]",
            "Instead of budgets: the sweep chooses its own trials, in rounds, until the expected regret is low.",
            _keys(Goal, least={"regret": 0, "together": 1, "price": 0}),
        ),
    )


@cache
def places() -> Mapping[str, tuple[str, ...]]:
    """Where each key may stand, in words."""
    found: dict[str, tuple[str, ...]] = {}
    for table in tables():
        for key in table.keys:
            found[key.name] = (*found.get(key.name, ()), table.place)
    return found


def line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def meaning(record: type, name: str) -> str:
    """The sentence under a field of a record."""
    return _sentences(record).get(name, "")


@cache
def _sentences(record: type) -> Mapping[str, str]:
    (kind,) = ast.parse(dedent(inspect.getsource(record))).body
    assert isinstance(kind, ast.ClassDef)
    found: dict[str, str] = {}
    for base in filter(is_dataclass, record.__bases__):  # a field that is only given another default says it there
        found |= _sentences(base)
    for statement, below in zip(kind.body, kind.body[1:], strict=False):
        told = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
        if told and isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            # An empty tuple and None are how a record holds what a file leaves out.
            text = " ".join(str(told).split()).replace("(): ", "Left out: ").replace("None: ", "Left out: ")
            found[statement.target.id] = text.replace("; Left", ". Left")
    return found


def _top(item: Field[Any]) -> Key:
    if item.name not in WRITTEN:
        choices = tuple(FLOPS) if item.name == "flops" else ()
        least = None if choices else 1 if item.name == "min_steps" else 0
        return _key(Sweep, item, choices, least)
    key = WRITTEN[item.name]
    return Key(key.name, key.kind, key.default, key.meaning or meaning(Sweep, key.name), least=key.least)


def _setting(item: Field[Any]) -> Key:
    choices = {**CHOICES, "merge": ("", *MERGES)}.get(item.name, ())
    key = _key(Training, item, choices, AT_LEAST.get(item.name))
    return Key(key.name, key.kind, key.default, key.meaning, key.choices, key.least, spans=item.name not in ONE_VALUE)


def _method_settings() -> Sequence[Key]:
    """Settings of the methods, each once, with the methods that have it; those that all have come last."""
    found: dict[str, Key] = {}
    of: dict[str, dict[str, str]] = {}
    for name, kind in METHODS.items():
        for item in fields(kind):
            key = _key(kind, item, SETTING_CHOICES.get(item.name, ()), None)
            found.setdefault(item.name, key)
            of.setdefault(item.name, {})[name] = key.default
    common = [name for name in found if len(of[name]) == len(METHODS)]
    return [
        replace(
            found[name],
            default=_by_method(of[name]),
            meaning=f"For {'all methods' if name in common else ', '.join(of[name])}. {found[name].meaning}",
            spans=True,
        )
        for name in sorted(found, key=common.__contains__)
    ]


def _by_method(defaults: Mapping[str, str]) -> str:
    """The default of a setting: one value, or in words which methods have which."""
    values = dict.fromkeys(defaults.values())
    if len(values) == 1:
        return next(iter(values))
    names = {value: [name for name, default in defaults.items() if default == value] for value in values}
    return "; ".join(f"`{value}` for {', '.join(names[value])}" for value in values)


def _keys(record: type, least: Mapping[str, float] | None = None) -> tuple[Key, ...]:
    return tuple(_key(record, item, (), (least or {}).get(item.name)) for item in fields(record))


def _key(record: type, item: Field[Any], choices: tuple[str, ...], least: float | None) -> Key:
    return Key(item.name, KINDS[str(item.type)], _default(item), meaning(record, item.name), choices, least)


def _default(item: Field[Any]) -> str:
    if item.default is MISSING:
        return REQUIRED
    if item.default is None:
        return "left out"
    if isinstance(item.default, bool):
        return str(item.default).lower()
    if isinstance(item.default, tuple):
        return str(list(item.default))
    return f'"{item.default}"' if isinstance(item.default, str) else brief(item.default)
