"""YAML for others to read. Every text stands in double quotes with all that could mean something escaped, so that
nothing of a name or a command can become YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def yaml_text(*documents: Any) -> str:
    """Documents of mappings, sequences, texts, numbers, truths and None, as one YAML stream."""
    return "---\n".join("\n".join(_block(document)) + "\n" for document in documents)


def _block(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{_scalar(key)}:", item)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for item in value:
            first, *rest = _block(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _entry(key: str, item: Any) -> Iterator[str]:
    if isinstance(item, str) or not isinstance(item, (Mapping, Sequence)) or not item:
        yield f"{key} {_scalar(item)}"
        return
    yield key
    yield from (f"  {line}" for line in _block(item))


def _scalar(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else _escaped(c) for c in json.dumps(value, ensure_ascii=False))
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, Sequence):
        return "[]"
    return json.dumps(value)


def _escaped(character: str) -> str:
    """A character that is not to be seen, as YAML writes it."""
    return f"\\U{ord(character):08x}"
