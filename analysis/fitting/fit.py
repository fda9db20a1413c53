"""From a table of runs to a law book: family, coefficients, intervals, and in words what not to rely on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from analysis.fitting.backtest import FamilyChoice
from analysis.fitting.batch_forms import APART, Apart, judged
from analysis.fitting.decisions import size_decisions, with_decisions
from analysis.fitting.describe import MethodGroup, describe, measured_range, turns_of
from analysis.fitting.estimate import Estimate, Settings, fit_problem
from analysis.fitting.family import ChosenFamily, choose_family, takes
from analysis.fitting.problem import Problem
from analysis.fitting.profile import profiles
from analysis.fitting.queries import token_cost
from analysis.fitting.rate_rules import rate_rules
from analysis.fitting.scores import score_laws
from analysis.tables.rows import Rows
from analysis.tables.table import Table
from planner.law_book import Caveat, LawBook, MethodLaw
from sweeps.admission import why_no_law
from sweeps.methods import METHODS, make_method

# Of fits to other people's runs in N and D, as published ones are (Hoffmann et al. 2022), so that objectives compare.
# Curves in one of the two are mostly short, and published fits of them least squares (Lin et al. 2024): there delta
# follows the noise.
PUBLISHED_DELTA = 1e-3
WHOLE, PARTS = "full", "freeze"  # full tuning is freezing of nothing
FEWEST_DRAWS = 20  # of a family, for the intervals of its coefficients


def fit_table(table: Table, settings: Settings | None = None) -> LawBook:
    """Laws of all methods of a table. Raises ValueError when no method has enough runs, with the reasons."""
    settings = settings or Settings()
    fitted, caveats = fittable(table)
    if not fitted:
        raise ValueError(f"{table.name}: " + "; ".join(caveat.text for caveat in caveats))
    batch_forms = {}
    if table.batch_sizes:
        if settings.profile:
            raise ValueError(f"`profile` is of laws of one batch size; {table.name} has {_listed(table.batch_sizes)}")
        batch_forms = judged(table.of(fitted), settings.first_delta)
        settings = replace(settings, batch_form=settings.batch_form or batch_forms["chosen"])
    laws: list[MethodLaw] = []
    for methods in _alike(table, fitted):
        new_laws, more = _fit_methods(table, methods, _with_delta(settings, table, methods))
        laws += new_laws
        caveats += more
    if batch_forms:
        _check_shared(table, caveats)
        laws = [replace(law, batch=law.batch and replace(law.batch, backtest=batch_forms)) for law in laws]
    return law_book(table, laws, caveats, settings)


def _check_shared(table: Table, caveats: Sequence[Caveat]) -> None:
    """Raises Apart where the runs say that their batch sizes do not share a law."""
    if reasons := [caveat.text for caveat in caveats if caveat.code == APART]:
        raise Apart(f"{table.name}: batch sizes {_listed(table.batch_sizes)} do not share a law: {'; '.join(reasons)}")


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))


def law_book(
    table: Table, laws: Sequence[MethodLaw], caveats: Sequence[Caveat], settings: Settings, **source: Any
) -> LawBook:
    """The laws of a table in its order, and the record of what they were fitted to; source: more of that."""
    order = {method: place for place, method in enumerate(table.settings)}
    deltas = {law.delta for law in laws}
    scores, unscored = score_laws(table)
    rules, missed = rate_rules(table.rate_curves)
    ordered = sorted(laws, key=lambda law: order[law.label])
    return LawBook(
        laws=tuple(replace(law, rate_rule=rules.get(law.label)) for law in ordered),
        measured=measured_range(table.of([law.label for law in laws])),
        models=table.models,
        training=table.training,
        pair=table.pair,
        source={
            "name": table.name,
            "observations": len(table.rows),
            "rows_hash": table.hash,
            "measure": table.measure,
            "filters": list(table.filters),
            **({"columns": dict(table.columns)} if table.columns else {}),
            **({"variables": list(table.variables)} if len(table.variables) == 1 else {}),
            **_cost(table),
            **({"rates_left_out": missed} if missed else {}),
            **({"batch_sizes": list(table.batch_sizes)} if table.batch_sizes else {}),
            "unique_tokens": _unique_tokens(table),
            **asdict(settings),
            "delta": deltas.pop() if len(deltas) == 1 else settings.delta,  # else every law names its own
            **source,
        },
        excluded=table.excluded,
        warnings=(*table.caveats, *(caveat for caveat in caveats if _of_interest(caveat, table)), *unscored),
        created_by=created_by(),
        scores=scores,
    )


def _cost(table: Table) -> dict[str, Any]:
    """What a token cost in runs from elsewhere; ours tell it by their models."""
    if not table.columns or len(table.variables) == 1:
        return {}
    costs = {method: token_cost(table.of([method])) for method in table.settings}
    return {"cost": {method: {"params": list(c.params), "rates": list(c.rates)} for method, c in costs.items()}}


def _of_interest(caveat: Caveat, table: Table) -> bool:
    """Whether a caveat says something new: that a law in one variable says nothing of the other was asked for."""
    return len(table.variables) > 1 or caveat.code not in ("one_size", "one_ratio")


def _with_delta(settings: Settings, table: Table, methods: Sequence[str]) -> Settings:
    """The settings with the published delta where fits of such runs are published; see PUBLISHED_DELTA.

    Means of families have no published objective: delta follows the noise, for nearly absolute errors waste a third.
    """
    known = settings.delta is not None or settings.family == "auto" or table.training is not None
    rows = table.of(methods[:1])
    alone = min(len(np.unique(rows.N)), len(np.unique(rows.D))) == 1
    return settings if known or alone else replace(settings, delta=PUBLISHED_DELTA)


def _unique_tokens(table: Table) -> float | None:
    """Tokens that the trials could draw from without repeating any, where that is known."""
    most = float(table.rows["unique"].max())
    return most if np.isfinite(most) else None


def fittable(table: Table) -> tuple[list[str], list[Caveat]]:
    """Methods with enough runs for any law, and why each other has none."""
    fitted, refused = [], []
    for method in table.settings:
        rows = table.of([method])
        if why := _why_no_law(table, rows):
            refused.append(Caveat("too_few", f"{method}: {why}", method))
        else:
            fitted.append(method)
    return fitted, refused


def _why_no_law(table: Table, rows: Rows) -> str:
    """Why runs are too few for a law in what their table holds; "" when they are enough."""
    if table.variables == ("N",):
        why = why_no_law(zip(rows.D, rows.N, strict=True))
        return why.replace("token counts", "sizes")
    return why_no_law(zip(rows.N, rows.D, strict=True))


def _alike(table: Table, methods: Sequence[str]) -> list[list[str]]:
    """Methods that are compared with one another share a family; those with one model size cannot have a law in N."""
    one_size = [method for method in methods if len(np.unique(table.of([method]).N)) == 1]
    return [alike for alike in ([m for m in methods if m not in one_size], one_size) if alike]


def _fit_methods(table: Table, methods: list[str], settings: Settings) -> tuple[list[MethodLaw], list[Caveat]]:
    """Laws of methods that share a family, and their caveats."""
    caveats: list[Caveat] = []
    if takes(settings.family, "S"):
        methods, caveats = _with_shares(table, methods)
    chosen = choose_family(table.of(methods), methods, settings)
    caveats += chosen.caveats
    record = chosen.record()
    laws: list[MethodLaw] = []
    for group in _groups(table, methods, chosen.choice):
        new_laws, more = fit_group(table, group, chosen, settings)
        laws += [replace(law, backtest=record, drift=chosen.drift) for law in new_laws]
        caveats += more
    decided = size_decisions(table, methods, chosen.weights, settings.first_delta)
    return with_decisions(laws, decided), caveats


def fit_group(
    table: Table, group: MethodGroup, chosen: ChosenFamily, settings: Settings
) -> tuple[list[MethodLaw], list[Caveat]]:
    """The laws of a group of methods, one a method, and their caveats."""
    parts = solve_group(table, group, chosen.weights, settings)
    laws, caveats = describe(table, group, chosen.weights, chosen.tested, parts)
    if settings.profile:
        solved, asked = parts[chosen.choice], settings.profile
        told = [profiles(law, solved, place, asked) for law, place in zip(laws, group.numbers, strict=True)]
        laws = [replace(law, profiles=own) for law, own in zip(laws, told, strict=True)]
    return laws, caveats


def solve_group(
    table: Table, group: MethodGroup, weights: Mapping[FamilyChoice, float], settings: Settings
) -> dict[FamilyChoice, Estimate]:
    """The problem of a group of methods, solved in each family. The resamples are shared out by weight."""
    rows = table.of(group.methods)  # numbered by method
    rows = replace(rows, group=np.array(group.numbers)[rows.group])
    turns = turns_of(list(weights.values()), settings.bootstraps)
    return {
        choice: fit_problem(
            Problem(choice.shape, rows, max(group.numbers) + 1),
            replace(settings, seed=settings.seed + place),  # else families would share the first resamples
            max(turns.count(place), FEWEST_DRAWS),
        )
        for place, choice in enumerate(weights)
    }


def _groups(table: Table, methods: list[str], choice: FamilyChoice) -> list[MethodGroup]:
    """Shared exponents: all methods, each with its factors. Trained shares: the settings of a method are one law."""
    if choice.shared:
        return [MethodGroup(tuple(methods), tuple(range(len(methods))))]
    if takes(choice.family, "S"):
        return [MethodGroup(tuple(alike), (0,) * len(alike)) for alike in _by_name(table, methods)]
    return [MethodGroup((method,), (0,)) for method in methods]


def _by_name(table: Table, methods: Sequence[str]) -> list[list[str]]:
    """Methods whose settings are one law in the trained share: those of a name and treatment of the token table, full
    tuning (share 1) with freezing, of the same treatment where there is such (Ziarko et al. 2024, section 4.3)."""
    groups: dict[tuple[str, str], list[str]] = {}
    for method in methods:
        groups.setdefault(_kind(table.settings[method]), []).append(method)
    for full in [kind for kind in groups if kind[0] == WHOLE]:
        others = [kind for kind in groups if kind[0] == PARTS]
        same = [kind for kind in others if kind[1] == full[1]]
        alone = [kind for kind in others if not any(kind[1] == table for name, table in groups if name == WHOLE)]
        if host := (same or alone)[:1]:
            groups[host[0]] += groups.pop(full)
    return list(groups.values())


def _kind(settings: Mapping[str, Any]) -> tuple[str, str]:
    """Name of a method, and what it does with the token table; "" of somebody else's method."""
    options = {name: value for name, value in settings.items() if name != "name"}
    name = str(settings["name"])
    return name, make_method(name, options).token_table if name in METHODS else ""


def _with_shares(table: Table, methods: list[str]) -> tuple[list[str], list[Caveat]]:
    """Methods whose settings together train at least three different shares of the parameters."""
    kept, caveats = [], []
    for alike in _by_name(table, methods):
        kinds = dict.fromkeys(_kind(table.settings[method]) for method in alike)
        name, shares = " and ".join(dict.fromkeys(name for name, _ in kinds)), np.unique(np.round(table.of(alike).S, 3))
        if len(shares) < 3:
            text = f"{name}: {len(shares)} trained shares; family trainable needs at least 3"
            caveats.append(Caveat("too_few", text, name))
            continue
        kept += alike
        if len({table for _, table in kinds}) > 1:
            told = ", ".join(f"{name} {table}" for name, table in kinds)
            text = f"one law of {name}, whose token tables differ too ({told}): it takes that for the share's doing"
            caveats.append(Caveat("pooled_tables", text))
    if not kept:
        raise ValueError(f"{table.name}: " + "; ".join(caveat.text for caveat in caveats))
    return kept, caveats


def created_by() -> str:
    """This program and its version, for the record in a law file."""
    try:
        return f"recipe-planner {version('recipe-planner')}"
    except PackageNotFoundError:
        return "recipe-planner (not installed)"
