"""The law book as text for people and as JSON for programs."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.batch_report import batch_text
from analysis.fitting.decisions import BELOW, RULES, standings
from analysis.fitting.published.narrowing import Narrowed
from analysis.fitting.queries import variables_of
from analysis.fitting.retrospective import Decision, size_choices
from analysis.formula import meanings, numbers, symbols
from planner.law_book import LawBook, MethodLaw
from planner.scores import ScoreLaw
from sweeps.support.text import table

NAMED = 3  # families without weight
WIDTH = 110  # characters of a line of words
SHOWN = 8  # lines of one kind of caveat or exclusion before "and so many more"


def text(book: LawBook) -> str:
    """What `fit` prints: where the rows came from, the family and its rivals, coefficients, warnings."""
    parts = [_head(book)]
    for laws in _families(book.laws):
        parts += [_family(laws[0], book), _coefficients(laws, book)]
    parts += [told] if (told := batch_text(book.laws)) else []
    parts += [_profiles(book.laws)] if any(law.profiles for law in book.laws) else []
    parts += [_isoflop(book.laws)] if any(law.isoflop for law in book.laws) else []
    parts += [_rates(book)] if any(law.rate_rule for law in book.laws) else []
    parts += [_variants(law) for law in book.laws if len(book.laws) == 1]
    if book.scores:
        parts.append(_scores(book.scores))
    if book.excluded:
        parts.append(_excluded(book))
    if book.warnings:
        parts.append(_warnings(book))
    return "\n\n".join(parts)


def _scores(laws: Sequence[ScoreLaw]) -> str:
    """The relation of every task: the score at both ends, and what twice the parameters do at the same loss."""
    head = (
        "task and score",
        "trials",
        "Spearman with loss",
        "lowest loss, largest N",
        "highest loss, smallest N",
        "odds with twice N",
        "scatter (sd)",
    )
    rows = [
        (
            law.score,
            f"{law.rows}",
            f"{law.correlation:+.2f}",
            *(f"{law.at(loss, N):.3f}" for loss, N in _ends(law)),
            f"{2**law.c:.2f}" if law.c else "-",
            f"{law.noise:.3f}",
        )
        for law in laws
    ]
    return "\n".join(["scores on tasks as a function of the held-out loss", *table([head, *rows])])


def _rates(book: LawBook) -> str:
    """The rule of every method's rates, and how a rule did on searches of models and batch sizes it had not seen."""
    rules = {law.label: law.rate_rule for law in book.laws if law.rate_rule}
    rows = [["best learning rate", "searches", "N ~", "B ~", "off the best tried", "mean regret", "worst regret"]]
    for label, rule in rules.items():
        sds = [f"± {math.sqrt(rule.covariance[place][place]):.2f}" for place in (1, 2)]
        rows.append([f"  {label}: {rule.formula()}", f"{rule.searches}", *sds, *_missed(rule.left_out)])
    if every := book.source.get("rates_left_out"):
        rows.append(["  all", f"{every['searches']:.0f}", "", "", *_missed(every)])
    where = "  last three columns: on searches that the rule had not seen, one model and batch size left out at a time"
    return "\n".join([_aligned(rows), where])


def _missed(tested: Mapping[str, float]) -> list[str]:
    if not tested:
        return ["", "", ""]
    return [f"{tested['median_factor']:.2f}x", *(f"{100 * tested[name]:.2f} %" for name in ("given_away", "worst"))]


def _ends(law: ScoreLaw) -> list[tuple[float, float]]:
    return [(law.losses[0], law.params[1]), (law.losses[1], law.params[0])]


def document(book: LawBook) -> dict[str, Any]:
    """What `fit --json` prints: laws.json with formulas in place of draws; the only law's numbers also at the top, its
    coefficients as those of the family with the largest weight."""
    content = book.to_json()
    for law, printed in zip(book.laws, content["laws"], strict=True):
        del printed["draws"]
        printed["formula"] = {family: numbers(part, variables_of(book)) for family, part in law.parts.items()}
    if len(book.laws) == 1:
        only = content["laws"][0]
        shown = ("family", "weights", "formula", "objective", "delta", "drift", "backtest")
        content.update({key: only[key] for key in shown})
        for key in ("coefficients", "intervals", "intervals_95"):
            content[key] = only[key].get(only["family"], {})
    return content


def published(book: LawBook, rows: Sequence[Narrowed]) -> str:
    """What `fit` prints of a folder of published facts: each fact, and what it adds to the others.

    Two columns are shares of draws: such as the priors allow, and such as agree with all other facts.
    """
    first = rows[0]
    budget, draws = 10 * book.source["largest_budget"], len(book.laws[0].draws)
    counts = book.source["draws"]
    lines = [
        f"{book.source['name']}: {draws} sets of laws that agree with {len(rows)} facts of {book.published}",
        "Nothing here was measured by us. * marks facts with assumed numbers, listed in facts.toml.",
        f"Of {counts['proposed']:,} proposals the priors admit {counts['possible']:,}; {counts['agree']:,} agree.",
        "",
        f"At {budget:.3g} FLOP, ten times the largest budget, {first.open_with:.1f} choices remain open;",
        f"{first.top_method} is best with probability {first.method_with:.2f}. What each fact adds to the others:",
    ]
    head = ("agree", "given the others", "open without", f"{first.top_method} without", "fact")
    table_rows = [
        (
            f"{100 * row.agree:.0f} %",
            f"{100 * row.agree_last:.0f} %",
            _unless(row.open_without, ".1f"),
            _unless(row.method_without, ".2f"),
            f"{row.fact.text}{'*' if row.fact.assumed else ''}",
        )
        for row in rows
    ]
    return "\n".join([*lines, *table([head, *table_rows], numbers_right=False)])


def _unless(value: float | None, form: str) -> str:
    return "too few draws" if value is None else format(value, form)


def retrospective(tested: Sequence[Decision]) -> str:
    """A line for every budget, and how many runs lay in their interval at all."""
    lines = [f"decisions by laws of budgets at most 1/{BELOW:g} as large", *map(_decision, tested)]
    predicted = sum(decision.predicted_runs for decision in tested)
    inside = sum(decision.inside for decision in tested)
    if predicted:
        share = f"{100 * inside / predicted:.0f} %"
        lines.append(f"  all       {inside} of {predicted} runs in their 90 % interval ({share})")
    return "\n".join(lines) + _rules(standings(size_choices(tested)))


def _beside(rival: Mapping[str, Any]) -> str:
    """By how much the regret of a rule exceeds the law's, in the decisions of both."""
    return f"{0 - 100 * rival['gap']:+.2f} ± {100 * rival['error']:.2f} % in {rival['decisions']}"


def _rules(found: Mapping[str, Any]) -> str:
    """The regret of each rule for the size of a model; "" where no decision has all rules."""
    if not found["rules"]:
        return ""
    rows = [["size chosen by", "decisions", "mean regret", "worst", "against the law"]]
    for rule, record in found["rules"].items():
        rival = found["against_law"].get(rule)
        beside = _beside(rival) if rival else ""
        least = "   <- lowest" if rule == found["least"] and len(found["rules"]) > 1 else ""
        given = f"{100 * record['mean']:.2f} ± {100 * record['error']:.2f} %"
        rows.append([RULES[rule], f"{record['decisions']}", given, f"{100 * record['worst']:.2f} %", beside + least])
    return "\n\n" + _aligned(rows)


def _decision(decision: Decision) -> str:
    best, chosen = decision.cells[0], decision.chosen
    if chosen is None or decision.regret is None:
        why = (
            f"from {decision.runs} runs; --json gives the reason"
            if decision.reason
            else "for a method that was tried at this budget"
        )
        return f"  {decision.budget:8.3g}  no law yet {why}"
    error = "no law yet" if decision.error is None else f"{100 * decision.error:+.1f} %"
    return (
        f"  {decision.budget:8.3g}  best {best['model']} {best['method']} {best['loss']:.3f}, predicted {error};"
        f" chosen {chosen['model']} {chosen['method']}, {100 * decision.regret:.2f} % above it;"
        f" {decision.inside} of {decision.predicted_runs} runs in their 90 % interval"
    )


def _head(book: LawBook) -> str:
    models = f" of {len(book.models)} models" if book.models else ""
    left = f"; {len(book.excluded)} left out" if book.excluded else ""
    variables, measured = variables_of(book), book.measured
    ranges = {"C": measured.flops, "N": measured.params, "D": measured.tokens}
    spans = ", ".join(
        f"{letter} {low:.3g} to {high:.3g}"
        for letter, (low, high) in ranges.items()
        if (letter in variables if len(variables) == 1 else low < high or letter == "D")
    )
    weighed = f"\n{_weighed(book.source['weighed'])}" if "weighed" in book.source else ""
    asked = "".join(f"\n{line}" for line in _asked(book))
    return f"{book.source['name']}: {book.source['observations']} runs{models}{left}\nevidence: {spans}{asked}{weighed}"


def _asked(book: LawBook) -> list[str]:
    """What was asked of the rows of somebody's table and of the coefficients, and what was minimised."""
    if not (columns := book.source.get("columns", {})):
        return []
    held = ", ".join(f"{name} = {value:g}" for name, value in book.source.get("fixed", {}).items())
    delta = book.source.get("delta")
    parts = [
        *book.source.get("filters", []),
        f"rows weighted by {columns['weights']}" if "weights" in columns else "",
        f"{held} fixed" if held else "",
        f"lowest Huber loss of ln residuals{'' if delta is None else f', delta {delta:.3g}'}",
    ]
    return [f"fitted: {'; '.join(part for part in parts if part)}"]


def _weighed(record: Mapping[str, Any]) -> str:
    """How many draws of published facts the runs weighed, and what they are worth."""
    worth = f"effective sample size {record['effective']:.0f}"
    return (
        f"prior: facts of {record['citation']}; {record['draws']} draws of laws that agree with these and predict "
        f"{record['observations']} runs, {worth}; they miss the runs by {100 * record['missed']:.2g} %"
    )


def _families(laws: Sequence[MethodLaw]) -> list[list[MethodLaw]]:
    """Laws that were chosen and are shown together."""
    groups: dict[tuple[str, str], list[MethodLaw]] = {}
    for law in laws:
        groups.setdefault((law.family, str(law.backtest)), []).append(law)
    return list(groups.values())


def _family(law: MethodLaw, book: LawBook) -> str:
    lines = [f"law       {_weights(law)}{_sharing(law, book)}", *_formulas(law, book)]
    return "\n".join([*lines, *_backtest(law)])


def _backtest(law: MethodLaw) -> list[str]:
    """How the law did on runs that windows of it had not seen, and each family by itself, the best first."""
    if not law.backtest:
        return []
    found, mean = law.backtest, len(law.weights) > 1
    held = f"; 90 % intervals cover {100 * found['coverage']:.0f} %" if "coverage" in found else ""
    lines = [f"backtest  mean error on {found['predicted']} larger runs, left out of the fit{held}"]
    tried = sorted(found["tried"].items(), key=lambda item: item[1]["error"])
    if not mean:
        taken = "   <- chosen" if len(tried) > 1 else ""
        return [*lines, *(f"{_error(s)}  {label}{taken if label == found['chosen'] else ''}" for label, s in tried)]
    lines.append(f"{_error(found)}  the weighted mean   <- used")
    lines += [f"{_error(s)}  {label}, weight {s['weight']:.2f}" for label, s in tried if s["weight"]]
    if others := [f"{label} {100 * s['error']:.2f} %" for label, s in tried if not s["weight"]]:
        more = f"; and {len(others) - NAMED} more" if len(others) > NAMED else ""
        lines.append(f"          without weight: {'; '.join(others[:NAMED])}{more}")
    return lines


def _error(score: Mapping[str, float]) -> str:
    return f"          {100 * score['error']:6.2f} % ± {100 * score['se']:.2f}"


def _weights(law: MethodLaw) -> str:
    """The family of a law, or those that it is the mean of, that with the largest weight first."""
    if len(law.weights) == 1:
        return law.family
    shares = [f"{family} {weight:.2f}" for family, weight in law.weights.items()]
    return f"{', '.join(shares)}: mean of their predictions, with these weights"


def _formulas(law: MethodLaw, book: LawBook) -> list[str]:
    """A line for each family of the law, with its coefficients where no other method has others; what these mean."""
    formula = numbers if len(book.laws) == 1 else symbols
    width = max(map(len, law.parts)) if len(law.parts) > 1 else 0
    written = [(family if width else "", formula(part, variables_of(book))) for family, part in law.parts.items()]
    lines = [f"          {family:<{width}}{'  ' if width else ''}{text}" for family, text in written if text]
    told = [
        part for text in meanings(law.parts.values(), variables_of(book)) for part in textwrap.wrap(text, WIDTH - 10)
    ]
    return lines + [f"          {text}" for text in told]


def _sharing(law: MethodLaw, book: LawBook) -> str:
    """Which coefficients are shared with which runs, and which are the method's own."""
    if not law.shared:
        return ""
    other = book.source.get("with")
    runs = f" and with {other['observations']} runs of {other['name']}" if other else ""
    if len(law.weights) > 1:
        return f"; exponents shared by all methods{runs}"
    if not other:
        return f"; {_and(law.shared)} shared by all methods"
    return f"; {_and(other['shared'])} shared by all methods{runs}; {_and(other['own'])} each method's own"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _isoflop(laws: Sequence[MethodLaw]) -> str:
    """isoFLOP minima beside the law: exponents of the compute-optimal N and D, why some budgets have none."""
    rows = [["isoFLOP minima, without a law", "budgets", "N ~ C^", "D ~ C^", "by the law: N ~ C^", "D ~ C^", ""]]
    for law in laws:
        bottoms = law.isoflop.get("bottoms", [])
        known = f"{sum(b['params'] is not None for b in bottoms)} of {len(bottoms)}"
        reasons = Counter(b["reason"] for b in bottoms if b["reason"])
        by_runs, by_law = law.isoflop.get("exponents"), law.isoflop.get("law_exponents")
        why = reasons.most_common(1)[0][0] if reasons else ""
        if by_runs and by_law:
            shown = [_exponent(by_runs, "N"), _exponent(by_runs, "D"), f"{by_law['N']:.2f}", f"{by_law['D']:.2f}"]
            rows.append([f"  {law.label}", known, *shown, why])
        elif reasons:
            rows.append([f"  {law.label}", known, "", "", "", "", why])
    told = next((law.isoflop["verdict"] for law in laws if law.isoflop.get("verdict")), None)
    return "\n".join([_aligned(rows) if len(rows) > 1 else "", *([_verdict(told)] if told else [])]).strip("\n")


def _verdict(told: Mapping[str, Any]) -> str:
    law, rival = (100 * told["given_away"][rule] for rule in ("law", "isoflop"))
    return (
        f"  mean regret in {told['decisions']} decisions at larger budgets: {RULES['law']} {law:.2f} % of the loss"
        f", {RULES['isoflop']} {rival:.2f} % (difference {0 - 100 * told['gap']:+.2f} ± {100 * told['error']:.2f})"
    )


def _exponent(exponents: Mapping[str, float | None], name: str) -> str:
    error = exponents[f"{name}_se"]
    return f"{exponents[name]:.2f}" + ("" if error is None else f" ± {error:.2f}")


def _coefficients(laws: Sequence[MethodLaw], book: LawBook) -> str:
    """What each law rests on, and its coefficients: of a mean those of the winner, of all families where it is one."""
    facts = _facts(laws, book.source.get("weighed", {}).get("rows", {}))
    winner, *others = laws[0].weights
    heads = {family: f"{family} {weight:.2f}" for family, weight in laws[0].weights.items()}
    parts = [_part(laws, winner, heads[winner] if others else "method", facts, book)]
    if len(laws) == 1:
        parts += [_part(laws, family, heads[family], [[], []], book) for family in others]
    more = f"laws.json also holds the coefficients of {_and(others)}" if others and len(laws) > 1 else ""
    return "\n".join(filter(None, [*map(_aligned, parts), more]))


def _facts(laws: Sequence[MethodLaw], weighing: Mapping[str, int]) -> list[list[str]]:
    """Runs, noise and what else is known, under their names; a row for each law.

    weighing: label -> runs that weighed the draws of published facts.
    """
    columns = {
        "runs": [str(law.rows or weighing.get(law.label, 0)) for law in laws],
        "noise": [f"{100 * law.noise:.1f} %" for law in laws],
        "MAD": [f"{100 * law.scatter['mad']:.1f} %" if "mad" in law.scatter else "" for law in laws],
        "model error per decade": ["" if law.drift is None else f"{100 * law.drift:.1f} %" for law in laws],
        "objective": ["" if law.delta is None else f"{law.objective:.4g}" for law in laws],
    }
    known = {name: column for name, column in columns.items() if any(column)}
    return [list(known), *map(list, zip(*known.values(), strict=True))]


def _part(
    laws: Sequence[MethodLaw], family: str, head: str, facts: Sequence[Sequence[str]], book: LawBook
) -> list[list[str]]:
    """The coefficients of one family, behind the facts of each law; of a law in one variable those that it has."""
    names = list(laws[0].parts[family].coefficients)
    if len(variables_of(book)) == 1:
        formula = symbols(laws[0].parts[family], variables_of(book))
        names = [name for name in names if re.search(rf"\b{name}\b", formula)]
    held = book.source.get("fixed", {})
    rows = [[head, *facts[0], *names]]
    for law, own in zip(laws, facts[1:], strict=True):
        values, ends = law.parts[family].coefficients, law.intervals[family]
        rows.append([law.label, *own, *(_value(values[name]) for name in names)])
        rows.append(
            [
                "  90 % interval",
                *[""] * len(own),
                *("fixed" if name in held else _interval(*ends[name]) for name in names),
            ]
        )
    return rows


def _profiles(laws: Sequence[MethodLaw]) -> str:
    """What `--profile` asked for, beside the bootstrap's intervals."""
    rows = [["profiles, 90 % intervals", "coefficient", "fitted", "by the profile", "by the bootstrap"]]
    for law in laws:
        for name, profile in law.profiles.items():
            ends, drawn = _bounds(profile["low"], profile["high"]), _interval(*law.intervals[law.family][name])
            rows.append([f"  {law.label}", name, _value(profile["best"]), ends, drawn])
    return _aligned(rows)


def _bounds(low: float | None, high: float | None) -> str:
    """An interval whose ends may be open."""
    if low is None or high is None:
        return "any value" if low == high else f"up to {_value(high)}" if high else f"{_value(low or 0)} and more"
    return _interval(low, high)


def _interval(low: float, high: float) -> str:
    """Nothing is known to be 0 exactly: such a coefficient lies at the end of the search, as a warning says."""
    return "unknown" if low == high == 0 else f"{_value(low)} to {_value(high)}"


def _variants(law: MethodLaw) -> str:
    rows = [["instead", "objective", "coefficients"]]
    for name, variant in law.variants.items():
        shown = ", ".join(f"{key} {_value(value)}" for key, value in variant["coefficients"].items())
        rows.append([name, f"{variant['objective']:.6g}", shown])
    return _aligned(rows) if len(rows) > 1 else ""


def _excluded(book: LawBook) -> str:
    counts = Counter(re.sub(r" \([^()]*\)$", "", reason) for _, reason in book.excluded).most_common()
    lines = [f"left out  {count} x {reason}" for reason, count in counts[:SHOWN]]
    if len(counts) > SHOWN:
        lines.append(f"          and {len(counts) - SHOWN} more reasons; laws.json names every row")
    return "\n".join(lines)


def _warnings(book: LawBook) -> str:
    lines: list[str] = []
    for code, count in Counter(notice.code for notice in book.warnings).items():
        texts = [notice.text for notice in book.warnings if notice.code == code]
        lines += [f"warning   {text}" for text in texts[:SHOWN]]
        if count > SHOWN:
            lines.append(f"          and {count - SHOWN} more of this kind ({code})")
    return "\n".join(lines)


def _value(value: float) -> str:
    return f"{value:.4g}" if value < 1e6 else f"{value:.3g}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(table(rows, numbers_right=False))
