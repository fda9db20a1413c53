"""The training temperature of a recipe, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.evidence import TEMPERATURES, bundled, is_table
from planner.extrapolation import extrapolation_factor, times
from planner.law_book import LawBook, MethodLaw
from planner.temperature_rule import TemperatureRule


@dataclass(frozen=True)
class TemperatureChoice:
    """The training temperature of a recipe."""

    temperature: float
    """The temperature."""
    source: str
    """Measured and by which runs, published, default, or as asked."""


def temperature_choice(
    law: MethodLaw, book: LawBook, batch_size: int, conditions: Mapping[str, Any]
) -> TemperatureChoice:
    """The temperature of a recipe by a law. conditions: settings that were asked for.

    The laws hold at theirs, so that is kept where it may be the best; beyond the batch sizes of the rule, what it says
    at their end.
    """
    assert book.training
    own, rule = book.training.temperature, law.temperature_rule
    if "temperature" in conditions:
        asked = float(conditions["temperature"])
        return TemperatureChoice(asked, f"as asked; {_asked(asked, own, rule)}")
    if book.published:
        return TemperatureChoice(own, f"published: {book.weighed_by or book.published}")
    if rule is None:
        return TemperatureChoice(own, f"default: as in the runs of {book.name}, which tried no other")
    best, low, high = rule.best(min(max(float(batch_size), rule.batches[0]), rule.batches[1]))
    told = f"measured ({rule.runs}, {rule.curves} curves): best {best:.2g}, 90 % {low:.2g} to {high:.2g}"
    told += "".join(f"; by {name} {temperature:.2g}" for name, temperature in rule.by_scores.items())
    if (factor := extrapolation_factor(batch_size, rule.batches)) > 1:
        told += f"; the batch size lies {times(factor)} beyond those tried, so the nearest one's is taken"
    if low <= own <= high:
        return TemperatureChoice(own, told)
    return TemperatureChoice(
        float(f"{best:.2g}"), f"{told}; the loss is predicted for, and measured at, {own:g} as in the laws"
    )


def _asked(asked: float, own: float, rule: TemperatureRule | None) -> str:
    """What is known of a temperature that was asked for."""
    if asked == own:
        return "that of the laws"
    if rule is None:
        return f"the laws were measured at {own:g} only"
    best, low, high = rule.best(rule.batch_size)
    beyond = "" if rule.tried[0] <= asked <= rule.tried[1] else f", {rule.tried[0]:g} to {rule.tried[1]:g} were tried"
    return f"best {best:.2g}, 90 % {low:.2g} to {high:.2g} ({rule.runs}){beyond}"


def lent_temperatures(books: Sequence[LawBook]) -> list[LawBook]:
    """The books; measured ones that tried one temperature take the rule of a sweep of several on the same data.

    The sweep is one of the books, else the bundled one.
    """
    own = [book for book in books if any(law.temperature_rule for law in book.laws)]
    lender = own[0] if own else bundled(TEMPERATURES)
    return [_lent_to(book, lender) if lender else book for book in books]


def _lent_to(book: LawBook, lender: LawBook) -> LawBook:
    known = not is_table(book) and not book.published and not any(law.temperature_rule for law in book.laws)
    if not known or not book.training or not lender.training or lender.training.data != book.training.data:
        return book
    rules = {law.label: law.temperature_rule for law in lender.laws if law.temperature_rule}
    by_name = {str(law.settings["name"]): rules[law.label] for law in lender.laws if law.label in rules}
    laws = []
    for law in book.laws:
        rule = rules.get(law.label) or by_name.get(str(law.settings["name"]))
        laws.append(replace(law, temperature_rule=rule))
    return replace(book, laws=tuple(laws))
