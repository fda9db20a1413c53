"""What `fit` says to --predict, --optimum and --holdout, as text and as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planner.discrepancy import FARTHEST
from planner.extrapolation import NAMES, Extrapolation, times
from planner.quantities import short
from planner.sizes import read_flops, read_point
from sweeps.support.text import table

if TYPE_CHECKING:
    from analysis.fitting.queries import HeldOut
    from analysis.tables.table import Table
    from planner.frontier import Ends
    from planner.law_book import LawBook
    from planner.sizes import Optimum, Point

Asked = list[tuple[str, list["Point"]]]  # as it was asked, and what each law says


@dataclass(frozen=True)
class Answers:
    """What the laws say to what was asked of them."""

    predictions: Asked
    """To each --predict."""
    optima: list[tuple[str, Optimum]]
    """To each --optimum, by law."""
    held_out: HeldOut | None
    """To --holdout; None without one."""

    def to_json(self) -> dict[str, Any]:
        """Under the names that docs/tables.md explains; what was not asked is not there."""
        said: dict[str, Any] = {}
        if self.predictions:
            said["predictions"] = [
                {"asked": asked, **each.to_json()} for asked, points in self.predictions for each in points
            ]
        if self.optima:
            said["optima"] = [{"method": label, **each.to_json()} for label, each in self.optima]
        if self.held_out:
            said["holdout"] = self.held_out.to_json()
        return said

    def __str__(self) -> str:
        parts = [_predictions(self.predictions), _optima(self.optima), _held_out(self.held_out)]
        return "\n\n".join(part for part in parts if part)


def check_asked(args: argparse.Namespace) -> None:
    """Raises ValueError for what no laws could answer, before any are fitted."""
    for text in args.predict:
        read_point(text, "`predict`")
    for text in args.optimum:
        read_flops(text, "`optimum`")


def answers(args: argparse.Namespace, runs: Table, book: LawBook) -> Answers:
    """Ask the laws. Raises ValueError for what they cannot be asked."""
    from analysis.fitting.queries import held_out, optima, predictions

    return Answers(
        [(asked, predictions(book, asked)) for asked in args.predict],
        [pair for budget in args.optimum for pair in optima(book, budget)],
        held_out(runs, book, args.holdout) if args.holdout else None,
    )


def _predictions(asked: Asked) -> str:
    points = [each for _, some in asked for each in some]
    if not points:
        return ""
    methods = len({each.method for each in points}) > 1
    rows = [
        (
            *([each.method] if methods else []),
            *(_number(getattr(each, name)) for name in ("params", "tokens", "flops")),
            f"{each.loss:.4g}",
            _span(each.interval),
            _far(each.extrapolation),
        )
        for each in points
    ]
    head = (*(["method"] if methods else []), "N", "D", "C", "loss", "90 % interval", "")
    return "\n".join(["predicted", *_without_empty([head, *rows])])


def _optima(asked: Sequence[tuple[str, Optimum]]) -> str:
    if not asked:
        return ""
    methods = len({label for label, _ in asked}) > 1
    rows, reasons = [], []
    for label, each in asked:
        if each.best is None:
            reasons.append(f"  {label}: {each.reason}")
            continue
        numbers = (_number(each.best.params), _span(each.params_interval), _number(each.best.tokens))
        said = (_span(each.tokens_interval), f"{each.best.loss:.4g}", _span(each.best.interval))
        name = [label] if methods else []
        rows.append((*name, f"{each.budget:.3g}", *numbers, *said, _far(each.best.extrapolation)))
    head = ("C", "best N", "90 %", "best D", "90 %", "loss", "90 % interval", "")
    shown = _without_empty([(*(["method"] if methods else []), *head), *rows]) if rows else []
    return "\n".join(["best size for a budget", *shown, *reasons])


def _held_out(tested: HeldOut | None) -> str:
    if tested is None:
        return ""
    first = f"held out: {tested.condition}"
    lost = f"; {tested.without_law} rows are of methods without a law" if tested.without_law else ""
    if tested.error is None or tested.bias is None:
        return f"{first}: no row could be predicted{lost}"
    count = len(tested.runs)
    way = "too high" if tested.bias > 0 else "too low"
    return (
        f"{first}: {count} rows predicted, mean error {100 * tested.error:.2g} %, "
        f"{100 * abs(tested.bias):.2g} % {way} on average; {tested.inside} of {count} in their 90 % interval "
        f"({100 * tested.inside / count:.0f} %){lost}"
    )


def _far(far: Extrapolation) -> str:
    """How far an answer lies from what was measured: `C 33x beyond, D 2.4x below`."""
    factors = {"C": far.flops, "N": far.params, "D": far.tokens}
    beyond = [
        f"{letter} {times(factor)} {'below' if name in far.below else 'beyond'}"
        for (letter, factor), name in zip(factors.items(), NAMES, strict=True)
        if factor > 1
    ]
    if not beyond:
        return f"within the {far.evidence} range"
    return ", ".join(beyond) + (": a guess" if far.decades > FARTHEST else "")


def _number(value: float | None) -> str:
    return "" if value is None else short(value)


def _span(ends: Ends) -> str:
    low, high = (_end(end) for end in ends)
    if not low and not high:
        return "anywhere"
    return f"{low} to {high}" if low and high else f"below {high}" if high else f"above {low}"


def _end(value: float | None) -> str:
    return "" if value is None else short(value) if value >= 1000 else f"{value:.4g}"


def _without_empty(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table without the columns in which every row is empty."""
    kept = [place for place in range(len(rows[0])) if any(row[place] for row in rows[1:])]
    return [f"  {line}" for line in table([[row[place] for place in kept] for row in rows], numbers_right=False)]
