"""From a solved problem to laws: coefficients, intervals, and in words what not to rely on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.backtest import FamilyChoice
from analysis.fitting.diagnostics import diagnostics, huber_sensitivity, isoflop_difference, variants
from analysis.fitting.doubts import doubts
from analysis.fitting.estimate import Estimate
from analysis.fitting.influence import leverage
from analysis.fitting.isoflop import cross_check
from analysis.fitting.noise import about_cells
from analysis.fitting.run_noise import run_noise
from analysis.fitting.solver import huber
from analysis.tables.rows import Array, Rows
from analysis.tables.table import CELL, Table
from planner.batch_law import TERMS, BatchLaw, BatchTerm
from planner.law_book import Caveat, MeasuredRange, MethodLaw
from planner.laws import LAWS, Law, mean_law

KEPT_DRAWS = 200  # of the resamples, in a law file


@dataclass(frozen=True)
class MethodGroup:
    """Methods that are solved as one problem."""

    methods: tuple[str, ...]
    """Their labels."""
    numbers: tuple[int, ...]
    """For each its number in that problem: methods of one number have the same factors too."""


def describe(
    table: Table,
    group: MethodGroup,
    weights: Mapping[FamilyChoice, float],
    tested: Sequence[FamilyChoice],
    parts: Mapping[FamilyChoice, Estimate],
) -> tuple[list[MethodLaw], list[Caveat]]:
    """The laws of a solved group, one a method, and what of them is not to be relied on.

    parts: the problem as solved in each family of `weights`, whose first is the largest; its coefficients are what the
    caveats are about.
    """
    choice = next(iter(weights))
    solved, place = parts[choice], table.of(group.methods).group
    other = variants(solved, choice, [family for family in tested if family not in parts])
    labels = {g: method for method, g in zip(group.methods, group.numbers, strict=True)}
    caveats = huber_sensitivity(choice.family, solved.problem.rows, other, labels)
    laws = []
    for i, (method, g) in enumerate(zip(group.methods, group.numbers, strict=True)):
        law = _method_law(table, method, weights, parts, place == i, g)
        law = replace(law, variants={name: groups[g] for name, groups in other.items()})
        laws.append(law)
        caveats += [*doubts(table, law, solved, place == i), *diagnostics(law, solved), *isoflop_difference(law)]
    return laws, [*caveats, *leverage(solved.problem, solved.theta, solved.draws, solved.delta, group.methods)]


def _method_law(
    table: Table,
    method: str,
    weights: Mapping[FamilyChoice, float],
    parts: Mapping[FamilyChoice, Estimate],
    mine: NDArray[np.bool_],
    number: int,
) -> MethodLaw:
    """The law of one method; mine [rows]: which rows of the problem are its runs."""
    choice = next(iter(weights))
    solved = parts[choice]
    shares = {family.family: weight for family, weight in weights.items()}
    laws = {
        family.family: _laws(family.family, part.problem.coefficients(part.theta)[number], 1)[0]
        for family, part in parts.items()
    }
    draws = {family.family: part.problem.coefficients(part.draws)[number] for family, part in parts.items()}
    kept = {family: _laws(family, columns, KEPT_DRAWS) for family, columns in draws.items()}
    batch = batch_law(table, solved.problem.rows.take(mine), parts, shares)
    repeated = repeat_noise(table, [method], solved.problem.rows.name[solved.scatter.far])
    noise = run_noise(solved, mine, repeated)
    law = MethodLaw(
        settings=table.settings[method],
        family=choice.family,
        law=mean_law(laws, shares),
        intervals={family: intervals(columns, 0.90) for family, columns in draws.items()},
        intervals_95={family: intervals(columns, 0.95) for family, columns in draws.items()},
        draws=_in_turn(kept, shares),
        noise=noise.sd,
        noise_slope=noise.slope,
        scatter=noise.scatter,
        rows=int(mine.sum()),
        measured=measured_range(solved.problem.rows.take(mine)),
        objective=float((huber(solved.residuals, solved.delta) * solved.problem.rows.times)[mine].sum()),
        delta=solved.delta,
        learning_rates=table.learning_rates.get(method, {}),
        rates_batch=table.training.batch_size if table.training else None,
        shared=choice.shape.curved if choice.shared else (),
        batch=batch,
    )
    several = table.variables == ("N", "D") and law.measured.params[0] < law.measured.params[1]
    runs = table.at_best_batch.rows
    return replace(law, isoflop=cross_check(law, runs[runs["method"] == method])) if several else law


def batch_law(
    table: Table, rows: Rows, parts: Mapping[FamilyChoice, Estimate], weights: Mapping[str, float]
) -> BatchLaw | None:
    """What batch size is worth to one method; None where its runs have one. rows: the method's.

    Families differ in it little: the term is their mean in ln k, q and ln s, by their weights, and so is ln B*.
    """
    found = {choice.family: part.problem.batch_terms(part.theta) for choice, part in parts.items()}
    if not all(found.values()):
        return None
    kind = TERMS[next(iter(parts)).shape.batch_form]
    logs = {name: sum(weight * _log(name, found[family]) for family, weight in weights.items()) for name in NAMES}
    draws = {
        choice.family: _terms(kind, part.problem.batch_terms(part.draws), KEPT_DRAWS) for choice, part in parts.items()
    }
    return BatchLaw(
        term=kind(**{name: float(value if name == "q" else np.exp(value)) for name, value in logs.items()}),
        draws=_in_turn(draws, weights),
        sizes=tuple(int(size) for size in np.unique(rows.B)),
        tokens=(float(rows.D.min()), float(rows.D.max())),
        runs=table.name,
    )


NAMES = ("k", "q", "s")  # coefficients of every term of planner.batch_law


def _log(name: str, term: Mapping[str, Array]) -> float:
    return float(term[name][0] if name == "q" else np.log(term[name][0]))


def _terms(kind: type[BatchTerm], columns: Mapping[str, Array], most: int) -> list[BatchTerm]:
    rows = zip(*(columns[name][:most].tolist() for name in NAMES), strict=True)
    return [kind(**dict(zip(NAMES, row, strict=True))) for row in rows]


def _in_turn(drawn: Mapping[str, list[Any]], weights: Mapping[str, float]) -> tuple[Any, ...]:
    """The first KEPT_DRAWS, families in turn as their weights say, or as many as every family has enough for."""
    left = {family: list(draws) for family, draws in drawn.items()}
    kept: list[Any] = []
    for place in turns_of(list(weights.values()), KEPT_DRAWS):
        own = left[list(weights)[place]]
        if not own:
            break
        kept.append(own.pop(0))
    return tuple(kept)


def turns_of(weights: Sequence[float], count: int) -> list[int]:
    """Places of the weights, each as often as it says, and any first few of them nearly so."""
    taken, turns = [0] * len(weights), []
    for turn in range(1, count + 1):
        place = max(range(len(weights)), key=lambda i: weights[i] * turn - taken[i])
        taken[place] += 1
        turns.append(place)
    return turns


def intervals(draws: dict[str, Array], share: float) -> dict[str, tuple[float, float]]:
    """The middle `share` of the draws of each coefficient."""
    ends = {name: np.quantile(values, [(1 - share) / 2, (1 + share) / 2]) for name, values in draws.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _laws(family: str, coefficients: dict[str, Array], most: int) -> list[Law]:
    """The first laws of columns of coefficients, at most so many."""
    rows = zip(*(values[:most].tolist() for values in coefficients.values()), strict=True)
    return [LAWS[family](**dict(zip(coefficients, row, strict=True))) for row in rows]


def repeat_noise(table: Table, methods: Sequence[str], without: Iterable[str] = ()) -> float:
    """Sd of the log loss over runs of the same cell; 0 where no cell was repeated. without: names of rows far off."""
    some = table.rows[table.rows["method"].isin(methods) & ~table.rows["name"].isin(list(without))]
    cell = ["method", "model", "budget"] if "seed" in some else CELL
    cell = [*cell, *(["batch"] if "batch" in some else [])]
    cells = some.groupby(cell, sort=False).ngroup().to_numpy()
    logs, free = np.log(some["loss"].to_numpy()), len(some) - len(np.unique(cells))
    return float(np.sqrt((about_cells(logs, cells) ** 2).sum() / free)) if free else 0.0


def measured_range(rows: Rows) -> MeasuredRange:
    return MeasuredRange(*((float(v.min()), float(v.max())) for v in (rows.flops, rows.N, rows.D)))
