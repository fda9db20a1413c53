"""Which rule would have chosen the size best: at each larger budget, from runs of at most a quarter of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.fitting.backtest import FEWEST_SIZES, FamilyChoice, clustered_variance, levels_of
from analysis.fitting.isoflop import PowerLaw, line_of, slope_of
from analysis.fitting.problem import Problem
from analysis.fitting.solver import ROUGH, solve
from analysis.frontier import at_level, budget_levels
from analysis.tables.rows import Array, Rows
from analysis.tables.table import Table
from planner.law_book import MethodLaw
from planner.laws import LAWS, Law

BELOW = 4.0  # times that a budget lies above the largest one that its rules saw, or more
ROUNDING = 1.02  # runs spend their budget up to the rounding to whole steps
TOKENS_PER_PARAMETER = 20.0  # what is quoted most (Hoffmann et al. 2022)
RULES = {
    "law": "the law",
    "isoflop": "extrapolated isoFLOP minima",
    "ratio": f"{TOKENS_PER_PARAMETER:g} tokens per parameter",
}


@dataclass(frozen=True)
class Measured:
    """What was measured of one method at one budget, and the runs that a rule may see."""

    method: str
    """Its label."""
    budget: float
    """Training FLOPs."""
    sizes: Array
    """N of each size [sizes], ascending."""
    tokens: Array
    """D that the budget buys at each."""
    shares: Array
    """S: trained share of the parameters at each."""
    unique: Array
    """U: unique tokens at each."""
    losses: Array
    """Geometric mean of the losses of each size's runs."""
    below: pd.DataFrame
    """The method's runs of at most a quarter of the budget; columns as in Table.rows."""

    @classmethod
    def of(cls, runs: pd.DataFrame, below: pd.DataFrame, budget: float, slope: float = 0.0) -> Measured:
        """runs: of one method at about one budget; slope: d ln L / d ln C between them."""
        there = brought(runs, budget, slope)
        columns = {name: there[name] for name in ("share", "unique")}
        logs = {name: np.log(there[name]) for name in ("tokens", "loss")}
        each = pd.DataFrame({**columns, **logs}).groupby(there["params"]).mean()
        sizes, shares, unique, tokens, losses = (values.to_numpy(float) for _, values in each.reset_index().items())
        return cls(str(runs["method"].iloc[0]), budget, sizes, np.exp(tokens), shares, unique, np.exp(losses), below)

    @property
    def fitted_to(self) -> float:
        """The largest budget that the rules see, FLOPs."""
        return float(self.below["flops"].max())

    def predicted(self, law: Law) -> Array:
        """The loss of each size by a law."""
        return np.asarray(law.at(self.sizes, self.tokens, self.shares, self.unique))


@dataclass(frozen=True)
class SizeDecision:
    """What each rule chose among the measured sizes of a method at one budget."""

    method: str
    """Its label."""
    budget: float
    """Training FLOPs."""
    fitted_to: float
    """The largest budget that the rules saw, FLOPs."""
    runs: int
    """How many runs they saw."""
    best: float
    """N of the lowest measured loss."""
    chosen: Mapping[str, float]
    """Rule of RULES -> N that it chose; without those that could not choose."""
    given_away: Mapping[str, float]
    """The same rules -> share by which the loss of that size exceeds the lowest."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def brought(runs: pd.DataFrame, budget: float, slope: float | pd.Series) -> pd.DataFrame:
    """Runs of about a budget as they would be at it; slope: d ln L / d ln C between them, or that of each run."""
    spent = np.log(runs["flops"] / budget)
    losses = runs["loss"] * np.exp(-slope * spent)
    return runs.assign(flops=budget, tokens=runs["tokens"] * np.exp(-spent), loss=losses)


def seen(flops: Any, budget: float) -> Any:
    """Which runs (array or column of FLOPs) are small enough for a rule that chooses at a budget."""
    return flops <= ROUNDING * budget / BELOW


def measured(runs: pd.DataFrame) -> list[Measured]:
    """The budgets of a method's runs at which several sizes were tried and below which there are others."""
    levels, slope = budget_levels(runs["flops"].to_numpy(float)), slope_of(runs)
    cases = []
    for level in levels:
        some, below = at_level(runs, level), runs[seen(runs["flops"], level.middle)]
        if len(below) and some["params"].nunique() > 1:
            cases.append(Measured.of(some, below, level.middle, slope))
    return cases


def decide(case: Measured, by_law: Array | None, line: PowerLaw | None) -> SizeDecision:
    """The choices of all rules. by_law [sizes]: losses that the law of the runs below predicts, None without one; line:
    through their isoFLOP minima, None where these are too few."""
    places = {"ratio": int(np.argmin(np.abs(np.log(case.tokens / case.sizes / TOKENS_PER_PARAMETER))))}
    if by_law is not None:
        places["law"] = int(np.argmin(by_law))
    if line:
        places["isoflop"] = int(np.argmin(np.abs(np.log(case.sizes / line.params(case.budget)))))
    lowest = int(np.argmin(case.losses))
    return SizeDecision(
        case.method,
        case.budget,
        case.fitted_to,
        len(case.below),
        float(case.sizes[lowest]),
        {rule: float(case.sizes[place]) for rule, place in places.items()},
        {rule: float(case.losses[place] / case.losses[lowest] - 1) for rule, place in places.items()},
    )


def size_decisions(
    table: Table, methods: Sequence[str], weights: Mapping[FamilyChoice, float], delta: float
) -> dict[str, list[SizeDecision]]:
    """By method: what laws of these families, fitted to smaller runs, and its isoFLOP minima would have chosen.

    weights: the families with their weights in the mean, as all runs gave them: only coefficients are fitted anew.
    Budgets without isoFLOP minima below them are left out: there is nothing to compare the law with.
    """
    if table.variables != ("N", "D"):
        return {}  # there is no size to choose
    if any("S" in LAWS[choice.family].inputs for choice in weights):
        return {}  # one law for all settings of a method: smaller runs hold too few of them
    rows, decisions, runs = table.of(methods), {}, table.at_best_batch.rows
    for place, method in enumerate(methods):
        cases = measured(runs[runs["method"] == method])
        lines = {case.budget: line for case in cases if (line := line_of(case.below))}
        cases = [case for case in cases if case.budget in lines]
        if cases:
            predicted = _by_laws(rows, place, cases, weights, delta)
            decisions[method] = [
                decide(case, losses, lines[case.budget]) for case, losses in zip(cases, predicted, strict=True)
            ]
    return decisions


def with_decisions(laws: Sequence[MethodLaw], decisions: Mapping[str, Sequence[SizeDecision]]) -> list[MethodLaw]:
    """The laws with the decisions of their method and the verdict over all, beside their isoFLOP minima."""
    told = verdict([decision for some in decisions.values() for decision in some])
    return [
        replace(
            law,
            isoflop={
                **law.isoflop,
                "decisions": [each.to_json() for each in decisions.get(law.label, ())],
                "verdict": told,
            },
        )
        if law.isoflop
        else law
        for law in laws
    ]


def verdict(decisions: Sequence[SizeDecision], rival: str = "isoflop") -> dict[str, Any] | None:
    """The regret of the law and of a rival rule where both chose; None where no decision compares them.

    "given_away": mean of each; "worst": the largest; "gap": the law's mean less the rival's; "error": the standard
    error of that, decisions of one budget taken together.
    """
    both = [each for each in decisions if {"law", rival} <= set(each.given_away)]
    if not both:
        return None
    shares = {rule: np.array([each.given_away[rule] for each in both]) for rule in ("law", rival)}
    gaps = shares["law"] - shares[rival]
    return {
        "decisions": len(both),
        "given_away": {rule: float(values.mean()) for rule, values in shares.items()},
        "worst": {rule: float(values.max()) for rule, values in shares.items()},
        "gap": float(gaps.mean()),
        "error": standard_error(gaps, _budgets(both)),
    }


def standings(decisions: Sequence[SizeDecision]) -> dict[str, Any]:
    """Each rule's record: "decisions", "mean", "worst" and "error" (of the mean) of its regret, as shares of the loss.

    They are of the decisions in which all rules chose that chose at all; "against_law": each rival beside the law.
    """
    able = [rule for rule in RULES if any(rule in each.chosen for each in decisions)]
    common = [each for each in decisions if set(able) <= set(each.chosen)]
    shares = {rule: np.array([each.given_away[rule] for each in common]) for rule in able if common}
    records = {
        rule: {
            "decisions": len(values),
            "mean": float(values.mean()),
            "worst": float(values.max()),
            "error": standard_error(values, _budgets(common)),
        }
        for rule, values in shares.items()
    }
    least = min(records, key=lambda rule: records[rule]["mean"], default=None)
    rivals = {rule: verdict(decisions, rule) for rule in able if rule != "law"}
    return {"rules": records, "least": least, "against_law": rivals}


def _budgets(decisions: Sequence[SizeDecision]) -> NDArray[np.int64]:
    """Number of the budget of each decision, those of nearly the same one together."""
    return levels_of(np.array([each.budget for each in decisions]))


def standard_error(values: Array, clusters: NDArray[np.int64]) -> float:
    """Of the mean: the larger one of independent values and of clusters that are alike inside.

    A single cluster tells nothing of it: then the largest value.
    """
    if len(np.unique(clusters)) < 2:
        return float(np.abs(values).max())
    away = values - values.mean()
    return float(np.sqrt(max(clustered_variance(away, members) for members in (np.arange(len(values)), clusters))))


def _by_laws(
    rows: Rows, group: int, cases: Sequence[Measured], weights: Mapping[FamilyChoice, float], delta: float
) -> list[Array | None]:
    """For each case of one method the losses that the weighted laws of the runs below it predict.

    None where they are too few for every family; a family that they are too few for is left out of the mean.
    """
    sums = [np.zeros(len(case.sizes)) for case in cases]
    totals = np.zeros(len(cases))
    for choice, weight in weights.items():
        used = rows if choice.shared else _alone(rows.take(rows.group == group))
        own = group if choice.shared else 0
        below = np.stack([seen(used.flops, case.budget) for case in cases])
        problem = Problem(choice.shape, used, int(used.group.max()) + 1)
        columns = problem.coefficients(solve(problem, below.astype(float), delta, ROUGH).theta)[own]
        for i, case in enumerate(cases):
            if len(case.below) > choice.shape.size and case.below["params"].nunique() >= FEWEST_SIZES:
                law = LAWS[choice.family](**{name: float(values[i]) for name, values in columns.items()})
                sums[i] += weight * case.predicted(law)
                totals[i] += weight
    return [total / weight if weight else None for total, weight in zip(sums, totals, strict=True)]


def _alone(rows: Rows) -> Rows:
    """The rows of one method, numbered as the only one."""
    return replace(rows, group=np.zeros(len(rows), dtype=int))
