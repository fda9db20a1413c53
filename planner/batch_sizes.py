"""Which batch sizes a plan chooses from, by whose law, and where the one of a recipe comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.batch_law import AtBatch, BatchLaw
from planner.candidates import ENOUGH_STEPS, Candidate
from planner.evidence import BATCHES, bundled, is_table, shipped
from planner.extrapolation import extrapolation_factor, times
from planner.law_book import LawBook, MethodLaw

CHOICES = tuple(2**power for power in range(3, 21))  # 8 to 1,048,576 pairs: powers of two, as people train
PUBLISHED = "published"
ASKED = "as asked"
WITHIN = "measured"
OF_THE_LAWS = "that of the laws, measured at one batch size"


@dataclass(frozen=True)
class BatchChoice:
    """The batch size of a recipe and where it comes from."""

    source: str
    """Measured, by the law and how far extrapolated, published, as asked, or as in the laws."""
    best: float | None = None
    """B*: pairs of the best batch for the recipe's tokens; None where no law of the method knows batch sizes."""
    interval: tuple[float, float] | None = None
    """90 % interval of B*."""
    given_away: float | None = None
    """Share by which the predicted loss lies above that at B*."""
    beside: str = ""
    """What laws of other runs say, where those that answer know one batch size."""

    @property
    def by_law(self) -> bool:
        """Whether a law chose it."""
        return self.best is not None and self.source != ASKED


def lent(books: Sequence[LawBook]) -> list[LawBook]:
    """The books; measured ones of one batch size take the worth of others from a sweep of several on the same data.

    The sweep is one of the books, else the bundled one.
    """
    lender = _lender(books)
    return [_lent_to(book, lender) if lender else book for book in books]


def _lender(books: Sequence[LawBook]) -> LawBook | None:
    own = [book for book in books if any(law.batch for law in book.laws)]
    if own:
        return own[0]
    # Sweeps of people's own keep their batch size, unless they name the sweep that tells what others are worth.
    return bundled(BATCHES) if any(book.name in shipped() for book in books) else None


def _lent_to(book: LawBook, lender: LawBook) -> LawBook:
    if is_table(book) or book.published or book is lender or any(law.batch for law in book.laws):
        return book
    assert book.training
    if not lender.training or lender.training.data != book.training.data:
        return book
    size = book.training.batch_size
    laws = [_with_batch(law, batch_law_of(lender, law), size) for law in book.laws]
    return replace(book, laws=tuple(_with_rates(law, lender) for law in laws))


def _with_rates(law: MethodLaw, lender: LawBook) -> MethodLaw:
    """The law, its rate following the batch size as in a sweep of several."""
    name = str(law.settings["name"])
    others = [other.rate_rule for other in lender.laws if other.rate_rule and other.settings["name"] == name]
    if not law.rate_rule or not others:
        return law
    return replace(law, rate_rule=law.rate_rule.with_batches_of(others[0], lender.name))


def _with_batch(law: MethodLaw, batch: BatchLaw | None, size: int) -> MethodLaw:
    known = batch is not None and law.law.inputs == ("N", "D")
    return replace(law, batch=replace(batch, own=size)) if batch and known else law


def batch_law_of(book: LawBook, law: MethodLaw) -> BatchLaw | None:
    """What a book knows of batch size for a method: of the same settings, else of the same name, else of any method."""
    name = str(law.settings["name"])
    every = [other for other in book.laws if other.batch]
    ranked = sorted(every, key=lambda other: (other.label != law.label, other.settings["name"] != name))
    return ranked[0].batch if ranked else None


def batch_choice(candidate: Candidate, tokens: float, book: LawBook, asked: bool) -> BatchChoice:
    """Where the batch size of a recipe of so many tokens comes from, as the law counts them."""
    batch = candidate.law.batch
    if batch is None:
        assert book.training
        plain = PUBLISHED if book.published and not book.weighed_by else OF_THE_LAWS
        if candidate.batch_size != book.training.batch_size:
            plain += f" {book.training.batch_size:,}, reduced to allow {ENOUGH_STEPS:,} steps"
        return BatchChoice(ASKED if asked else plain, beside=_beside(candidate, tokens))
    size, best = candidate.batch_size, batch.best(tokens)
    tried = (float(batch.sizes[0]), float(batch.sizes[-1]))
    beyond = max(extrapolation_factor(tokens, batch.tokens), extrapolation_factor(size, tried))
    source = WITHIN if beyond == 1 else f"by law, extrapolated {times(beyond)}"
    given = candidate.loss(tokens) / _at_best(candidate, best, tokens) - 1
    return BatchChoice(ASKED if asked else f"{source} (sweep {batch.runs})", best, batch.interval(tokens), given)


def _at_best(candidate: Candidate, best: float, tokens: float) -> float:
    law = candidate.law.law
    assert isinstance(law, AtBatch)
    given = candidate.arguments(tokens)
    return float(replace(law, batch=best).loss(*given))


def _beside(candidate: Candidate, tokens: float) -> str:
    """What our own runs of several batch sizes would say, however far they lie from the question; "" without any."""
    lender = bundled(BATCHES)
    batch = batch_law_of(lender, candidate.law) if lender else None
    if batch is None:
        return ""
    best, ends = batch.best(tokens), batch.interval(tokens)
    between = f", 90 % {rounded(ends[0])} to {rounded(ends[1])}" if ends else ""
    far = times(extrapolation_factor(tokens, batch.tokens))
    text = f"our own runs (sweep {batch.runs}) give {rounded(best)} pairs as the best{between}"
    return f"{text}; extrapolated {far} in tokens"


def rounded(pairs: float) -> str:
    """A batch size to two digits: 130, 2,100."""
    return f"{pairs:.0f}" if pairs < 99.5 else f"{float(f'{pairs:.2g}'):,.0f}"
