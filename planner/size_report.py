"""A plan of sizes and tokens as text for people."""

from __future__ import annotations

from planner.frontier import Ends
from planner.law_book import LawBook
from planner.quantities import short
from planner.report import lined, refused_text
from planner.size_plan import UNKNOWN, SizeAnswer, SizePlan
from sweeps.support.text import table

WARNINGS = 4  # on the screen; --json lists all
REFUSALS = 3


def text(plan: SizePlan) -> str:
    """The answer, how sure it is, what it rests on, and what it cannot know."""
    answer, chosen = plan.answers[0], plan.size is not None and plan.size.chooses
    size, tokens = short(answer.point.params or 0.0), short(answer.point.tokens or 0.0)
    lines = {
        "budget": f"{plan.budget.flops:.4g} FLOP, {plan.costs[answer.point.method]}",
        "size": f"{answer.model + ', ' if answer.model else ''}N = {size}{_ends(answer.params_interval)}",
        "tokens": f"D = {tokens}{_ends(answer.tokens_interval)}",
        **({"method": answer.point.method} if len(plan.laws.laws) > 1 else {}),
        "loss": _loss(answer),
        **({"sure": _sure(answer)} if answer.best is not None and len(plan.answers) > 1 else {}),
        "evidence": "\n".join([_evidence(plan.laws, answer), *([str(plan.size)] if chosen else [])]),
        "unknown": f"{', '.join(name.replace('_', ' ') for name in UNKNOWN)}: a table of runs does not contain them",
    }
    parts = [lined(lines), _candidates(plan), refused_text(plan.refused, REFUSALS), _notes(plan)]
    return "\n\n".join(part for part in parts if part)


def _loss(answer: SizeAnswer) -> str:
    if answer.far:
        return "not predicted this far from the evidence"
    low, high = answer.point.interval
    return f"{answer.point.loss:.4g}; 90 % prediction interval {low:.4g} to {high:.4g}"


def _sure(answer: SizeAnswer) -> str:
    what = "" if answer.model else " method"
    given = "" if answer.share is None else f"; expected regret {100 * answer.share:.2g} % of the loss"
    return f"best{what} with probability {answer.best:.2f}{given}"


def _evidence(book: LawBook, answer: SizeAnswer) -> str:
    runs = f"{book.name}: {book.source.get('observations', 'some')} runs"
    filters = "; ".join(map(str, book.source.get("filters", [])))
    return f"{runs}{f' ({filters})' if filters else ''}; the answer lies {answer.point.extrapolation}"


def _candidates(plan: SizePlan) -> str:
    if len(plan.answers) < 2:
        return ""
    rows = [
        (
            each.model or "-",
            each.point.method,
            short(each.point.params or 0.0),
            short(each.point.tokens or 0.0),
            "" if each.far else f"{each.point.loss:.4g}",
            "" if each.far else f"{each.point.interval[0]:.4g} to {each.point.interval[1]:.4g}",
            "" if each.best is None else f"{each.best:.2f}",
            "" if each.share is None else f"{100 * each.share:.2g} %",
        )
        for each in plan.answers
    ]
    return "\n".join(table([("model", "method", "N", "D", "loss", "90 % interval", "best", "regret"), *rows]))


def _notes(plan: SizePlan) -> str:
    """The first warnings that stand in no other line."""
    said = ["extrapolated", *(["size-rule"] if plan.size and plan.size.chooses else [])]  # by the evidence
    shown = [warning.text for warning in plan.warnings if warning.code not in said]
    more = [f"and {len(shown) - WARNINGS} more; --json lists them"] if len(shown) > WARNINGS else []
    return lined({"note": "\n".join([*shown[:WARNINGS], *more])}) if shown else ""


def _ends(ends: Ends) -> str:
    low, high = ends
    if low is not None and low == high:
        return ""
    known = (f"above {short(low)}" if low else "") if high is None else f"below {short(high)}"
    return f" (90 %: {short(low)} to {short(high)})" if low and high else f" (90 %: {known or 'anywhere'})"
