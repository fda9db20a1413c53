"""Python functions and classes as JavaScript: the part of the language that the planner is written in, and no more.

Anything else is an error that names the line, so that a planner that outgrows this is noticed when the page is
generated and not when somebody reads it. Names stay what they are; `self` is `this`, keyword arguments of a function
become positional, those of a record an object.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from analysis.page.javascript.expressions import BINARY, Expressions, Source
from analysis.page.javascript.names import assigned, blocks, bound_names, is_name, safe, uses


class Statements:
    """The body of one function, indented by `depth` steps."""

    def __init__(self, source: Source, function: ast.FunctionDef):
        self.function = function
        self.names = [item.arg for item in function.args.args if item.arg not in ("self", "cls")]
        self.names += [item.arg for item in function.args.kwonlyargs]
        bound = {name for node in ast.walk(function) for name in assigned(node)}
        self.says = Expressions(source, {*self.names, *bound})
        once = {name for name in bound if name not in self.names and self._once(name)}
        together = [set(assigned(node)) for node in ast.walk(function)]  # `a, b = ...` declares both or none
        self.constant = {name for name in once if all(names <= once for names in together if name in names)}

    def _once(self, name: str) -> bool:
        """Whether it is bound once, in the block that holds all its uses, so that it can be a `const` there."""
        bindings = [node for node in ast.walk(self.function) if name in assigned(node)]
        if len(bindings) != 1 or not isinstance(bindings[0], (ast.Assign, ast.AnnAssign)):
            return False
        block = next(item for item in blocks(self.function) if bindings[0] in item)
        return uses(block, name) == uses(self.function.body, name)

    def parameters(self) -> str:
        names = self.function.args
        plain = [item.arg for item in names.args if item.arg not in ("self", "cls")]
        defaults = dict(zip(reversed(plain), reversed(names.defaults), strict=False))
        defaults |= {item.arg: value for item, value in zip(names.kwonlyargs, names.kw_defaults, strict=True) if value}
        return ", ".join(
            f"{name} = {self.says.of(defaults[name])}" if name in defaults else name for name in self.names
        )

    def text(self, depth: int) -> str:
        looped = {
            name for node in ast.walk(self.function) if isinstance(node, ast.For) for name in bound_names(node.target)
        }
        bound = [name for node in ast.walk(self.function) for name in assigned(node)]
        free = [name for name in dict.fromkeys(bound) if name not in {*self.names, *self.constant, *looped}]
        head = [f"{'  ' * depth}let {', '.join(map(safe, free))};"] if free else []
        return "\n".join([*head, *self.block(self.function.body, depth)])

    def block(self, body: Sequence[ast.stmt], depth: int) -> list[str]:
        return [f"{'  ' * depth}{line}" for node in body for line in self.lines(node)]

    def lines(self, node: ast.stmt) -> Iterator[str]:
        translate = getattr(self, f"_{type(node).__name__.lower()}", None)
        if translate is None:
            self.says.refuse(node)
        yield from translate(node)

    def _expr(self, node: ast.Expr) -> Iterator[str]:
        if not isinstance(node.value, ast.Constant):  # a docstring
            yield f"{self.says.of(node.value)};"

    def _assert(self, node: ast.Assert) -> Iterator[str]:
        yield from ()  # for readers of the Python

    def _pass(self, node: ast.Pass) -> Iterator[str]:
        yield from ()

    def _return(self, node: ast.Return) -> Iterator[str]:
        yield f"return {self.says.of(node.value)};" if node.value else "return;"

    def _raise(self, node: ast.Raise) -> Iterator[str]:
        if not isinstance(node.exc, ast.Call):
            self.says.refuse(node)
        yield f"throw new Error({', '.join(map(self.says.of, node.exc.args))});"

    def _assign(self, node: ast.Assign) -> Iterator[str]:
        [target] = node.targets
        names = list(bound_names(target))
        word = "const " if names and set(names) <= self.constant else ""
        yield f"{word}{self.says.target(target)} = {self.says.of(node.value)};"

    def _annassign(self, node: ast.AnnAssign) -> Iterator[str]:
        yield from self._assign(ast.Assign([node.target], node.value or ast.Constant(None)))

    def _augassign(self, node: ast.AugAssign) -> Iterator[str]:
        if isinstance(node.value, (ast.List, ast.ListComp)):
            self.says.refuse(node, "a list that grows by +=")
        yield f"{self.says.of(node.target)} {BINARY[type(node.op)][0]}= {self.says.of(node.value)};"

    def _if(self, node: ast.If, word: str = "if") -> Iterator[str]:
        yield f"{word} ({self.says.test(node.test)}) {{"
        yield from self.block(node.body, 1)
        if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
            yield from self._if(node.orelse[0], "} else if")
            return
        if node.orelse:
            yield "} else {"
            yield from self.block(node.orelse, 1)
        yield "}"

    def _while(self, node: ast.While) -> Iterator[str]:
        yield f"while ({self.says.test(node.test)}) {{"
        yield from self.block(node.body, 1)
        yield "}"

    def _for(self, node: ast.For) -> Iterator[str]:
        yield f"for (const {self.says.target(node.target)} of {self.says.over(node.iter)}) {{"
        yield from self.block(node.body, 1)
        yield "}"

    def _continue(self, node: ast.Continue) -> Iterator[str]:
        yield "continue;"

    def _break(self, node: ast.Break) -> Iterator[str]:
        yield "break;"


def function_text(source: Source, node: ast.FunctionDef) -> str:
    body = Statements(source, node)
    head, text = f"({body.parameters()})", f"{{\n{body.text(1)}\n}}"
    if any(is_name(item, "cache") for item in node.decorator_list):
        return f"{remark(node, 0)}export const {node.name} = cached({head} => {text});"
    return f"{remark(node, 0)}export function {node.name}{head} {text}"


def class_text(source: Source, node: ast.ClassDef, fields: Sequence[str], members: Callable[[str], bool]) -> str:
    """A record: its constructor takes its fields by name. members: which methods, properties and attributes of the
    class come along."""
    says = Expressions(source, set())
    own = {
        item.target.id: item
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    shared = {name: item for name, item in own.items() if "ClassVar" in ast.unparse(item.annotation)}
    bases = [item.id for item in node.bases if isinstance(item, ast.Name) and item.id != "ABC"]
    functions = [item for item in node.body if isinstance(item, ast.FunctionDef) and members(item.name)]
    lines = [f"{remark(node, 0)}export class {node.name}{f' extends {source.known(bases[0])}' if bases else ''} {{"]
    if fields:
        given = ", ".join(_field(says, name, own.get(name)) for name in fields)
        checks = " this.__post_init__();" if any(item.name == "__post_init__" for item in functions) else ""
        lines += [f"  constructor({{{given}}}) {{", *(["    super();"] if bases else [])]
        lines += [f"    Object.assign(this, {{{', '.join(fields)}}});{checks}", "  }"]
    lines += [_member(source, item) for item in functions]
    after = [f"{node.name}.prototype.{name} = {says.of(item.value)};" for name, item in shared.items() if members(name)]
    return "\n".join([*lines, "}", *after])


def _field(says: Expressions, name: str, node: ast.AnnAssign | None) -> str:
    if node is None or node.value is None:
        return name
    factory = isinstance(node.value, ast.Call) and is_name(node.value.func, "field")
    return f"{name} = {'{}' if factory else says.of(node.value)}"


def _member(source: Source, node: ast.FunctionDef) -> str:
    kinds = {ast.unparse(item) for item in node.decorator_list}
    if kinds - {"property", "cached_property", "classmethod"}:
        raise ValueError(f"{source.where}:{node.lineno}: @{kinds.pop()} has no translation to JavaScript")
    body = Statements(source, node)
    name = {"__str__": "toString"}.get(node.name, node.name)
    word = "static " if "classmethod" in kinds else "get " if kinds else ""
    head = f"{remark(node, 1)}  {word}{name}({body.parameters()}) {{"
    if "cached_property" in kinds:
        return f"{head}\n    return kept(this, '{name}', () => {{\n{body.text(3)}\n    }});\n  }}"
    return f"{head}\n{body.text(2)}\n  }}"


def remark(node: ast.FunctionDef | ast.ClassDef, depth: int) -> str:
    """The first line of a docstring."""
    line = (ast.get_docstring(node) or "").split("\n")[0]
    return f"{'  ' * depth}/** {line} */\n" if line else ""
