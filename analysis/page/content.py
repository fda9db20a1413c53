"""All that the page of a results folder shows, ready for JSON."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.page.planning import planning
from analysis.page.trials import columns
from analysis.tables.sweep_table import read_observations
from planner.candidates import tunings
from planner.evidence import shipped
from planner.law_book import LawBook
from planner.law_file import read_laws
from planner.palette import looks
from sweeps.trial import CHOICES, Observation


def document(folder: Path, book: LawBook | None, why: str = "", laws: Path | None = None) -> dict[str, Any]:
    """The content of the page of a results folder; arguments as of `analysis.page.page`."""
    path = folder / "observations.jsonl"
    observations, notices = read_observations(path) if path.exists() else ([], ())
    excluded = dict(book.excluded) if book else {}
    books = [book, *published_beside(book)] if book else []
    score = book.measure.removeprefix("1 - ") if book and book.measure != "loss" else ""
    return {
        "name": folder.resolve().name,
        "why": why,
        "measure": book.measure if book else "loss",
        "createdBy": book.created_by if book else "",
        "flags": [f"--laws {shlex.quote(name)}" for name in _named(laws, books)],
        "planning": planning(books) if books else None,
        "choices": {name: list(CHOICES[name]) for name in ("pooling", "schedule")},
        "looks": _looks(books, observations),
        "trials": columns(observations, excluded, score, book),
        "broken": [] if book else [notice.text for notice in notices],  # a book's warnings name them already
    }


def published_beside(book: LawBook) -> list[LawBook]:
    """The bundled published law books, to stand beside one of runs that predicts losses as they do."""
    if book.published or book.measure != "loss":
        return []
    others = [read_laws(path) for name, path in shipped().items() if name != book.name]
    return [other for other in others if other.published]


def _named(laws: Path | None, books: Sequence[LawBook]) -> list[str]:
    """How `plan` is told the law books; none where the first lies in no file."""
    return [str(laws), *(book.name for book in books[1:])] if laws else []


def _looks(books: Sequence[LawBook], observations: Sequence[Observation]) -> dict[str, dict[str, Any]]:
    """How each method is drawn that was tried, has a law, or is one of those over a backbone in 4 bits; by its
    label."""
    tried = [seen.trial.method for seen in observations]
    methods = [*tried, *(method for book in books for law in book.laws for method in tunings(law, ()))]
    settings: dict[str, Mapping[str, Any]] = {each.label: {"name": each.name, **each.options} for each in methods}
    return {label: asdict(look) for label, look in looks(settings).items()}
