"""From a solved problem to laws: coefficients, intervals, and in words what not to rely on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.backtest import FamilyChoice
from analysis.fitting.diagnostics import diagnostics, huber_sensitivity, isoflop_difference, variants
from analysis.fitting.doubts import doubts
from analysis.fitting.estimate import Estimate
from analysis.fitting.influence import leverage
from analysis.fitting.isoflop import cross_check
from analysis.fitting.run_noise import run_noise
from analysis.fitting.solver import huber
from analysis.tables.rows import Array, Rows
from analysis.tables.table import CELL, Table
from planner.law_book import Caveat, MeasuredRange, MethodLaw
from planner.laws import LAWS, Law

KEPT_DRAWS = 200  # of the resamples, in a law file


@dataclass(frozen=True)
class MethodGroup:
    """Methods that are solved as one problem."""

    methods: tuple[str, ...]
    """Their labels."""
    numbers: tuple[int, ...]
    """For each its number in that problem: methods of one number have the same factors too."""


def describe(
    table: Table, group: MethodGroup, choice: FamilyChoice, tested: Sequence[FamilyChoice], solved: Estimate
) -> tuple[list[MethodLaw], list[Caveat]]:
    """The laws of a solved group, one a method, and what of them is not to be relied on."""
    place = table.of(group.methods).group
    other = variants(solved, choice, tested)
    labels = {g: method for method, g in zip(group.methods, group.numbers, strict=True)}
    caveats = huber_sensitivity(choice.family, solved.problem.rows, other, labels)
    laws = []
    for i, (method, g) in enumerate(zip(group.methods, group.numbers, strict=True)):
        law = _method_law(table, method, choice, solved, place == i, g)
        law = replace(law, variants={name: groups[g] for name, groups in other.items()})
        laws.append(law)
        caveats += [*doubts(table, method, solved, place == i), *diagnostics(law, solved), *isoflop_difference(law)]
    return laws, [*caveats, *leverage(solved.problem, solved.theta, solved.draws, solved.delta, group.methods)]


def _method_law(
    table: Table, method: str, choice: FamilyChoice, solved: Estimate, mine: NDArray[np.bool_], number: int
) -> MethodLaw:
    """The law of one method; mine [rows]: which rows of the problem are its runs."""
    coefficients = solved.problem.coefficients(solved.theta)[number]
    draws = solved.problem.coefficients(solved.draws)[number]
    repeated = repeat_noise(table, [method], solved.problem.rows.name[solved.scatter.far])
    noise = run_noise(solved, mine, repeated)
    law = MethodLaw(
        settings=table.settings[method],
        family=choice.family,
        law=_law(choice.family, coefficients, 0),
        intervals={choice.family: intervals(draws, 0.90)},
        intervals_95={choice.family: intervals(draws, 0.95)},
        draws=tuple(_law(choice.family, draws, i) for i in range(min(KEPT_DRAWS, len(solved.draws)))),
        noise=noise.sd,
        noise_slope=noise.slope,
        scatter=noise.scatter,
        rows=int(mine.sum()),
        measured=measured_range(solved.problem.rows.take(mine)),
        objective=float((huber(solved.residuals, solved.delta) * solved.problem.rows.times)[mine].sum()),
        delta=solved.delta,
        learning_rates=table.learning_rates.get(method, {}),
        shared=choice.shape.curved if choice.shared else (),
    )
    several = table.variables == ("N", "D") and law.measured.params[0] < law.measured.params[1]
    return replace(law, isoflop=cross_check(law, table.rows[table.rows["method"] == method])) if several else law


def intervals(draws: dict[str, Array], share: float) -> dict[str, tuple[float, float]]:
    """The middle `share` of the draws of each coefficient."""
    ends = {name: np.quantile(values, [(1 - share) / 2, (1 + share) / 2]) for name, values in draws.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _law(family: str, coefficients: dict[str, Array], which: int) -> Law:
    return LAWS[family](**{name: float(values[which]) for name, values in coefficients.items()})


def repeat_noise(table: Table, methods: Sequence[str], without: Iterable[str] = ()) -> float:
    """Sd of the log loss over runs of the same cell; 0 where no cell was repeated. without: names of rows far off."""
    some = table.rows[table.rows["method"].isin(methods) & ~table.rows["name"].isin(list(without))]
    cell = ["method", "model", "budget"] if "seed" in some else CELL
    logs = np.log(some["loss"])
    inside = logs - logs.groupby([some[name] for name in cell]).transform("mean")
    free = len(some) - some.groupby(cell).ngroups
    return float(np.sqrt((inside**2).sum() / free)) if free else 0.0


def measured_range(rows: Rows) -> MeasuredRange:
    return MeasuredRange(*((float(v.min()), float(v.max())) for v in (rows.flops, rows.N, rows.D)))
