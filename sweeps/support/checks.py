"""Checks of what a JSON or TOML file holds. A refusal is a ValueError that names the place, the value and the choices.

`where` is the place in the file, such as "methods[0].rank".
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from itertools import chain
from typing import Any

LARGEST = 1e300  # numbers lie between its negative and itself, so that they can be reckoned with
# A field's type -> the types of its value, those of the items of a list, and what it is called.
_KINDS: dict[str, tuple[tuple[type, ...], tuple[type, ...], str]] = {
    "bool": ((bool,), (), "of type bool"),
    "int": ((int,), (), "of type int"),
    "float": ((int, float), (), "of type float"),
    "float | None": ((int, float, type(None)), (), "of type float | None"),
    "str": ((str,), (), "of type str"),
    "tuple[int, ...]": ((list, tuple), (int,), "a list of whole numbers"),
    "tuple[str, ...]": ((list, tuple), (str,), "a list of strings"),
    "str | tuple[str, ...]": ((str, list, tuple), (str,), "a string or a list of strings"),
    "Mapping[str, Any]": ((dict,), (), "an object"),
    "Mapping[str, Mapping[str, Any]]": ((dict,), (), "an object"),
}
# Types of fields that hold several numbers -> how many stand in a row, and what it is called.
_ROWS: dict[str, tuple[int, str]] = {
    "tuple[tuple[int, int, float], ...]": (3, "a list of rows of three numbers"),
    "tuple[tuple[float, float], ...]": (2, "a list of rows of two numbers"),
}


class _Brief(reprlib.Repr):
    def repr_float(self, value: float, _: int) -> str:
        brief = f"{value:g}"  # 1e+12, not 1000000000000.0
        return brief if "e" in brief and float(brief) == value else repr(value)


_BRIEF = _Brief()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80


def brief(value: Any) -> str:
    """As Python writes it, cut where it is long, but for round floats such as 1e+12."""
    return _BRIEF.repr(value)


def nearest(value: Any, known: Iterable[str]) -> str:
    """The known name that was probably meant, in brackets; "" when none is near."""
    import difflib  # only here: the planner starts faster without

    near = difflib.get_close_matches(str(value)[:80], list(known), n=1)
    return f" (meant {near[0]!r}?)" if near else ""


def require(where: str, value: Any, holds: bool, wanted: str) -> None:
    """Refuse `value` unless the condition holds; `wanted` says what it must be."""
    if not holds:
        raise ValueError(f"{where} is {brief(value)}; it must be {wanted}")


def known_keys(
    where: str, table: Mapping[str, Any], known: Sequence[str], places: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Refuse a key that is not among the known ones. places: where keys of this file stand, in words."""
    for key in table:
        if key not in known:
            elsewhere = " or ".join((places or {}).get(key, ()))
            meant = f" (meant {elsewhere}?)" if elsewhere else nearest(key, known)
            raise ValueError(f"{where} has no key {brief(key)}{meant}; known: {', '.join(known) or 'none'}")


def choice(where: str, value: Any, known: Sequence[str]) -> str:
    """One of the known names."""
    if value not in known:
        raise ValueError(f"{where} is {brief(value)}{nearest(value, known)}; known: {', '.join(known)}")
    return value


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number; True is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bounded(value)


def number(where: str, value: Any) -> float:
    """A positive number."""
    require(where, value, is_number(value) and value > 0, "a positive number")
    return float(value)


def numbers(where: str, value: Any) -> list[float]:
    """Positive numbers, at least one, each once."""
    require(where, value, isinstance(value, list) and value != [], "a list of positive numbers, not empty")
    checked = [number(f"{where}[{i}]", item) for i, item in enumerate(value)]
    distinct(where, checked, checked)
    return checked


def whole(where: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A whole number of at least `least`, and at most `most` if that is given."""
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= least and (most is None or value <= most)
    wanted = f"of at least {least}" if most is None else f"between {least} and {most:,}"
    require(where, value, fits, f"a whole number {wanted}")
    return value


def text(where: str, value: Any) -> str:
    """A text."""
    require(where, value, isinstance(value, str), "a text")
    return value


def strings(where: str, value: Any) -> tuple[str, ...]:
    """A list of strings, which may be empty."""
    fits = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    require(where, value, fits, "a list of strings")
    return tuple(value)


def tables(value: Any, least: int, otherwise: str) -> list[dict[str, Any]]:
    """A list of tables, at least so many. Raises ValueError with the sentence `otherwise`."""
    if not isinstance(value, list) or len(value) < least or not all(isinstance(item, dict) for item in value):
        raise ValueError(otherwise)
    return value


def distinct(where: str, values: Sequence[Any], shown: Sequence[Any]) -> None:
    """Refuse a value that occurs twice; it is named as in `shown`."""
    before = set()
    for value, name in zip(values, shown, strict=True):
        if value in before:
            raise ValueError(f"{where} names {brief(name)} twice")
        before.add(value)


def from_table(kind: type, table: Mapping[str, Any], where: str) -> Any:
    """A dataclass from `table`: every key known, every value of its field's type, none missing.

    What the class itself refuses is not given its place here.
    """
    check_fields(kind, table, where)
    types = _types(kind)
    # 1 and 1.0 are one setting, and must give one key.
    return kind(**{key: float(value) if _is_float(types[key], value) else value for key, value in table.items()})


def check_fields(
    kind: type, table: Any, where: str, limits: Mapping[str, tuple[float, float]] | None = None, known: bool = True
) -> None:
    """Refuse `table` unless it has the fields of the dataclass `kind`, each value of its field's type and finite.

    limits: the lowest and the highest value of fields that hold numbers, and of each number in them. known: whether
    other keys are refused. Fields of other types than numbers, strings and lists of them are not looked at.
    """
    require(where or "it", table, isinstance(table, dict), "an object")
    types = _types(kind)
    if known:
        known_keys(where or "it", table, list(types))
    for key, value in table.items():
        if key in types:
            place = f"{where}.{key}" if where else key
            _check_value(place, value, types[key])
            if limits and key in limits:
                within(place, value, limits[key])
    if missing := [name for name in _required(kind) if name not in table]:
        raise ValueError(f"{where} has no {' and no '.join(missing)}".lstrip())


def _check_value(where: str, value: Any, kind: str) -> None:
    if kind in _KINDS:
        allowed, items, wanted = _KINDS[kind]
        if type(value) is bool:
            require(where, value, bool in allowed, wanted)
        require(where, value, isinstance(value, allowed), wanted)
        if items and not isinstance(value, str):
            require(where, value, all(_is_a(item, items) for item in value), wanted)
            require(where, value, int not in items or all(map(bounded, value)), "finite")
        elif float in allowed or int in allowed:
            require(where, value, value is None or bounded(value), "finite")
    elif kind in _ROWS:
        width, wanted = _ROWS[kind]
        fits = isinstance(value, (list, tuple)) and set(map(type, value)) <= {list, tuple}
        require(where, value, fits and set(map(len, value)) <= {width}, wanted)
        all_numbers(where, list(chain.from_iterable(value)))
    elif kind == "Mapping[str, float]":
        require(where, value, isinstance(value, dict), "an object of numbers")
        if not _numbers(list(value.values())):
            for name, number in value.items():
                require(f"{where}.{name}", number, is_number(number), "a finite number")
    elif kind in ("tuple[Mapping[str, float], ...]", "list[dict[str, float]]"):
        require(where, value, isinstance(value, (list, tuple)), "a list of objects of numbers")
        for index, row in enumerate(value):  # during training a score may not be a number
            known = {k: v for k, v in row.items() if v == v} if isinstance(row, dict) else row
            _check_value(f"{where}[{index}]", known, "Mapping[str, float]")


def bounded(value: float) -> bool:
    """Whether a number is finite, and not so large that sums and squares of such would not be."""
    return -LARGEST < value < LARGEST


def all_numbers(where: str, values: Sequence[Any]) -> None:
    """Refuse what is not a finite number, in a list that may be long."""
    if not _numbers(values):
        for index, value in enumerate(values):
            require(f"{where}[{index}]", value, is_number(value), "a finite number")


def _numbers(values: Sequence[Any]) -> bool:
    """Whether all are finite numbers, told in few steps; False also where their sum is beyond all bounds."""
    return not values or (set(map(type, values)) <= {int, float} and bounded(min(values)) and bounded(sum(values)))


def within(where: str, value: Any, limits: tuple[float, float]) -> None:
    """Refuse a number that lies outside; None is none, and of a list or an object of numbers each is looked at."""
    low, high = limits
    if type(value) in (int, float) and low <= value <= high:
        return
    if isinstance(value, dict):
        if value and low <= min(value.values()) and max(value.values()) <= high:
            return
        for name, item in value.items():
            within(f"{where}.{name}", item, limits)
    elif isinstance(value, (list, tuple)):
        numbers = list(chain.from_iterable(value)) if value and isinstance(value[0], (list, tuple)) else value
        if numbers and not (low <= min(numbers) and max(numbers) <= high):
            for index, item in enumerate(value):
                within(f"{where}[{index}]", item, limits)
    elif value is not None:
        require(where, value, is_number(value) and low <= value <= high, f"between {low:g} and {high:g}")


@cache
def _types(kind: type) -> dict[str, str]:
    types = {item.name: item.type for item in fields(kind)}  # texts, but where annotations are evaluated
    return {name: it.__name__ if isinstance(it, type) else str(it) for name, it in types.items()}


@cache
def _required(kind: type) -> list[str]:
    return [item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING]


def _is_a(value: object, types: tuple[type, ...]) -> bool:
    """Whether `value` is of one of these types. True is no number."""
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _is_float(kind: str, value: object) -> bool:
    return kind.startswith("float") and value is not None
