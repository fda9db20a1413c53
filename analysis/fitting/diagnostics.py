"""What of a law is not to be relied on, and how its coefficients would differ under other assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.fitting.backtest import FamilyChoice
from analysis.fitting.estimate import Estimate
from analysis.fitting.problem import Problem
from analysis.fitting.solver import huber, solve
from analysis.tables.rows import Rows
from planner.law_book import Caveat, MethodLaw
from planner.laws import LAWS

# Name of the variant -> per group its objective and coefficients.
Variants = dict[str, list[dict[str, Any]]]


def variants(estimate: Estimate, chosen: FamilyChoice, tested: Sequence[FamilyChoice]) -> Variants:
    """Objective and coefficients of each group under the L1 and L2 limits of the loss, and in the other families."""
    problem = estimate.problem
    limits = {"L1": estimate.noise / 100, "L2": estimate.noise * 100}
    by_name = {name: _solved(problem, max(delta, 1e-9)) for name, delta in limits.items()}
    for other in tested:
        if other.shared == chosen.shared and other.family != chosen.family:
            by_name[other.family] = _solved(replace(problem, shape=other.shape), estimate.delta)
    return by_name


def _solved(problem: Problem, delta: float) -> list[dict[str, Any]]:
    theta = solve(problem, np.ones((1, len(problem.rows))), delta).theta
    residuals = problem.residuals(theta)[0]
    return [
        {
            "objective": float((huber(residuals, delta) * problem.rows.times)[problem.rows.group == g].sum()),
            "coefficients": {name: float(values[0]) for name, values in coefficients.items()},
        }
        for g, coefficients in enumerate(problem.coefficients(theta))
    ]


def huber_sensitivity(family: str, rows: Rows, variants: Variants, labels: dict[int, str]) -> list[Caveat]:
    """Where the L1 and the L2 answers would recommend sizes more than 2 x apart at 10 x the largest run."""
    caveats = []
    for g, label in labels.items():
        mine = rows.take(rows.group == g)
        if len(np.unique(mine.N)) == 1:
            continue
        rate = float(np.median(mine.flops / (mine.N * mine.D)))
        sizes = np.geomspace(mine.N.min() / 10, mine.N.max() * 100, 400)
        budget = 10 * mine.flops.max()
        tokens, share = budget / (rate * sizes), np.median(mine.S)
        best = []
        for name in ("L1", "L2"):
            law = LAWS[family](**variants[name][g]["coefficients"])
            best.append(sizes[np.argmin(law.at(sizes, tokens, share))])
        if max(best) > 2 * min(best):
            text = f"{label}: least absolute and least squared errors put the best size at {budget:.2g} FLOP at "
            caveats.append(Caveat("loss_sensitive", f"{text}{best[0]:.2g} and {best[1]:.2g} parameters", label))
    return caveats


def diagnostics(law: MethodLaw, estimate: Estimate) -> list[Caveat]:
    """What of this law is not to be relied on: coefficients that the runs do not identify, designs that cannot."""
    caveats = []

    def warn(code: str, text: str) -> None:
        caveats.append(Caveat(code, f"{law.label}: {text}", law.label))

    lowest = float(estimate.problem.rows.loss.min())
    intervals = law.intervals[law.family]
    if "E" in intervals and intervals["E"][0] < 0.05 * lowest and intervals["E"][1] > 0:
        low, high = intervals["E"]
        zero = "includes 0" if low <= 0 else "almost includes 0"
        text = f"the irreducible loss E is not identifiable (90 % interval {low:.3g} to {high:.3g}, which {zero})"
        warn("E_unidentified", text)
    for name in ("alpha", "beta"):
        low, high = intervals.get(name, (0.0, 0.0))
        if high > 3 * max(low, 0.01):
            warn("exponent_unidentified", f"exponent {name} is poorly known (90 % interval {low:.3g} to {high:.3g})")
    if law.measured.params[0] == law.measured.params[1]:
        text = "only one model size: the law says nothing about other sizes, whose effect is part of E"
        warn("one_size", text)
    elif _one_line(estimate.problem.rows):
        warn("one_ratio", "in all runs the tokens follow from the size, so the effects of the two cannot be separated")
    if not estimate.settled:
        warn("not_settled", "the solver ran out of steps; the coefficients may be off")
    return caveats


def _one_line(rows: Rows) -> bool:
    """Whether ln D is a straight line in ln N within 5 %: one ratio of tokens to parameters, or nearly so."""
    return bool(np.std(rows.d - np.polyval(np.polyfit(rows.n, rows.d, 1), rows.n)) < 0.05)


def isoflop_difference(law: MethodLaw) -> list[Caveat]:
    """Where isoFLOP minima, which know no law, put the best size elsewhere."""
    bottoms = [bottom for bottom in law.isoflop.get("bottoms", []) if bottom["params"] is not None]
    ratios = [bottom["params"] / bottom["law_params"] for bottom in bottoms]
    if not ratios or np.exp(abs(np.median(np.log(ratios)))) <= 2:
        return []
    text = f"{law.label}: isoFLOP minima put the best size {np.median(ratios):.2g} times where the law does"
    return [Caveat("isoflop", text, law.label)]
