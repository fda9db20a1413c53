"""The files under examples/, which lie beside the packages."""

from __future__ import annotations

from pathlib import Path

from recipe_planner.packages import ROOT


def examples() -> dict[str, Path]:
    """Name -> file of every example: sweep files and a cluster profile."""
    return {file.stem: file for file in sorted((ROOT / "examples").glob("*.toml"))}


def example_text(name: str) -> str:
    """The text of an example. Raises ValueError naming those that there are."""
    known = examples()
    if name not in known:
        raise ValueError(f"`example` is {name!r}; known: {', '.join(known)}")
    return known[name].read_text(encoding="utf-8")
