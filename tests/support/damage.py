"""Ways to damage a file: what a bad disk, a bad program or a bad person leaves in its place."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ABSURD: tuple[Any, ...] = (
    "text", "", [], [1], {}, None, True, False, 0, -1, 1e308, -1e308, 1e-300, float("nan"), float("inf"), 10**400,
    5000 * "9", "\ud800", {"a": {"b": []}}, [[[[]]]],
)  # fmt: skip
DEEP = 100_000


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands in parsed JSON, everywhere but in long lists, of which the first is looked at."""
    if path:
        yield path
    items: Any = content.items() if isinstance(content, dict) else ()
    if isinstance(content, list):
        items = enumerate(content[:1])
    for key, value in items:
        yield from places(value, (*path, key))


def replaced(content: Any, path: tuple[Any, ...], value: Any) -> str:
    """The JSON of `content` with another value at that place."""
    copy = json.loads(json.dumps(content))
    inside = copy
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return json.dumps(copy)


def _truncate(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content) + 1)])


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes() or b"0")
    for _ in range(chance.choice((1, 1, 10))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _change(path: Path, chance: random.Random) -> None:
    """Put something absurd in the place of one value of a JSON file, or of a line of one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]
        number = chance.randrange(len(lines))
        content = json.loads(lines[number])
        lines[number] = replaced(content, chance.choice(list(places(content))), chance.choice(ABSURD))
    except (ValueError, IndexError):
        _flip(path, chance)
        return
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _deepen(path: Path, chance: random.Random) -> None:
    path.write_text(chance.choice(("[", '{"a":')) * DEEP)


def _fill(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.choice((b"", b"\0" * 100, b"\xff\xfe\x00x", b"3", b"null", b"[]", b"{}", b'"text"')))


def _folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(chance.choice(("/nowhere/at/all", "/dev/null", "/dev/zero", path.name)))


def _pipe(path: Path, chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _remove(path: Path, chance: random.Random) -> None:
    path.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "truncated": _truncate,
    "flipped": _flip,
    "changed": _change,
    "changed again": _change,  # the kind that finds most
    "changed once more": _change,
    "nested": _deepen,
    "filled": _fill,
    "a folder": _folder,
    "a link": _link,
    "a pipe": _pipe,
    "gone": _remove,
}


def damage(path: Path, seed: int) -> str:
    """Damage a file in one of the ways; returns which."""
    chance = random.Random(seed)
    how = chance.choice(list(DAMAGES))
    DAMAGES[how](path, chance)
    return how


def restore(path: Path, content: bytes) -> None:
    """What was there before."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
    path.write_bytes(content)
