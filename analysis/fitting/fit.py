"""From a table of runs to a law book: family, coefficients, intervals, and in words what not to rely on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.backtest import Backtest, FamilyChoice, choose, score, testable
from analysis.fitting.diagnostics import diagnostics, huber_sensitivity, isoflop_difference, variants
from analysis.fitting.estimate import Estimate, Settings, fit_problem
from analysis.fitting.forms import ONE_SIZE_SHAPES, SHAPES
from analysis.fitting.influence import leverage
from analysis.fitting.isoflop import cross_check
from analysis.fitting.solver import Problem, huber
from analysis.tables.rows import Array, Rows
from analysis.tables.table import CELL, Table
from planner.law_book import Caveat, LawBook, MeasuredRange, MethodLaw
from planner.laws import LAWS, Law

# Tried by themselves; repeated joins them where runs repeat their data, trainable is for `--family` alone.
AUTO = ("power", "multiplicative", "tied", "chinchilla", "rectified")
FEWEST_RUNS = 6
KEPT_DRAWS = 200
# Of fits to other people's runs in N and D, as published ones are (Hoffmann et al. 2022), so that objectives compare.
# Curves in D alone are mostly short, and published fits of them least squares (Lin et al. 2024): there delta follows
# the noise.
PUBLISHED_DELTA = 1e-3


def fit_table(table: Table, settings: Settings | None = None) -> LawBook:
    """Laws of all methods of a table. Raises ValueError when no method has enough runs, with the reasons."""
    settings = settings or Settings()
    fitted, caveats = fittable(table)
    if not fitted:
        raise ValueError(f"{table.name}: " + "; ".join(caveat.text for caveat in caveats))
    laws: list[MethodLaw] = []
    for methods in _alike(table, fitted):
        new_laws, more = _fit_methods(table, methods, _with_delta(settings, table, methods))
        laws += new_laws
        caveats += more
    return law_book(table, laws, caveats, settings)


def law_book(
    table: Table, laws: Sequence[MethodLaw], caveats: Sequence[Caveat], settings: Settings, **source: Any
) -> LawBook:
    """The laws of a table in its order, and the record of what they were fitted to; source: more of that."""
    order = {method: place for place, method in enumerate(table.settings)}
    deltas = {law.delta for law in laws}
    return LawBook(
        laws=tuple(sorted(laws, key=lambda law: order[law.label])),
        measured=_measured(table.of([law.label for law in laws])),
        models=table.models,
        training=table.training,
        pair=table.pair,
        source={
            "name": table.name,
            "observations": len(table.rows),
            "rows_hash": table.hash,
            "measure": table.measure,
            "filters": list(table.filters),
            "unique_tokens": _unique_tokens(table),
            **asdict(settings),
            "delta": deltas.pop() if len(deltas) == 1 else settings.delta,  # else every law names its own
            **source,
        },
        excluded=table.excluded,
        warnings=(*table.caveats, *caveats),
        created_by=_created_by(),
    )


def _with_delta(settings: Settings, table: Table, methods: Sequence[str]) -> Settings:
    """The settings with the published delta where fits of such runs are published; see PUBLISHED_DELTA."""
    ours, one_size = table.training is not None, len(np.unique(table.of(methods[:1]).N)) == 1
    return settings if settings.delta is not None or ours or one_size else replace(settings, delta=PUBLISHED_DELTA)


def _unique_tokens(table: Table) -> float | None:
    """Tokens that the trials could draw from without repeating any, where that is known."""
    most = float(table.rows["unique"].max())
    return most if np.isfinite(most) else None


def fittable(table: Table) -> tuple[list[str], list[Caveat]]:
    """Methods with enough runs for any law, and why each other has none."""
    fitted, refused = [], []
    for method in table.settings:
        rows = table.of([method])
        sizes, lengths = len(np.unique(rows.N)), len(np.unique(rows.D))
        if len(rows) < FEWEST_RUNS:
            refused.append(Caveat("too_few", f"{method}: {len(rows)} runs; a law needs at least {FEWEST_RUNS}", method))
        elif lengths < 3:
            refused.append(Caveat("too_few", f"{method}: {lengths} token counts; a law needs at least 3", method))
        elif sizes == 2:
            text = f"{method}: two model sizes; a law in N needs at least 3 (or one, for a law in tokens alone)"
            refused.append(Caveat("too_few", text, method))
        else:
            fitted.append(method)
    return fitted, refused


def _alike(table: Table, methods: Sequence[str]) -> list[list[str]]:
    """Methods that are compared with one another share a family; those with one model size cannot have a law in N."""
    one_size = [method for method in methods if len(np.unique(table.of([method]).N)) == 1]
    return [alike for alike in ([m for m in methods if m not in one_size], one_size) if alike]


@dataclass(frozen=True)
class MethodGroup:
    """Methods that are solved as one problem."""

    methods: tuple[str, ...]
    """Their labels."""
    numbers: tuple[int, ...]
    """For each its number in that problem: methods of one number have the same factors too."""


def _fit_methods(table: Table, methods: list[str], settings: Settings) -> tuple[list[MethodLaw], list[Caveat]]:
    caveats: list[Caveat] = []
    if _takes(settings.family, "S"):
        methods, caveats = _with_shares(table, methods)
    choice, tested, backtest, more = choose_family(table.of(methods), methods, settings)
    caveats += more
    laws: list[MethodLaw] = []
    for group in _groups(table, methods, choice):
        new_laws, more = fit_group(table, group, choice, tested, settings)
        laws += [replace(law, backtest=_backtest_record(backtest, choice)) for law in new_laws]
        caveats += more
    return laws, caveats


def fit_group(
    table: Table, group: MethodGroup, choice: FamilyChoice, tested: Sequence[FamilyChoice], settings: Settings
) -> tuple[list[MethodLaw], list[Caveat]]:
    """The laws of a group of methods in the chosen family, one a method, and their caveats."""
    rows = table.of(group.methods)  # numbered by method
    problem = Problem(choice.shape, replace(rows, group=np.array(group.numbers)[rows.group]), max(group.numbers) + 1)
    return describe(table, group, choice, tested, fit_problem(problem, settings))


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
        caveats += [*diagnostics(law, solved), *isoflop_difference(law)]
    return laws, [*caveats, *leverage(solved.problem, solved.theta, solved.draws, solved.delta, group.methods)]


def _groups(table: Table, methods: list[str], choice: FamilyChoice) -> list[MethodGroup]:
    """Shared exponents: all methods, each with its factors. Trained shares: the settings of a method are one law."""
    if choice.shared:
        return [MethodGroup(tuple(methods), tuple(range(len(methods))))]
    if _takes(choice.family, "S"):
        return [MethodGroup(tuple(alike), (0,) * len(alike)) for alike in _by_name(table, methods)]
    return [MethodGroup((method,), (0,)) for method in methods]


def _takes(family: str, name: str) -> bool:
    """Whether the formula of a family takes S, the trained share, or U, the unique tokens."""
    return family in LAWS and name in LAWS[family].inputs


def _by_name(table: Table, methods: Sequence[str]) -> list[list[str]]:
    names = dict.fromkeys(table.settings[method]["name"] for method in methods)
    return [[method for method in methods if table.settings[method]["name"] == name] for name in names]


def _with_shares(table: Table, methods: list[str]) -> tuple[list[str], list[Caveat]]:
    """Methods whose settings together train at least three different shares of the parameters."""
    kept, refused = [], []
    for alike in _by_name(table, methods):
        name, shares = str(table.settings[alike[0]]["name"]), np.unique(np.round(table.of(alike).S, 3))
        if len(shares) >= 3:
            kept += alike
        else:
            text = f"{name}: {len(shares)} trained shares; family trainable needs at least 3"
            refused.append(Caveat("too_few", text, name))
    if not kept:
        raise ValueError(f"{table.name}: " + "; ".join(caveat.text for caveat in refused))
    return kept, refused


def choose_family(
    rows: Rows, methods: list[str], settings: Settings
) -> tuple[FamilyChoice, list[FamilyChoice], Backtest | None, list[Caveat]]:
    """The family to use, the tested ones, how they did, and what to say of it."""
    one_size = len(np.unique(rows.N)) == 1 or all(len(np.unique(rows.N[rows.group == g])) == 1 for g in set(rows.group))
    shapes = ONE_SIZE_SHAPES if one_size else SHAPES
    repeats = int((rows.D > 1.5 * rows.U).sum()) >= 3
    if _takes(settings.family, "U") and not repeats:
        raise ValueError(f"family {settings.family} needs runs that repeat their data: fewer than 3 see 1.5 epochs")
    names = [settings.family]
    if settings.family == "auto":
        names = [name for name in (*AUTO, *(["repeated"] if repeats else [])) if name in shapes]
    if names[0] not in shapes:
        raise ValueError(f"family {names[0]} needs several model sizes; with one size: {', '.join(shapes)}")
    sharing = [settings.shared] if settings.shared is not None else [False, True]
    alone = len(methods) == 1 or one_size or _takes(settings.family, "S")
    sharing = [s for s in sharing if not (s and alone)] or [False]
    fewest = int(np.bincount(rows.group).min())
    every = [FamilyChoice(name, shapes[name], shared) for name in names for shared in sharing]
    possible = [c for c in every if fewest > c.shape.size]
    if not possible:
        smallest = methods[int(np.bincount(rows.group).argmin())]
        raise ValueError(f"{smallest} has {fewest} runs; family {names[0]} needs at least {every[0].shape.size + 1}")
    tested = testable(possible, rows)
    if not tested:
        usual = [c for c in possible if c.family in ("tied", settings.family)] or possible
        text = f"too few sizes or budgets to predict unseen runs; {usual[0].family} was taken untested"
        return usual[0], usual[:1], None, [Caveat("no_backtest", text)]
    backtest = score(tested, rows, settings.first_delta)
    assert backtest  # `testable` has found windows
    left = [name for name in names if name not in {c.family for c in tested}]
    text = f"too few runs to test the families {', '.join(left)} on unseen ones; they were not tried"
    chosen = choose(tested, backtest, rows, settings.first_delta)
    return chosen, tested, backtest, [Caveat("few_runs", text)] if left else []


def _method_law(
    table: Table, method: str, choice: FamilyChoice, solved: Estimate, mine: NDArray[np.bool_], number: int
) -> MethodLaw:
    """The law of one method; mine [rows]: which rows of the problem are its runs."""
    coefficients = solved.problem.coefficients(solved.theta)[number]
    draws = solved.problem.coefficients(solved.draws)[number]
    law = MethodLaw(
        settings=table.settings[method],
        family=choice.family,
        law=_law(choice.family, coefficients, 0),
        intervals=intervals(draws, 0.90),
        intervals_95=intervals(draws, 0.95),
        draws=tuple(_law(choice.family, draws, i) for i in range(min(KEPT_DRAWS, len(solved.draws)))),
        noise=max(solved.noise, repeat_noise(table, [method])),
        rows=int(mine.sum()),
        measured=_measured(solved.problem.rows.take(mine)),
        objective=float(huber(solved.residuals[mine], solved.delta).sum()),
        delta=solved.delta,
        learning_rates=table.learning_rates.get(method, {}),
        shared=choice.shape.curved if choice.shared else (),
    )
    several = law.measured.params[0] < law.measured.params[1]
    return replace(law, isoflop=cross_check(law, table.rows[table.rows["method"] == method])) if several else law


def intervals(draws: dict[str, Array], share: float) -> dict[str, tuple[float, float]]:
    """The middle `share` of the draws of each coefficient."""
    ends = {name: np.quantile(values, [(1 - share) / 2, (1 + share) / 2]) for name, values in draws.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _law(family: str, coefficients: dict[str, Array], which: int) -> Law:
    return LAWS[family](**{name: float(values[which]) for name, values in coefficients.items()})


def repeat_noise(table: Table, methods: Sequence[str]) -> float:
    """Sd of the log loss over runs of the same cell; 0 where no cell was repeated."""
    some = table.rows[table.rows["method"].isin(methods)]
    cell = ["method", "model", "budget"] if "seed" in some else CELL
    logs = np.log(some["loss"])
    inside = logs - logs.groupby([some[name] for name in cell]).transform("mean")
    free = len(some) - some.groupby(cell).ngroups
    return float(np.sqrt((inside**2).sum() / free)) if free else 0.0


def _backtest_record(backtest: Backtest | None, choice: FamilyChoice) -> dict[str, Any]:
    if not backtest:
        return {}
    scores = {label: backtest.error(label) for label in backtest.errors}
    error, se = scores[choice.label]
    return {
        "error": error,
        "se": se,
        "predicted": backtest.predicted,
        "chosen": choice.label,
        "tried": {label: {"error": error, "se": se} for label, (error, se) in scores.items()},
    }


def _measured(rows: Rows) -> MeasuredRange:
    return MeasuredRange(*((float(v.min()), float(v.max())) for v in (rows.flops, rows.N, rows.D)))


def _created_by() -> str:
    try:
        return f"recipe-planner {version('recipe-planner')}"
    except PackageNotFoundError:
        return "recipe-planner (not installed)"
