"""Names in a syntax tree: which ones a statement binds, where they are used, how JavaScript writes them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

RESERVED = {
    "arguments",
    "eval",
    "new",
    "this",
    "function",
    "var",
    "let",
    "const",
    "default",
    "delete",
    "switch",
    "case",
    "in",
    "typeof",
}


def is_name(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Name) and (not names or node.id in names)


def safe(name: str) -> str:
    """A name that JavaScript allows."""
    return f"{name}_" if name in RESERVED else name


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def bound_names(target: ast.AST) -> Iterator[str]:
    """Names that an assignment to `target` binds; those of a subscript or an attribute are not among them."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, (ast.Tuple, ast.List)):
        for part in target.elts:
            yield from bound_names(part)


def assigned(node: ast.AST) -> list[str]:
    """Names that one statement or `:=` binds in its function."""
    if isinstance(node, ast.Assign):
        return [name for target in node.targets for name in bound_names(target)]
    if isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.For)):
        return list(bound_names(node.target))
    return []


def blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for part in ast.walk(node):
        for name in ("body", "orelse"):
            if isinstance(getattr(part, name, None), list):
                yield getattr(part, name)


def uses(body: Sequence[ast.stmt], name: str) -> int:
    return sum(is_name(part, name) for statement in body for part in ast.walk(statement))
