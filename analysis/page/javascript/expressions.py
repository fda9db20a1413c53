"""Python expressions as JavaScript: numbers, texts, lists, dicts, comprehensions, f-strings and calls.

Anything else is an error that names the line. What Python's built-ins do stands in planner/python.js.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from analysis.page.javascript.names import bound_names, is_name, quoted, safe

BINARY = {
    ast.Add: ("+", 4), ast.Sub: ("-", 4), ast.Mult: ("*", 5), ast.Div: ("/", 5), ast.Mod: ("%", 5), ast.Pow: ("**", 7),
}  # fmt: skip
COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "===", ast.NotEq: "!=="}
MATH = {name: f"Math.{name}" for name in ("log", "log10", "exp", "sqrt", "hypot", "floor", "ceil", "cos", "tanh")}
MATH |= {"inf": "Infinity", "nan": "NaN", "e": "Math.E", "pi": "Math.PI", "isfinite": "Number.isFinite"}
# Functions of planner/python.js of the same or a plainer name; each takes what Python's takes, in order.
BUILTINS = {
    name: name for name in ("len", "round", "sum", "zip", "enumerate", "range", "sorted", "repr", "any", "all", "ord")
}
BUILTINS |= {"tuple": "list", "list": "list", "str": "String", "abs": "Math.abs", "int": "Math.trunc"}
BUILTINS |= {"dict": "Object.fromEntries", "float": "Number", "min": "min", "max": "max", "replace": "replace"}
METHODS = {"append": "push", "index": "indexOf", "startswith": "startsWith", "endswith": "endsWith"}
METHODS |= {"lower": "toLowerCase", "strip": "trim", "replace": "replaceAll", "split": "split"}
HELPED = {"get", "items", "join", "removesuffix"}  # functions of python.js
PYTHONS_OWN = {name for kind in (str, list, dict, set, int, float) for name in dir(kind)}  # methods of its values
FORMAT = re.compile(r"(#?)(,?)(?:\.(\d+))?([gfe%]?)")


@dataclass(frozen=True)
class Source:
    """What a translation asks of the modules around it.

    known: the JavaScript of a name that is not local, or an error. record: its fields, where the name is of a class.
    arguments: names of the parameters of a function or a method. where: file, for errors.
    """

    where: str
    known: Callable[[str], str]
    attribute: Callable[[str, str], str | None]
    fields: Callable[[str], Sequence[str] | None]
    arguments: Callable[[str], Sequence[str] | None]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


class Expressions:
    """Expressions of one function. local: the names that are bound in it."""

    def __init__(self, source: Source, local: set[str]):
        self.source, self.local = source, local

    def refuse(self, node: ast.AST, what: str = "") -> NoReturn:
        line = getattr(node, "lineno", "?")
        raise ValueError(f"{self.source.where}:{line}: {what or type(node).__name__} has no translation to JavaScript")

    def of(self, node: ast.expr | None, level: int = 0) -> str:
        """level: how tightly what stands around it binds; looser expressions come in parentheses."""
        if node is None:
            return "undefined"
        text, mine = self.bound(node)
        return f"({text})" if mine < level else text

    def listed(self, nodes: Sequence[ast.expr]) -> str:
        return ", ".join(map(self.of, nodes))

    def bound(self, node: ast.expr) -> tuple[str, int]:
        """The text of an expression and how tightly it binds: 0 arrow and conditional, 1 or, 2 and, 3 comparison, 4 to
        7 operators, 9 all else."""
        translate = getattr(self, f"_{type(node).__name__.lower()}", None)
        if translate is None:
            self.refuse(node)
        text = translate(node)
        return text if isinstance(text, tuple) else (text, 9)

    def test(self, node: ast.expr) -> str:
        """A condition: what is empty in Python is false here too."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"!{self._parenthesised(self.test(node.operand))}"
        if isinstance(node, ast.BoolOp):
            word = " && " if isinstance(node.op, ast.And) else " || "
            return word.join(
                f"({self.test(item)})" if isinstance(item, ast.BoolOp) else self.test(item) for item in node.values
            )
        sure = isinstance(node, ast.Compare) or (
            isinstance(node, ast.Call) and (is_name(node.func, "any", "all", "isinstance") or self._asks(node.func))
        )
        return self.of(node) if sure else f"truth({self.of(node)})"

    @staticmethod
    def _asks(node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr in ("startswith", "endswith", "isfinite")

    @staticmethod
    def _parenthesised(text: str) -> str:
        return text if re.fullmatch(r"[\w.]+(\([^()]*\))?|!.*", text) else f"({text})"

    def _constant(self, node: ast.Constant) -> str:
        value = node.value
        if value is None:
            return "null"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (int, float)):
            return repr(value).removesuffix(".0") if abs(value) < 1e16 else repr(value)
        return quoted(value) if isinstance(value, str) else self.refuse(node)

    def _name(self, node: ast.Name) -> str:
        if node.id in ("self", "cls"):
            return "this"
        if node.id in self.local:
            return safe(node.id)
        return BUILTINS.get(node.id) or self.source.known(node.id)

    def _attribute(self, node: ast.Attribute) -> str:
        if is_name(node.value, "math") and "math" not in self.local:
            return MATH.get(node.attr) or self.refuse(node, f"math.{node.attr}")
        if isinstance(node.value, ast.Name) and node.value.id not in self.local | {"self"}:
            known = self.source.attribute(node.value.id, node.attr)
            if known:
                return known
        return f"{self.of(node.value, 9)}.{node.attr}"

    def _subscript(self, node: ast.Subscript) -> str:
        value, place = self.of(node.value, 9), node.slice
        if isinstance(place, ast.Slice):
            if place.step:
                self.refuse(node, "a slice with a step")
            ends = [self.of(place.lower) if place.lower else "0", *([self.of(place.upper)] if place.upper else [])]
            return f"{value}.slice({', '.join(ends)})"
        if isinstance(place, ast.UnaryOp):
            return f"{value}.at({self.of(place)})"
        return f"{value}[{self.of(place)}]"

    def _unaryop(self, node: ast.UnaryOp) -> tuple[str, int]:
        if isinstance(node.op, ast.Not):
            return self.test(node), 6
        return (f"-{self.of(node.operand, 8)}", 6) if isinstance(node.op, ast.USub) else self.refuse(node)

    def _binop(self, node: ast.BinOp) -> tuple[str, int]:
        if isinstance(node.op, ast.Mult) and isinstance(node.left, ast.List):
            return f"repeat({self.of(node.left)}, {self.of(node.right)})", 9
        for side in (node.left, node.right):
            if isinstance(side, (ast.List, ast.ListComp)) or (isinstance(node.op, ast.Mult) and _is_text(side)):
                self.refuse(node, "an operator between lists or texts")
        word, level = BINARY.get(type(node.op)) or self.refuse(node)
        left, right = (level + 1, level) if word == "**" else (level, level + 1)
        return f"{self.of(node.left, left)} {word} {self.of(node.right, right)}", level

    def _boolop(self, node: ast.BoolOp) -> tuple[str, int]:
        """As a value: the first that decides, which is fetched once."""
        word = "both" if isinstance(node.op, ast.And) else "either"
        *before, last = [self.of(item) for item in node.values]
        for item in reversed(before):
            last = f"{word}({item}, () => {last})"
        return last, 9

    def _compare(self, node: ast.Compare) -> tuple[str, int]:
        sides = [node.left, *node.comparators]
        parts = [self._compared(op, sides[i], sides[i + 1]) for i, op in enumerate(node.ops)]
        return " && ".join(parts), 3 if len(parts) == 1 else 2

    def _compared(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> str:
        if isinstance(op, (ast.Is, ast.IsNot)):
            same = "" if isinstance(right, ast.Constant) and right.value is None else "="  # undefined is none, too
            return f"{self.of(left, 4)} {'=' if isinstance(op, ast.Is) else '!'}={same} {self.of(right, 4)}"
        if isinstance(op, (ast.In, ast.NotIn)):
            return f"{'!' if isinstance(op, ast.NotIn) else ''}has({self.of(right)}, {self.of(left)})"
        return f"{self.of(left, 4)} {COMPARED[type(op)]} {self.of(right, 4)}"

    def _ifexp(self, node: ast.IfExp) -> tuple[str, int]:
        return f"{self.test(node.test)} ? {self.of(node.body, 1)} : {self.of(node.orelse)}", 0

    def _list(self, node: ast.List | ast.Tuple | ast.Set) -> str:
        return f"[{self.listed(node.elts)}]"

    _tuple = _list

    def _set(self, node: ast.Set) -> str:
        return f"new Set({self._list(node)})"

    def _starred(self, node: ast.Starred) -> str:
        return f"...{self.over(node.value)}"

    def _dict(self, node: ast.Dict) -> str:
        pairs = zip(node.keys, node.values, strict=True)
        return f"{{{', '.join(f'{self._key(k)}: {self.of(v)}' if k else f'...{self.of(v, 9)}' for k, v in pairs)}}}"

    def _key(self, node: ast.expr) -> str:
        plain = isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()
        return str(node.value) if plain else f"[{self.of(node)}]"  # type: ignore[attr-defined]

    def _namedexpr(self, node: ast.NamedExpr) -> tuple[str, int]:
        return f"{safe(node.target.id)} = {self.of(node.value)}", 0

    def _lambda(self, node: ast.Lambda) -> tuple[str, int]:
        names = [safe(argument.arg) for argument in node.args.args]
        inner = Expressions(self.source, self.local | set(names))
        return f"({', '.join(names)}) => {inner.arrow(node.body)}", 0

    def arrow(self, node: ast.expr) -> str:
        """The body of an arrow function."""
        return f"({self.of(node)})" if isinstance(node, ast.Dict) else self.of(node)

    def _joinedstr(self, node: ast.JoinedStr) -> str:
        return f"`{''.join(self._part(part) for part in node.values)}`"

    def _part(self, part: ast.expr) -> str:
        if isinstance(part, ast.Constant):
            return str(part.value).replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${").replace("\n", "\\n")
        assert isinstance(part, ast.FormattedValue)
        value = self.of(part.value)
        if part.conversion == ord("r"):
            return f"${{repr({value})}}"
        spec = part.format_spec
        return f"${{{self._formatted(value, spec)}}}" if isinstance(spec, ast.JoinedStr) else f"${{{value}}}"

    def _formatted(self, value: str, spec: ast.JoinedStr) -> str:
        text = "".join(str(part.value) for part in spec.values if isinstance(part, ast.Constant))
        parts = FORMAT.fullmatch(text)
        if not parts or len(spec.values) != 1:
            self.refuse(spec, f"the format {text!r}")
        zeros, comma, digits, kind = parts.groups()
        if comma:
            return f"grouped({value}, {digits or 0})"
        name = {"g": "g", "f": "fixed", "e": "exponential", "%": "percent"}.get(kind) or self.refuse(spec)
        return f"{name}({value}, {digits or 6}{', true' if zeros else ''})"

    # ---- comprehensions

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> str:
        return self._comprehended(node.generators, lambda inner: inner.arrow(node.elt))

    _generatorexp = _listcomp

    def _setcomp(self, node: ast.SetComp) -> str:
        return f"new Set({self._listcomp(node)})"

    def _dictcomp(self, node: ast.DictComp) -> str:
        rows = self._comprehended(node.generators, lambda inner: f"[{inner.of(node.key)}, {inner.of(node.value)}]")
        return f"Object.fromEntries({rows})"

    def _comprehended(self, generators: list[ast.comprehension], element: Callable[[Expressions], str]) -> str:
        first, *rest = generators
        inner = Expressions(self.source, self.local | set(bound_names(first.target)))
        target = f"({inner.target(first.target)})"
        rows = self.over(first.iter)
        if not rest and any(isinstance(item, ast.NamedExpr) for condition in first.ifs for item in ast.walk(condition)):
            # What a condition binds is of its own element: both in one pass.
            kept = " && ".join(f"({inner.test(condition)})" for condition in first.ifs)
            return f"{rows}.flatMap({target} => {kept} ? [{element(inner)}] : [])"
        for condition in first.ifs:
            rows += f".filter({target} => {inner.test(condition)})"
        if rest:
            return f"{rows}.flatMap({target} => {inner._comprehended(rest, element)})"
        value = element(inner)
        return rows if value == target[1:-1] else f"{rows}.map({target} => {value})"

    def over(self, node: ast.expr) -> str:
        """What is iterated, as an array."""
        arrays = (ast.List, ast.ListComp, ast.GeneratorExp, ast.Tuple)
        called = isinstance(node, ast.Call) and is_name(node.func, "zip", "range", "enumerate", "sorted", "list")
        listed = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "items"
        return self.of(node, 9) if isinstance(node, arrays) or called or listed else f"list({self.of(node)})"

    def target(self, node: ast.expr) -> str:
        if isinstance(node, (ast.Tuple, ast.List)):
            return f"[{', '.join('' if is_name(item, '_') else self.target(item) for item in node.elts)}]"
        return self.of(node)

    # ---- calls

    def _call(self, node: ast.Call) -> str:
        if isinstance(node.func, ast.Name) and node.func.id not in self.local:
            return self._called(node, node.func.id)
        if isinstance(node.func, ast.Attribute):
            return self._method(node, node.func)
        return f"{self.of(node.func, 9)}({self._given(node, None)})"

    def _called(self, node: ast.Call, name: str) -> str:
        if name == "cls":
            return f"new this({self._record(node, ())})"
        if name == "isinstance":
            return self._isinstance(*node.args)
        if name == "getattr":
            return f"{self.of(node.args[0], 9)}[{self.of(node.args[1])}]"
        if name in BUILTINS:
            options = [f"{item.arg}: {self.of(item.value)}" for item in node.keywords if item.arg != "strict"]
            if name in ("replace", "min", "max", "sorted") and options:
                return f"{BUILTINS[name]}({self.listed(node.args)}, {{{', '.join(options)}}})"
            if name in ("min", "max") and len(node.args) > 1:
                return f"Math.{name}({self.listed(node.args)})"
            return f"{BUILTINS[name]}({self.listed(node.args)})"
        fields = self.source.fields(name)
        if fields is not None:
            return f"new {self.source.known(name)}({self._record(node, fields)})"
        return f"{self.source.known(name)}({self._given(node, self.source.arguments(name))})"

    def _isinstance(self, value: ast.expr, kinds: ast.expr) -> str:
        """Of one kind, or of one of several."""
        types = {"str": "string", "int": "number", "float": "number", "bool": "boolean"}
        tests = []
        for kind in kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]:
            type_of = types.get(kind.id) if isinstance(kind, ast.Name) else None
            left = self.of(value, 9)
            tests.append(f"typeof {left} === '{type_of}'" if type_of else f"{left} instanceof {self.of(kind)}")
        return f"({' || '.join(dict.fromkeys(tests))})"

    def _record(self, node: ast.Call, fields: Sequence[str]) -> str:
        """What a constructor is given: its fields by name."""
        if any(isinstance(item, ast.Starred) for item in node.args):
            return f"named([{', '.join(map(quoted, fields))}], [{self.listed(node.args)}])"
        pairs = [f"{name}: {self.of(value)}" for name, value in zip(fields, node.args, strict=False)]
        for item in node.keywords:
            pairs.append(f"{item.arg}: {self.of(item.value)}" if item.arg else f"...{self.of(item.value, 9)}")
        short = [re.sub(r"^(\w+): \1$", r"\1", pair) for pair in pairs]
        return f"{{{', '.join(short)}}}"

    def _given(self, node: ast.Call, names: Sequence[str] | None) -> str:
        """Arguments in the order of the parameters."""
        if node.keywords and names is None:
            self.refuse(node, "a keyword for a function that is not known")
        given = [self.of(item) for item in node.args]
        wanted = {item.arg: self.of(item.value) for item in node.keywords}
        if any(isinstance(item, ast.Starred) for item in node.args):  # it fills what no keyword names
            return ", ".join([*given, *wanted.values()])
        for name in (names or ())[len(given) :]:
            if not wanted:
                break
            given.append(wanted.pop(name, "undefined"))
        return ", ".join(given)

    def _method(self, node: ast.Call, function: ast.Attribute) -> str:
        name = function.attr
        if is_name(function.value, "dict") and name == "fromkeys":
            return f"unique({self.over(node.args[0])})"
        if isinstance(function.value, ast.Name) and function.value.id not in self.local | {"self"}:
            if function.value.id == "math":
                return f"{self._attribute(function)}({self.listed(node.args)})"
            known = self.source.attribute(function.value.id, name)
            if known:
                fields = self.source.fields(known)
                return (
                    f"new {known}({self._record(node, fields)})"
                    if fields is not None
                    else f"{known}({self._given(node, self.source.arguments(known))})"
                )
        if name in HELPED:
            return f"{name}({', '.join([self.of(function.value), *map(self.of, node.args)])})"
        if name == "split" and len(node.args) != 1:
            self.refuse(node, "split without a separator, or at the first few of them,")
        if name in METHODS:
            return f"{self.of(function.value, 9)}.{METHODS[name]}({self.listed(node.args)})"
        if name in PYTHONS_OWN:
            self.refuse(node, f"the method {name}")
        names = self.source.arguments(f".{name}")
        return f"{self.of(function.value, 9)}.{name}({self._given(node, names)})"
