"""The files that `fit` writes. Whole or not at all: a plan must never read half a law file."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.support.atomic import write_text
from sweeps.support.checksum import sealed

if TYPE_CHECKING:
    from planner.law_book import LawBook


def write(path: Path, content: str) -> None:
    """Write a text file, its folder too where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, content)


def write_book(path: Path, book: LawBook) -> Path:
    """Write a law file and return its path."""
    write(path, sealed(book.to_json(), indent=1) + "\n")
    return path


def write_page(args: argparse.Namespace, book: LawBook | None, laws: Path | None, why: str = "") -> Path:
    """Write the page and return its path; without a book it shows the trials, and in words why they have no law."""
    from analysis.page import page

    write(args.page, page(args.path, book, why, laws))
    return Path(args.page)


def file_name(name: str) -> str:
    """A score or a condition as a part of a file name: a task of mteb, a folder or a prompt may hold anything."""
    return re.sub(r"[^\w.@+-]+", "-", name)[:80].strip("-")
