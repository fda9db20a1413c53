"""The models that a plan chooses from: suites, named models, or the suite that a law book has measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.law_book import LawBook
from sweeps.models import SUITES, ModelSpec, find_model

EVERY = "all"  # the name of all suites together


def suite_of(name: str) -> str:
    """The suite that a model belongs to; "" for other people's models."""
    for suite, models in SUITES.items():
        if any(model.name == name for model in models):
            return suite
    return ""


def check_suites(suites: Sequence[str]) -> None:
    """Raises ValueError for a suite that there is not."""
    for suite in suites:
        if suite != EVERY and suite not in SUITES:
            raise ValueError(f"`suite` is {suite!r}; known: {', '.join([*SUITES, EVERY])}")


def menu(book: LawBook, suites: Sequence[str], models: Sequence[str | ModelSpec]) -> list[ModelSpec]:
    """The models of the suites and those named; without both, the suites that the book's models are of.

    Raises ValueError for a model whose shape is nowhere to be found.
    """
    wanted = list(SUITES) if EVERY in suites else suites
    chosen = [model for suite in wanted for model in SUITES[suite]]
    chosen += [model if isinstance(model, ModelSpec) else _named(model) for model in models]
    if not chosen:
        chosen, missing = own_menu(book)
        if missing:
            raise ValueError(
                f"models of the laws are nowhere: {', '.join(missing)}; name models with `suite` or `models`"
            )
    return list({model.name: model for model in chosen}.values())


def own_menu(book: LawBook) -> tuple[list[ModelSpec], list[str]]:
    """The suites that the book's models are of and its models of no suite; and names whose shape is nowhere."""
    suites = dict.fromkeys(suite_of(name) for name in book.models)
    known, missing = [model for suite in suites if suite for model in SUITES[suite]], []
    for name in book.models:
        try:
            known += [] if suite_of(name) else [_named(name)]
        except (ValueError, OSError):
            missing.append(name)
    return known, missing


def _named(name: str) -> ModelSpec:
    return replace(find_model(name, "`models`"), name=name.rstrip("/"))  # the trial's name must lead back to the model
