"""Which law book answers: those that ship or were named, and the rule that the nearest one answers.

Distance: decades beyond the book's range in compute, model size and data size, added up; a suite, and data, that the
book has not seen count as one decade each. Of books at the same distance measured ones come before published ones.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from planner.extrapolation import Extrapolation, extrapolation_factor
from planner.law_book import LawBook
from planner.law_file import read_laws

SHIPPED = Path(__file__).resolve().parents[1] / "results"
FILE = "laws.json"
BATCHES = "batch"  # the bundled sweep of batch sizes, and that of temperatures: other law books borrow of them
TEMPERATURES = "temperature"
ASIDE = (BATCHES, TEMPERATURES, "bracket")  # these answer only where they are named
REACH = 6.0  # decades of compute beyond every law book: from there on nothing is said at all


@dataclass(frozen=True)
class Other:
    """A law book that lies farther from the question than the one that answers."""

    book: str
    """Name of the law book."""
    distance: float | None
    """Its distance, decades; None where it has no answer."""
    answer: str
    """The model and the method that it would have chosen, or why it has no answer."""
    differs: bool
    """Whether it would have chosen another model or method."""


@dataclass(frozen=True)
class Evidence:
    """The law book that answers, and how far it lies from the question."""

    book: str
    """Name of the law book: the folder of its sweep or of its facts."""
    kind: str
    """"measured" where runs were fitted, "published" where the laws are drawn from a paper's printed findings."""
    extrapolation: Extrapolation
    """How far the answer lies beyond the book's range, and what of it the book has not seen."""
    others: tuple[Other, ...] = ()
    """The other law books, the nearest first."""

    def to_json(self) -> dict[str, Any]:
        far = self.extrapolation
        return {
            "book": self.book,
            "kind": self.kind,
            "distance": far.distance,
            "unseen": list(far.unseen),
            "others": [asdict(other) for other in self.others],
        }


def shipped() -> Mapping[str, Path]:
    """Name -> file of every bundled law book. Raises ValueError when the package holds none."""
    books = {path.parent.name: path for path in sorted(SHIPPED.glob(f"*/{FILE}"))}
    if not books:
        raise ValueError(f"no law books are installed ({SHIPPED}/*/{FILE}); name one with `laws`")
    return books


@cache
def bundled(name: str) -> LawBook | None:
    """The bundled law book of this name; None without one."""
    path = shipped().get(name)
    return read_laws(path) if path else None


def open_books(laws: LawBook | Path | str | Sequence[LawBook | Path | str] | None) -> list[LawBook]:
    """The law books: all bundled ones but ASIDE for None; else books, names of bundled ones, their folders or files.

    Raises ValueError or FileNotFoundError naming what cannot be read.
    """
    if laws is None:
        return [read_laws(path) for name, path in shipped().items() if name not in ASIDE]
    books = read_books([laws] if isinstance(laws, (LawBook, Path, str)) else laws)
    for book in books:
        if is_table(book):
            raise ValueError(
                f"{book.name}: fitted to a table of runs, without the training conditions that a recipe needs; "
                "such laws alone answer with size and tokens (`planner.plan_sizes`)"
            )
    return books


def read_books(laws: Sequence[LawBook | Path | str]) -> list[LawBook]:
    """The law books of these names, folders or files, of whatever runs.

    Raises ValueError or FileNotFoundError naming what cannot be read.
    """
    return [book if isinstance(book, LawBook) else read_laws(_path(book)) for book in laws]


def is_table(book: LawBook) -> bool:
    """Whether a law book is of somebody's table of runs: without the conditions that a recipe needs."""
    return book.training is None or book.pair is None


def _path(name: Path | str) -> Path:
    path = Path(name)
    if os.path.isdir(path):
        path = path / FILE
    if os.path.exists(path):
        return path
    books = shipped()
    if str(name) in books:
        return books[str(name)]
    raise ValueError(
        f"`laws` is {str(name)!r}; it must be a law file, a folder with {FILE}, or bundled: {', '.join(books)}"
    )


def decades_of_compute(book: LawBook, flops: float) -> float:
    """Decades that a budget lies beyond those of a law book, on either side; 0 within."""
    return math.log10(extrapolation_factor(flops, book.measured.flops))


def check_reach(books: Sequence[LawBook], flops: float) -> None:
    """Raises ValueError for a budget (FLOPs) that lies so far above every law book that no answer means anything."""
    nearest = min(books, key=lambda book: decades_of_compute(book, flops))
    most = nearest.measured.flops[1] * 10**REACH
    if flops > most:
        raise ValueError(
            f"`budget` of {flops:.3g} FLOP lies {decades_of_compute(nearest, flops):.0f} decades beyond the nearest "
            f"law book ({nearest.name}, up to {nearest.measured.flops[1]:.2g} FLOP); `plan` answers up to {most:.1g}"
        )
