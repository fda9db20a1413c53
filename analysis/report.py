"""The law book as text for people and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from planner.laws import LawBook, MethodLaw

SHOWN = 8  # lines of one kind of notice or exclusion before "and so many more"


def text(book: LawBook) -> str:
    """What `fit` prints: where the rows came from, the family and its rivals, coefficients, what to be careful with."""
    parts = [_head(book)]
    for laws in _families(book.laws):
        parts += [_family(laws[0]), _coefficients(laws)]
    parts += [_variants(law) for law in book.laws if len(book.laws) == 1]
    if book.excluded:
        parts.append(_excluded(book))
    if book.warnings:
        parts.append(_warnings(book))
    return "\n\n".join(parts)


def document(book: LawBook) -> dict[str, Any]:
    """What `fit --json` prints: laws.json without the draws; the only law's numbers also at the top."""
    content = book.to_json()
    for law in content["laws"]:
        del law["draws"]
    if len(book.laws) == 1:
        only = content["laws"][0]
        content.update({key: only[key] for key in ("family", "objective", "coefficients", "intervals", "backtest")})
    return content


def _head(book: LawBook) -> str:
    models = f" of {len(book.models)} models" if book.models else ""
    left = f"; {len(book.excluded)} left out" if book.excluded else ""
    spans = ", ".join(
        f"{letter} {low:.3g} to {high:.3g}"
        for letter, (low, high) in (("C", book.span.flops), ("N", book.span.params), ("D", book.span.tokens))
        if low < high or letter == "D"
    )
    return f"{book.source['name']}: {book.source['observations']} runs{models}{left}\nevidence: {spans}"


def _families(laws: Sequence[MethodLaw]) -> list[list[MethodLaw]]:
    """Laws that were chosen and are shown together."""
    groups: dict[tuple[str, str], list[MethodLaw]] = {}
    for law in laws:
        groups.setdefault((law.family, str(law.backtest)), []).append(law)
    return list(groups.values())


def _family(law: MethodLaw) -> str:
    formula = " ".join((type(law.law).__doc__ or "").split()).split(" (")[0].split(":")[0].rstrip(".")
    shared = f"; {' and '.join(law.shared)} shared by all methods" if law.shared else ""
    lines = [f"law       {law.family}{shared}", f"          {formula if '=' in formula else ''}".rstrip()]
    if law.backtest:
        tried = sorted(law.backtest["tried"].items(), key=lambda item: item[1]["error"])
        lines.append(f"backtest  mean error on {law.backtest['predicted']} larger runs that the fit had not seen")
        lines += [
            f"          {100 * s['error']:6.2f} % ± {100 * s['se']:.2f}  {label}"
            + ("   <- chosen" if label == law.backtest["chosen"] and len(tried) > 1 else "")
            for label, s in tried
        ]
    return "\n".join(line for line in lines if line.strip())


def _coefficients(laws: Sequence[MethodLaw]) -> str:
    names = list(laws[0].law.coefficients)
    table = [["method", "runs", "noise", *names]]
    for law in laws:
        values = [_value(law.law.coefficients[n]) for n in names]
        ends = [f"{_value(law.intervals[n][0])} to {_value(law.intervals[n][1])}" for n in names]
        table.append([law.label, str(law.rows), f"{100 * law.noise:.1f} %", *values])
        table.append(["  90 % interval", "", "", *ends])
    return _aligned(table)


def _variants(law: MethodLaw) -> str:
    table = [["instead", "objective", "coefficients"]]
    for name, variant in law.variants.items():
        shown = ", ".join(f"{key} {_value(value)}" for key, value in variant["coefficients"].items())
        table.append([name, f"{variant['objective']:.6g}", shown])
    return _aligned(table) if len(table) > 1 else ""


def _excluded(book: LawBook) -> str:
    counts = Counter(reason.split(" (")[0] for _, reason in book.excluded).most_common()
    lines = [f"left out  {count} x {reason}" for reason, count in counts[:SHOWN]]
    if len(counts) > SHOWN:
        lines.append(f"          and {len(counts) - SHOWN} reasons more; laws.json names every row")
    return "\n".join(lines)


def _warnings(book: LawBook) -> str:
    lines: list[str] = []
    for code, count in Counter(notice.code for notice in book.warnings).items():
        texts = [notice.text for notice in book.warnings if notice.code == code]
        lines += [f"careful   {text}" for text in texts[:SHOWN]]
        if count > SHOWN:
            lines.append(f"          and {count - SHOWN} more of this kind ({code})")
    return "\n".join(lines)


def _value(value: float) -> str:
    return f"{value:.4g}" if value < 1e6 else f"{value:.3g}"


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table)
