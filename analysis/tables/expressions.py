"""Conditions on the rows of a table, as people write them: `D/N > 5 and optimizer == 'adam'`.

Python's own parser reads them; what they hold besides names, numbers, texts, arithmetic and comparisons is refused, and
nothing of them is ever run as Python.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 1000  # characters; nobody writes longer ones, and the parser's stack is finite
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
GRAMMAR = "names, numbers, 'texts', + - * / **, comparisons, and, or, not"
QUOTED = re.compile(r"`([^`]*)`")

Column = NDArray[Any]


@dataclass(frozen=True)
class Condition:
    """An expression that is true or false of each row."""

    text: str
    """As it was written."""
    tree: ast.expr
    """What the parser made of it."""
    titles: Mapping[str, str]
    """Names in the tree -> the titles of columns that stood in backquotes."""
    where: str
    """What an error calls it: the parameter that it was given for."""

    def __call__(self, columns: Mapping[str, Column]) -> NDArray[np.bool_]:
        """Of which rows it is true [rows]; comparisons with a missing number are not.

        columns: name -> its values [rows], numbers or texts. Raises ValueError for other names, naming these.
        """
        try:
            with np.errstate(all="ignore"):  # 1 / 0 is infinite, and compares as that
                value = _Reading(self, columns).value(self.tree)
        except RecursionError:
            raise ValueError(f"{self.where} is {self.text[:80]!r}, which is nested too deep") from None
        if _kind(value) != "true or false":
            raise ValueError(f"{self.where} is {self.text!r}, {_kind(value)}; it must be true or false: D/N > 5")
        return np.broadcast_to(value, len(next(iter(columns.values()))))


def condition(text: str, where: str) -> Condition:
    """The condition that a text says. Raises ValueError where it says none; `where`: the parameter that it is of."""
    titles: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        titles[name := f"column_{len(titles)}_"] = found[1].strip()
        return name

    try:
        if len(text) > LONGEST:
            raise SyntaxError
        tree = ast.parse(QUOTED.sub(named, text).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{where} is {text[:80]!r}; it must be made of {GRAMMAR}, such as D/N > 5") from None
    if not any(isinstance(node, ast.Name) for node in ast.walk(tree)):
        raise ValueError(f"{where} is {text[:80]!r}, which names no column; it must be of some, such as D/N > 5")
    return Condition(text.strip(), tree, titles, where)


class _Reading:
    """One condition read over the columns of one table."""

    def __init__(self, asked: Condition, columns: Mapping[str, Column]) -> None:
        self.asked, self.columns = asked, columns

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() as truth):
                return np.bool_(truth)
            case ast.Constant(value=int() | float() as number):
                return np.float64(number)
            case ast.Constant(value=str() as text):
                return text
            case ast.Name(id=name):
                return self._column(self.asked.titles.get(name, name))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self._truth(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return ARITHMETIC[type(op)](self._number(left), self._number(right))
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return join.reduce(np.broadcast_arrays(*map(self._truth, values)))
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISONS for op in ops):
                sides = [left, *others]
                pairs = zip(sides[:-1], ops, sides[1:], strict=True)
                return np.logical_and.reduce(np.broadcast_arrays(*(self._compared(*pair) for pair in pairs)))
        raise self._refused(node)

    def _column(self, name: str) -> Column:
        if name not in self.columns:
            known = ", ".join(name if name.isidentifier() else f"`{name}`" for name in self.columns)
            raise ValueError(f"{self.asked.where} has {name!r}, which is no column; the table has: {known}")
        return self.columns[name]

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Any:
        sides = self.value(left), self.value(right)
        kinds = {_kind(side) for side in sides}
        if len(kinds) > 1 or (kinds != {"a number"} and not isinstance(op, (ast.Eq, ast.NotEq))):
            raise ValueError(
                f"{self.asked.where} compares {self._shown(left)} ({_kind(sides[0])}) with {self._shown(right)} "
                f"({_kind(sides[1])}); both must be numbers, or of one kind with == or !="
            )
        return COMPARISONS[type(op)](*sides)

    def _number(self, node: ast.expr) -> Any:
        if _kind(value := self.value(node)) != "a number":
            raise ValueError(f"{self.asked.where} takes {self._shown(node)} as a number; it is {_kind(value)}")
        return value

    def _truth(self, node: ast.expr) -> Any:
        if _kind(value := self.value(node)) != "true or false":
            raise ValueError(f"{self.asked.where} takes {self._shown(node)} as true or false; it is {_kind(value)}")
        return value

    def _refused(self, node: ast.expr) -> ValueError:
        return ValueError(f"{self.asked.where} has {self._shown(node)}; it must be made of {GRAMMAR}")

    def _shown(self, node: ast.expr) -> str:
        text = ast.unparse(node)
        for name, title in self.asked.titles.items():
            text = text.replace(name, f"`{title}`")
        return repr(text[:80])


def _kind(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, str) or np.asarray(value).dtype == object:
        return "a text"
    return "true or false" if np.asarray(value).dtype == bool else "a number"
