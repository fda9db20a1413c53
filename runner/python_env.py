"""`python-env`: the Python source that is already on the machine, as text and as code-search pairs.

The standard library and every installed distribution are read, never imported. A file belongs to the held-out split
by a hash of its name alone, so the split is the same wherever a package is installed, no file feeds both splits, and
a language model pretrained on the `train` text has not seen what the `held_out` pairs are made from.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import inspect
import os
import sysconfig
import textwrap
import tokenize
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sweeps.progress import Progress

HELD_OUT_SHARE = 20  # one file in twenty
MAX_FILE_BYTES = 1_000_000  # larger ones are generated tables
MAX_CODE_CHARS = 4_000  # far beyond any context used here; keeps the pairs file small
MIN_QUERY_WORDS = 3
OWN_DISTRIBUTION = "recipe-planner"


@dataclass(frozen=True)
class SourceFile:
    """One Python file: `key` names it independently of where it is installed."""

    key: str
    path: Path

    @property
    def held_out(self) -> bool:
        digest = hashlib.sha256(self.key.encode()).digest()
        return int.from_bytes(digest[:8], "big") % HELD_OUT_SHARE == 0


def source_files() -> list[SourceFile]:
    """Every Python file of the standard library and of the installed distributions, in a fixed order."""
    found: dict[str, SourceFile] = {}
    stdlib = Path(sysconfig.get_path("stdlib"))
    for path in stdlib.rglob("*.py"):
        inside = path.relative_to(stdlib)
        if inside.parts[0] not in ("site-packages", "dist-packages"):
            key = f"stdlib/{inside.as_posix()}"
            found[key] = SourceFile(key, path)
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if not name or name.lower().replace("_", "-") == OWN_DISTRIBUTION:
            continue
        for file in distribution.files or ():
            if file.suffix == ".py" and ".." not in file.parts:
                key = f"{name.lower()}/{file.as_posix()}"
                found[key] = SourceFile(key, Path(str(distribution.locate_file(file))))
    return [found[key] for key in sorted(found)]


def read_source(path: Path) -> str | None:
    """The file's text in its declared encoding (PEP 263), or None where it cannot be read or is too large."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        with tokenize.open(path) as handle:
            return handle.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def texts(held_out: bool) -> Iterator[str]:
    """The non-empty source files of one split, whole, for causal language modelling."""
    seen: set[bytes] = set()
    for file in source_files():
        if file.held_out == held_out and (text := read_source(file.path)) and text.strip():
            digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
            if digest not in seen:
                seen.add(digest)
                yield text


def function_pairs(source: str) -> Iterator[tuple[str, str]]:
    """(first paragraph of the docstring, `def` line and body without the docstring) of each documented function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        tree = ast.parse(source)
    lines = source.splitlines()
    for node in _statements(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (pair := _pair(node, lines)):
            yield pair


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Every statement, outer ones first. Functions never hide in expressions, which are most of a tree."""
    waiting = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for part in ("body", "handlers", "orelse", "finalbody", "cases"):
            waiting.extend(getattr(node, part, ()))


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: an escape in a file may leave half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pair(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> tuple[str, str] | None:
    documentation = ast.get_docstring(node, clean=False)
    if documentation is None or len(node.body) < 2:
        return None
    query = " ".join(inspect.cleandoc(documentation).split("\n\n")[0].split())
    text = node.body[0]
    if len(query.split()) < MIN_QUERY_WORDS or text.lineno == node.lineno or not is_unicode(query):
        return None
    code = lines[node.lineno - 1 : text.lineno - 1] + lines[text.end_lineno or text.lineno : node.end_lineno]
    code = [line.rstrip() for line in code if line.strip()]
    return query, textwrap.dedent("\n".join(code))[:MAX_CODE_CHARS]


def _pairs_of_file(file: SourceFile) -> list[tuple[str, str]] | None:
    source = read_source(file.path)
    if source is None:
        return None
    try:
        return list(function_pairs(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def mine_pairs(files: list[SourceFile]) -> tuple[list[dict], list[str]]:
    """Code-search pairs of `files`, and the keys of those that could not be read or parsed.

    Each pair is {query, positive, file, held_out}. A query or a body that occurred before is dropped (copied
    functions would be false negatives, and could sit on both sides of the split), so the first by file name stays.
    """
    pairs, unread = [], []
    seen: set[str] = set()
    with ProcessPoolExecutor(os.cpu_count()) as pool, Progress("reading source", len(files), "files") as progress:
        for file, found in zip(files, pool.map(_pairs_of_file, files, chunksize=64), strict=True):
            progress.advance()
            if found is None:
                unread.append(file.key)
            for query, code in found or ():
                marks = {"q" + query.lower(), "c" + "".join(code.split("\n", 1)[1:])}
                if not marks & seen:
                    pairs.append({"query": query, "positive": code, "file": file.key, "held_out": file.held_out})
                seen |= marks
    return pairs, unread
