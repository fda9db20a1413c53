"""`python-env`: the Python source that is already on the machine, as text and as pairs of three tasks (TASKS).

The standard library and every installed distribution are read, never imported. A file belongs to the held-out split
by a hash of its name alone, so the split is the same wherever a package is installed, no file feeds both splits, and
a language model pretrained on the `train` text has not seen what the `held_out` pairs are made from.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib.metadata
import inspect
import os
import signal
import sysconfig
import textwrap
import tokenize
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sweeps.data.files import is_unicode
from sweeps.support.processes import die_with_parent
from sweeps.support.progress import Progress

HELD_OUT_SHARE = 20  # one file in twenty
MAX_FILE_BYTES = 1_000_000  # larger ones are generated tables
MAX_CODE_CHARS = 4_000  # far beyond any context used here; keeps the pairs file small
MIN_QUERY_WORDS = 3
MIN_HALF_LINES = 3
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
    """Returns every Python file of the standard library and of the installed distributions, in a fixed order."""
    files: dict[str, SourceFile] = {}
    stdlib = Path(sysconfig.get_path("stdlib"))
    for path in stdlib.rglob("*.py"):
        inside = path.relative_to(stdlib)
        if inside.parts[0] not in ("site-packages", "dist-packages"):
            key = f"stdlib/{inside.as_posix()}"
            files[key] = SourceFile(key, path)
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if not name or name.lower().replace("_", "-") == OWN_DISTRIBUTION:
            continue
        for file in distribution.files or ():
            if file.suffix == ".py" and ".." not in file.parts:
                key = f"{name.lower()}/{file.as_posix()}"
                files[key] = SourceFile(key, Path(str(distribution.locate_file(file))))
    return [files[key] for key in sorted(files)]


def folders() -> tuple[Path, ...]:
    """Where files lie: a package that is installed or removed changes the time of one of these folders."""
    return tuple({Path(sysconfig.get_path(name)): 0 for name in ("stdlib", "purelib", "platlib")})


def read_source(path: Path) -> str | None:
    """Returns the file's text in its declared encoding (PEP 263), or None where it cannot be read or is too large."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        with tokenize.open(path) as handle:
            return handle.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def texts(held_out: bool) -> Iterator[str]:
    """Yields the non-empty source files of one split, whole, for causal language modelling."""
    digests: set[bytes] = set()
    for file in source_files():
        if file.held_out == held_out and (text := read_source(file.path)) and text.strip():
            digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
            if digest not in digests:
                digests.add(digest)
                yield text


def function_pairs(source: str, task: str = "python-env") -> Iterator[tuple[str, str]]:
    """Yields the pair that the task makes of each documented function that has one."""
    pair_of = TASKS[task]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        tree = ast.parse(source)
    lines = source.splitlines()
    for node in _statements(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (pair := pair_of(node, lines)):
            yield pair


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yields every statement, outer ones first. Functions never hide in expressions, which are most of a tree."""
    waiting = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for part in ("body", "handlers", "orelse", "finalbody", "cases"):
            waiting.extend(getattr(node, part, ()))


def _search(node: Function, lines: list[str]) -> tuple[str, str] | None:
    """Returns the first paragraph of the docstring, and the `def` line and body without the docstring."""
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


def _halves(node: Function, lines: list[str]) -> tuple[str, str] | None:
    """Returns the first and the second half of a function's lines, the docstring left out."""
    pair = _search(node, lines)
    code = pair[1].splitlines() if pair else []
    if len(code) < 2 * MIN_HALF_LINES:
        return None
    middle = len(code) // 2
    return "\n".join(code[:middle]), "\n".join(code[middle:])


def _documentation(node: Function, lines: list[str]) -> tuple[str, str] | None:
    """Returns the first paragraph of the docstring, and the rest of it."""
    summary, _, rest = inspect.cleandoc(ast.get_docstring(node, clean=False) or "").partition("\n\n")
    query, text = " ".join(summary.split()), rest.strip()[:MAX_CODE_CHARS]
    if min(len(query.split()), len(text.split())) < MIN_QUERY_WORDS or not is_unicode(query + text):
        return None
    return query, text


Function = ast.FunctionDef | ast.AsyncFunctionDef
TASKS: dict[str, Callable[[Function, list[str]], tuple[str, str] | None]] = {
    "python-env": _search,
    "python-env-halves": _halves,
    "python-env-docs": _documentation,
}


def _pairs_of_file(task: str, file: SourceFile) -> list[tuple[str, str]] | None:
    source = read_source(file.path)
    if source is None:
        return None
    try:
        return list(function_pairs(source, task))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _begin() -> None:
    """Of a process that reads."""
    die_with_parent(signal.SIGTERM)
    gc.disable()  # a syntax tree has no cycles: looking for some takes an eighth of the time


def mine_pairs(files: list[SourceFile], task: str = "python-env") -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the pairs of `files` for a task of TASKS, and the keys of the files that could not be read or parsed.

    Each pair is {query, positive, file, held_out}. A query or a body that occurred before is dropped (copied
    functions would be false negatives, and could sit on both sides of the split), so the first by file name stays.
    """
    pairs, unread = [], []
    known: set[str] = set()
    readers = ProcessPoolExecutor(os.cpu_count(), initializer=_begin)
    with readers as pool, Progress("reading source", len(files), "files") as progress:
        for file, of_file in zip(files, pool.map(partial(_pairs_of_file, task), files, chunksize=64), strict=True):
            progress.advance()
            if of_file is None:
                unread.append(file.key)
            for query, code in of_file or ():
                body = "".join(code.split("\n", 1)[1:]) if task == "python-env" else code  # other names, same function
                keys = {"q" + query.lower(), "c" + body}
                if not keys & known:
                    pairs.append({"query": query, "positive": code, "file": file.key, "held_out": file.held_out})
                known |= keys
    return pairs, unread
