"""What a recipe is trained on: how many pairs, how long they are, and how that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.law_book import LawBook
from planner.quantities import short
from sweeps.flops import Work
from sweeps.models import ModelSpec
from sweeps.trial import Training


@dataclass(frozen=True)
class TrainingData:
    """What is trained on."""

    pair: Work
    """Mean training pair, and the pairs in a batch."""
    pairs: float
    """Unique training pairs; infinite where their number is unknown."""
    how: str
    """How both are known; "" where they are those of the laws."""


def training_data(
    book: LawBook, training: Training, named: bool, models: Sequence[ModelSpec], pairs: float, tokens: float | None
) -> TrainingData:
    """What `training` trains on. What was not asked for is counted in `training.data` where that was `named`.

    models: one of theirs counts the tokens. pairs: unique pairs as asked, else without end. tokens: of a mean pair as
    asked. Raises ValueError for data that are not there, or that lack the hard negatives of the laws.
    """
    assert book.pair and book.training
    mean_tokens, squares, said = book.pair.tokens, book.pair.sum_sq_lengths, []
    if named and (pairs == math.inf or tokens is None):
        from sweeps.data.pair_statistics import pair_statistics, tokenizer_file  # only here: a plan starts at once

        tokenizer = next((model.source for model in models if tokenizer_file(model.source)), "")
        found = pair_statistics(training, tokenizer)
        if training.hard_negatives and not found.negatives:
            wanted = f"{training.hard_negatives} hard negatives per pair, under which the laws of {book.name} hold"
            raise ValueError(f"{training.data} has none of the {wanted}; `embed mine` can find them")
        pairs = found.train_pairs if pairs == math.inf else pairs
        mean_tokens, squares = found.tokens, found.sum_sq_lengths
        said = [f"{found.train_pairs:,} training pairs and {found.held_out:,} held out in {training.data}: {found.how}"]
    if tokens is None and not named:
        tokens = cut_by_context(book, training)
    pair, asked = mean_pair(book, training, mean_tokens, squares, tokens)
    return TrainingData(pair, pairs, "; ".join([*said, *asked]))


def cut_by_context(book: LawBook, training: Training) -> float | None:
    """Tokens of a mean pair of the laws where the context of `training` may cut it; None where it does not."""
    assert book.pair and book.training
    return book.pair.tokens if training.context < book.training.context else None


def mean_pair(
    book: LawBook, training: Training, mean_tokens: float, squares: float, tokens: float | None
) -> tuple[Work, list[str]]:
    """The mean pair in batches of `training`, and what to say of its length.

    mean_tokens, squares: as counted. tokens: as asked; None: as counted.
    """
    assert book.pair
    if tokens is None:
        return Work(1, mean_tokens, squares, training.batch_size), []
    cut_tokens = min(tokens, (2 + training.hard_negatives) * training.context)
    # As uneven as the texts of the laws are, but for texts that are cut at the context.
    uneven = book.pair.sum_sq_lengths * (cut_tokens / book.pair.tokens) ** 2
    pair = Work(1, cut_tokens, min(uneven, cut_tokens * training.context), training.batch_size)
    cut = f", cut at a context of {training.context}" if cut_tokens < tokens else ""
    return pair, [f"{short(cut_tokens)} tokens per pair, as asked{cut}"]
