"""The files under examples/, which are installed beside the packages."""

from __future__ import annotations

from pathlib import Path

from sweeps.support.extras import DISTRIBUTION
from sweeps.support.processes import ROOT

FOLDER = ("share", DISTRIBUTION, "examples")  # of what is installed, in the environment's own folder


def examples() -> dict[str, Path]:
    """Name -> file of every example: sweep files and a cluster profile, of the source tree or as installed."""
    files = sorted((ROOT / "examples").glob("*.toml")) if (ROOT / "pyproject.toml").is_file() else _installed()
    return {file.stem: file for file in files}


def _installed() -> list[Path]:
    from importlib import metadata

    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    return sorted(Path(file.locate()) for file in files if file.suffix == ".toml" and file.parts[-4:-1] == FOLDER)


def example_text(name: str) -> str:
    """The text of an example. Raises ValueError naming those that there are."""
    known = examples()
    if name not in known:
        raise ValueError(f"`example` is {name!r}; known: {', '.join(known)}")
    return known[name].read_text(encoding="utf-8")
