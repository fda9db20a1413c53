"""Which columns of somebody's table hold the texts of a pair: the names that people have, and mappings for others.

A mapping stands behind the name of a source, `pairs.csv?query=Frage&positive=Antwort`; the table `columns` of a sweep
file becomes that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from sweeps.support.checks import known_keys, require

# Role -> the names that it has, of those in one line either; a name in an earlier line is preferred to later ones.
ROLES: dict[str, tuple[tuple[str, ...], ...]] = {
    "query": (("query",), ("anchor",), ("question", "sentence1")),
    "positive": (
        ("positive", "positives", "pos", "positive_passages"),
        ("answer", "answers", "passage", "document", "sentence2"),
    ),
    "negative": (("negatives", "negative", "neg", "negs", "negative_passages", "hard_negatives", "hard_negative"),),
    "group": (("group",),),
    "held_out": (("held_out",),),
}
NUMBERED = re.compile(r"(?:hard_)?neg(?:ative)?s?_?(\d+)")  # negative_1, negative_2, ...
JUDGED = ("score", "label", "similarity_score")  # beside sentence1 and sentence2: how alike the two are
MAPPED = "?"
MOST_NAMED = 20  # columns in an error

Mapped = tuple[tuple[str, tuple[str, ...]], ...]  # role -> columns, as a key of a cache may be


@dataclass(frozen=True)
class Columns:
    """The columns of a table that hold the parts of a pair."""

    query: str
    """What is looked for."""
    positive: str
    """The document, or several, that answer it."""
    negatives: tuple[str, ...]
    """Hard negatives: one or a list in each."""
    group: str | None
    """Name of the group; None: the query is."""
    held_out: str | None
    """Whether the pair is held out; None: it is drawn."""


def with_columns(name: str, columns: Any, where: str) -> str:
    """The name of a source whose columns are mapped. `columns`: role -> a name or a list of names, from a file.

    Raises ValueError naming `where` for roles that there are not and for what is no name.
    """
    require(where, columns, isinstance(columns, dict) and columns != {}, "a table of columns by role")
    known_keys(where, columns, list(ROLES))
    if MAPPED in name:
        raise ValueError(f"{where}: {name!r} maps its columns itself")
    parts = []
    for role, given in columns.items():
        names = given if isinstance(given, list) else [given]
        fits = names != [] and all(isinstance(each, str) and each.strip() for each in names)
        require(f"{where}.{role}", given, fits, "the name of a column, or a list of names")
        parts += [f"{role}={quote(each)}" for each in names]
    return f"{name}{MAPPED}{'&'.join(parts)}"


def mapping_of(name: str) -> tuple[str, Mapped]:
    """The name of a source without its mapping, and the mapping. Raises ValueError for a role that there is not."""
    plain, mark, query = name.partition(MAPPED)
    roles: dict[str, tuple[str, ...]] = {}
    for part in query.split("&") if mark else ():
        role, equals, column = part.partition("=")
        if role not in ROLES or not equals or not column:
            raise ValueError(
                f"`data` is {name!r}: {part!r} maps no column; give ROLE=COLUMN, roles: {', '.join(ROLES)}"
            )
        roles[role] = (*roles.get(role, ()), unquote(column))
    return plain, tuple(roles.items())


@lru_cache(maxsize=1024)
def columns_of(names: tuple[str, ...], mapped: Mapped = ()) -> Columns | str:
    """Which of these columns hold a pair, or why none do. Case and spaces around a name do not count."""
    there = {name.strip().lower(): name for name in reversed(names)}
    given = dict(mapped)
    found: dict[str, str | None] = {}
    for role in ("query", "positive", "group", "held_out"):
        column = _mapped(names, given[role]) if role in given else _usual(there, ROLES[role])
        if isinstance(column, tuple):
            return f"{' and '.join(map(repr, column))} may each be the {role}; choose one with `columns`"
        if column is None and (role in ("query", "positive") or role in given):
            wanted = " or ".join(map(repr, given.get(role, (role,))))
            return f"no {wanted}; the file has: {_listed(names)}"
        found[role] = column
    if "negative" in given:
        missing = [name for name in given["negative"] if name not in names]
        if missing:
            return f"no {missing[0]!r}; the file has: {_listed(names)}"
        negatives = given["negative"]
    else:
        numbered = sorted((int(match[1]), there[name]) for name in there if (match := NUMBERED.fullmatch(name)))
        negatives = tuple(there[name] for name in ROLES["negative"][0] if name in there)
        negatives += tuple(name for _, name in numbered)
    judged = [name for name in JUDGED if name in there]
    if judged and not given and str(found["query"]).strip().lower() == "sentence1":
        return f"{there[judged[0]]!r} is a similarity score, so not all rows are positive pairs: map `columns`"
    return Columns(str(found["query"]), str(found["positive"]), negatives, found["group"], found["held_out"])


def _mapped(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _usual(there: Mapping[str, str], names: Sequence[Sequence[str]]) -> str | tuple[str, ...] | None:
    """The column of the first of these lines of names that has one; several where it has more; None where none has."""
    for line in names:
        found = [there[name] for name in line if name in there]
        if found:
            return found[0] if len(found) == 1 else tuple(found)
    return None


def _listed(names: Sequence[str]) -> str:
    shown = [name or "(no name)" for name in names[:MOST_NAMED]]
    return ", ".join(shown) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "") or "nothing"
