"""A small sweep fitted together with one that knows more: exponents shared, offsets its own.

How losses fall with N and with D is taken to be alike in both sweeps; how high they are is not. Each method of each
sweep gets its own factors (E, A, B), all rows together the curved coefficients, and one bootstrap carries the doubt
about both into every interval. Families count as the larger sweep by itself weighs them, and model error is what its
backtest tells. Whether the shared exponents describe the small sweep is tested, not taken for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.fitting.backtest import FamilyChoice
from analysis.fitting.describe import MethodGroup, describe, intervals
from analysis.fitting.estimate import Estimate, Settings
from analysis.fitting.family import choose_family
from analysis.fitting.fit import fittable, law_book, solve_group
from analysis.fitting.published.book import DRAWS
from analysis.fitting.published.facts_file import FILE, read_paper
from analysis.fitting.published.with_runs import fit_with_facts
from analysis.fitting.solver import RESAMPLED, polish
from analysis.tables.rows import Array
from analysis.tables.table import Table
from planner.law_book import Caveat, LawBook, MethodLaw, columns_of
from planner.laws import Law, family_of, mean_law
from sweeps.admission import why_no_shared_law

FAMILIES = ("power", "multiplicative", "tied", "chinchilla", "rectified", "joined", "repeated")
ADDITIVE = ("tied", "chinchilla", "rectified", "repeated")  # where the part in N is a term of its own
SIMULATED = 400  # sweeps that share exponents, against which the real difference is held
DOUBTFUL = 0.05  # share of those that differ as much


def fit_beside(
    table: Table,
    folder: Path,
    settings: Settings,
    read: Callable[[Path], Table],
    tell: Callable[[int], None] = lambda done: None,
) -> LawBook:
    """Laws of `table` with what a folder knows: another sweep's exponents, or laws that agree with a paper's facts.

    read: from a results folder to its table. tell: is given the percent that was done. Raises ValueError.
    """
    if not (folder / FILE).is_file():
        return fit_with(table, read(folder), settings)
    for name, value, plain in (
        ("family", settings.family, ("auto", "chinchilla")),
        ("exponents", settings.shared, (None,)),
        ("delta", settings.delta, (None,)),
    ):
        if value not in plain:
            raise ValueError(f"`{name}`: {folder} holds facts from a paper, whose laws are all of the plain family")
    return fit_with_facts(table, read_paper(folder), min(settings.bootstraps, DRAWS), settings.seed, tell)


def fit_with(table: Table, reference: Table, settings: Settings) -> LawBook:
    """Laws of `table`; exponents shared with `reference`, offsets own. Raises ValueError naming what is missing."""
    if settings.family not in ("auto", *FAMILIES):
        raise ValueError(
            f"family {settings.family} cannot share exponents with another sweep; known: {', '.join(FAMILIES)}"
        )
    for one in (table, reference):
        if one.batch_sizes:
            raise ValueError(f"{one.name} has several batch sizes; exponents are shared between sweeps of one")
    if table.hash == reference.hash:
        raise ValueError(f"{table.name} and {reference.name} hold the same runs; `reference` must be another sweep")
    mine, refused = _enough(table)
    weights, theirs, drift = _as_in(reference, mine, settings)
    both = _together(table, reference)
    methods = (*mine, *(_label(reference, method) for method in theirs))
    group = MethodGroup(methods, tuple(range(len(methods))))
    parts = solve_group(both, group, weights, settings)
    laws, caveats = describe(both, group, weights, list(parts), parts)
    p = chance_of_difference(next(iter(parts.values())), both.of(methods).group < len(mine), settings.seed)
    caveats = [caveat for caveat in caveats if caveat.method not in group.methods[len(mine) :]]
    caveats = [*refused, *_other_exponents(p, table, reference), *caveats]
    own = [_one_size(replace(law, drift=drift)) for law in laws[: len(mine)]]
    return law_book(table, own, caveats, settings, **_record(reference, theirs, own[0], p))


def _enough(table: Table) -> tuple[list[str], list[Caveat]]:
    """Methods with runs enough for offsets of their own, and why each other has none."""
    fitted, refused = [], []
    for method in table.settings:
        rows = table.of([method])
        if why := why_no_shared_law(zip(rows.N, rows.D, strict=True)):
            refused.append(Caveat("too_few", f"{method}: {why}", method))
        else:
            fitted.append(method)
    if not fitted:
        raise ValueError(f"{table.name}: " + "; ".join(caveat.text for caveat in refused))
    return fitted, refused


def _as_in(
    reference: Table, mine: Sequence[str], settings: Settings
) -> tuple[dict[FamilyChoice, float], list[str], float | None]:
    """The families that the reference has by itself, to be shared, with their weights; which of its methods lend their
    exponents; and its model error a decade.

    All of them where they share exponents among themselves; else those that `mine` holds too, by setting or by name.
    """
    fitted, refused = fittable(reference)
    fitted = [method for method in fitted if len(np.unique(reference.of([method]).N)) > 1]
    if not fitted:
        reasons = [caveat.text for caveat in refused] or ["every method has one model size only"]
        raise ValueError(f"{reference.name}: {'; '.join(reasons)}")
    chosen = choose_family(reference.of(fitted), fitted, settings)
    weights = {replace(choice, shared=True): weight for choice, weight in chosen.weights.items()}
    names = {method.split()[0] for method in mine}
    alike = [m for m in fitted if m in mine] or [m for m in fitted if m.split()[0] in names]
    return weights, fitted if chosen.choice.shared or not alike else alike, chosen.drift


def _label(reference: Table, method: str) -> str:
    """A method of the reference, as it is called beside those of the small sweep."""
    return f"{reference.name}: {method}"


def _together(table: Table, reference: Table) -> Table:
    """One table of both; methods and runs of the reference carry its name."""
    theirs = reference.rows.assign(
        method=f"{reference.name}: " + reference.rows["method"], name=f"{reference.name}: " + reference.rows["name"]
    )
    settings = {
        _label(reference, method): {**given, "name": _label(reference, str(given["name"]))}
        for method, given in reference.settings.items()
    }
    rows = pd.concat([table.rows, theirs], ignore_index=True)
    return replace(table, rows=rows, settings={**table.settings, **settings})


def _one_size(law: MethodLaw) -> MethodLaw:
    """With one size the law's part in N cannot be told from E, and goes into it."""
    N, most = law.measured.params
    if most > N:
        return law
    whole = mean_law({family: _without_size(part, N) for family, part in law.parts.items()}, law.weights)
    draws = tuple(_without_size(draw, N) for draw in law.draws)
    by_family = {
        family: {name: np.array(values) for name, values in own.items()} for family, own in columns_of(draws)[1].items()
    }
    ends, wide = ({family: intervals(own, share) for family, own in by_family.items()} for share in (0.90, 0.95))
    return replace(
        law, law=whole, draws=draws, intervals={**law.intervals, **ends}, intervals_95={**law.intervals_95, **wide}
    )


def _without_size(law: Law, N: float) -> Law:
    if family_of(law) not in ADDITIVE:
        return law
    c = law.coefficients
    return type(law)(**{**c, "E": c["E"] + c["A"] / N ** c["alpha"], "A": 0.0})


def _other_exponents(p: float, table: Table, reference: Table) -> list[Caveat]:
    if p >= DOUBTFUL:
        return []
    text = f"the exponents of {reference.name} do not describe the runs of {table.name}: of sweeps that do share them "
    text += f"{100 * p:.2g} % differ as much; fit {table.name} alone, with more sizes and budgets if that is refused"
    return [Caveat("other_exponents", text)]


def chance_of_difference(solved: Estimate, mine: NDArray[np.bool_], seed: int = 0) -> float:
    """How often two sweeps that share exponents would differ by as much as these do.

    mine [rows]: which rows are of the first sweep. The share of the misfit that own exponents remove is held against
    what they remove where all differences are noise (parametric bootstrap): coefficients at a bound and few runs are
    then no special cases.
    """
    rows = solved.problem.rows
    fresh = np.random.default_rng(seed).normal(0, solved.noise, (SIMULATED, rows.run.max() + 1))[:, rows.run]
    alike = solved.problem.predict(solved.theta) + fresh
    measured = _removed(solved, np.log(rows.loss)[None], mine)
    return float((1 + (_removed(solved, alike, mine) >= measured).sum()) / (1 + SIMULATED))


def _removed(solved: Estimate, target: Array, mine: NDArray[np.bool_]) -> Array:
    """Misfit with shared exponents over that with own ones [R], for ln losses target [R, rows]."""
    begin = np.repeat(solved.theta, len(target), axis=0)
    whole, first, second = (
        polish(solved.problem, target, np.broadcast_to(which, target.shape), begin, solved.delta, RESAMPLED).objective
        for which in (np.ones(len(mine)), mine.astype(float), (~mine).astype(float))
    )
    return whole / (first + second)


def _record(reference: Table, theirs: Sequence[str], law: MethodLaw, p: float) -> dict[str, Any]:
    """What was shared with what, for the law file: its `source.with`."""
    return {
        "with": {
            "name": reference.name,
            "observations": int(reference.rows["method"].isin(theirs).sum()),
            "rows_hash": reference.hash,
            "methods": list(theirs),
            "shared": [name for name in law.parts[law.family].coefficients if name in law.shared],
            "own": [name for name in law.parts[law.family].coefficients if name not in law.shared],
            "chance_of_difference": p,
            "training": asdict(reference.training) if reference.training else None,
        }
    }
