"""`plan`: from a budget and a law book to a recipe, with what stands behind every part of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from planner import published
from planner.answer import Plan, Recipe
from planner.budget import Budget, read_budget
from planner.candidates import Candidate, Limits, Refusal, candidates, feasible, on_machine, timed
from planner.extrapolation import Extrapolation
from planner.frontier import Odds, budget_grid, crossovers, odds, searched_budgets
from planner.law_book import LawBook, read_laws
from planner.learning_rates import learning_rate
from planner.warnings import provenance, warnings
from sweeps.flops import FLOPS
from sweeps.machine.hardware import Machine, read_machine
from sweeps.methods import METHODS
from sweeps.models import SUITES, ModelSpec, find_model
from sweeps.trial import Training, Trial


def default_laws() -> Path:
    """The bundled law book. Raises ValueError when the package holds none."""
    import results

    path = Path(results.__file__).parent / "reference" / "laws.json"
    if not path.exists():
        raise ValueError("no default laws are installed (results/reference/laws.json); name a laws.json with `laws`")
    return path


def plan(
    budget: float | str,
    *,
    laws: LawBook | Path | str | None = None,
    suite: str | None = None,
    models: Sequence[str | ModelSpec] = (),
    methods: Sequence[str] = (),
    limits: Limits = Limits(),
    flops: str = "exact",
    top: int = 5,
    hardware: str | None = None,
    mfu: float | str | None = None,
    price: float | str | None = None,
    data: str | None = None,
    curve: tuple[float, float] | None = None,
) -> Plan:
    """The recipe with the lowest predicted loss that spends `budget`, and what stands behind it.

    budget: training FLOPs, or text such as "24h" and "$500" with `hardware` ("8xh100") and `price` (per chip and hour).
    laws: a law book, its file, or None for the bundled one. suite, models: what to choose from; by default the models
    that the laws were measured on. methods: names; all measured ones by default. flops: the count, "exact" or "paper".
    data: what to train on, if not what the laws were measured on. curve: lowest and highest budget of a frontier.
    Raises ValueError with one sentence for input that cannot be answered.

    >>> from planner import plan
    >>> recipe = plan(1e13).recipe
    >>> recipe.trial.model, recipe.low < recipe.loss < recipe.high
    ('nano-100k', True)
    """
    machine = read_machine(hardware, _text(mfu), _text(price)) if hardware else None
    asked = read_budget(budget if isinstance(budget, str) else repr(budget), machine)
    check_choices(flops, suite, top, asked)
    if machine is None and (mfu is not None or price is not None):
        raise ValueError(f"`{'price' if mfu is None else 'mfu'}` is of a machine; name it with `hardware`")
    book = _book(laws)
    _check_methods(methods, book)
    limits = replace(limits, memory=min(limits.memory, machine.memory)) if machine else limits
    mixed, chips = (True, machine.count) if machine and machine.kind.mixed else (False, 1)
    possible, refused = candidates(book, _models(book, suite, models), methods, limits, flops, chips, mixed)
    considered = on_machine(possible, machine)
    at_speed = timed(considered, asked, machine)
    fits, too_small = feasible(at_speed, asked.flops)
    if not fits:
        raise ValueError(nothing_fits(asked.flops, at_speed, [*refused, *too_small]))
    spent = replace(asked, flops=fits[0].relative_speed * asked.flops)
    training = replace(book.training or Training(), data_hash="")
    training = replace(training, data=data) if data else training
    recipes = _recipes(fits, asked.flops, training, machine, top)
    return Plan(
        budget=spent,
        candidates=recipes,
        crossovers=tuple(crossovers(considered, *searched_budgets(book.measured.flops, spent.flops))),
        refused=(*refused, *too_small),
        warnings=warnings(book, recipes, fits, spent.flops, data),
        provenance=provenance(book, recipes[0], fits[0], machine, flops),
        facts=facts_of(book, recipes[0], fits[0]),
        curve=_curve(considered, curve, training, machine),
        laws=book,
        considered=tuple(considered),
    )


def _text(value: float | str | None) -> str | None:
    return None if value is None else str(value)


def _book(laws: LawBook | Path | str | None) -> LawBook:
    if isinstance(laws, LawBook):
        return laws
    path = default_laws() if laws is None else Path(laws)
    book = read_laws(path)
    if book.training is None or book.pair is None:
        raise ValueError(f"{path}: fitted to runs from elsewhere, without training conditions; a recipe needs those")
    return book


def check_choices(flops: str, suite: str | None, top: int, asked: Budget) -> None:
    """Raises ValueError for a count of FLOPs, a suite or a number of recipes that there is not."""
    if flops not in FLOPS:
        raise ValueError(f"`flops` is {flops!r}; known: {', '.join(FLOPS)}")
    if flops != "exact" and asked.kind != "flops":
        raise ValueError(f"`flops` is {flops!r}: a machine does every FLOP, so a budget of {asked.asked} needs exact")
    if suite is not None and suite not in SUITES:
        raise ValueError(f"`suite` is {suite!r}; known: {', '.join(SUITES)}")
    if top < 1:
        raise ValueError(f"`top` is {top!r}; it must be 1 or more")


def _check_methods(methods: Sequence[str], book: LawBook) -> None:
    measured = list(dict.fromkeys(str(law.settings["name"]) for law in book.laws))
    for name in methods:
        if name not in METHODS:
            raise ValueError(f"`methods` has {name!r}; known: {', '.join(METHODS)}")
        if name not in measured:
            raise ValueError(f"`methods` has {name!r}; the laws measured only {', '.join(measured)}")


def _models(book: LawBook, suite: str | None, models: Sequence[str | ModelSpec]) -> list[ModelSpec]:
    named = [model if isinstance(model, ModelSpec) else _named("`models`", model) for model in models]
    chosen = [*(SUITES[suite] if suite else ()), *named] or [
        _named("a model of the laws", name) for name in book.models
    ]
    return list({model.name: model for model in chosen}.values())


def _named(what: str, name: str) -> ModelSpec:
    try:
        return replace(find_model(name), name=name)  # the trial's name must lead back to the model
    except ValueError as error:
        hint = "" if what == "`models`" else "; name models with `suite` or `models`"
        raise ValueError(f"{what}: {error}{hint}") from None


def nothing_fits(budget: float, at_speed: Sequence[Candidate], refused: Sequence[Refusal]) -> str:
    """Why a budget (FLOP) buys no recipe: the candidate that comes nearest, or what refuses each."""
    allowed = [candidate for candidate in at_speed if candidate.max_steps >= candidate.limits.min_steps]
    if allowed:
        near = min(allowed, key=lambda candidate: candidate.least_flops() / candidate.relative_speed)
        steps = max(0, near.steps(budget))
        return (
            f"`budget` {near.relative_speed * budget:.3g} FLOP is too small for every candidate: "
            f"{near.model.name} with {near.method.label} comes nearest with {steps} steps; "
            f"{near.limits.min_steps} need {near.least_flops():.3g} FLOP{_serving(near)}"
        )
    reasons = dict.fromkeys(f"{refusal.model} with {refusal.method}: {refusal.reason}" for refusal in refused)
    return f"no candidate is left: {'; '.join(reasons)}"


def _serving(candidate: Candidate) -> str:
    return f", {candidate.serving:.3g} of them for serving" if candidate.serving else ""


def _recipes(
    fits: Sequence[Candidate], budget: float, training: Training, machine: Machine | None, top: int
) -> tuple[Recipe, ...]:
    chances = odds(fits, budget)
    return tuple(
        recipe_of(candidate, budget, training, machine, chances[place] if chances else None)
        for place, candidate in enumerate(fits[:top])
    )


def recipe_of(
    candidate: Candidate, budget: float, training: Training, machine: Machine | None, chance: Odds | None = None
) -> Recipe:
    """The recipe that this candidate makes of the budget, in whole steps."""
    lr, source = learning_rate(candidate)
    steps = candidate.steps(budget)
    trial = Trial(candidate.model.name, candidate.method, training, lr, steps, 0, candidate.relative_speed * budget)
    tokens = trial.pairs * candidate.pair.tokens
    exact = trial.pairs * candidate.exact_pair_flops
    low, high = candidate.law.interval(*candidate.inputs(tokens))
    hours = None if candidate.step_seconds is None else steps * candidate.step_seconds / 3600
    return Recipe(
        trial=trial,
        params=candidate.model.params,
        dim=candidate.model.width,
        tokens=tokens,
        epochs=trial.pairs / candidate.limits.max_pairs if candidate.limits.max_pairs < math.inf else None,
        flops=trial.pairs * candidate.pair_flops,
        exact_flops=exact,
        serving_flops=candidate.serving,
        loss=candidate.loss(tokens),
        low=low,
        high=high,
        best=chance.best if chance else None,
        regret=chance.regret if chance else None,
        lr_source=source,
        memory=candidate.batch.peak_bytes,
        micro_batch_tokens=candidate.batch.micro_batch_tokens,
        second_forward=candidate.batch.second_forward,
        sharded=candidate.batch.sharded,
        step_seconds=candidate.step_seconds,
        utilisation=machine.utilisation(exact, hours) if machine and hours else None,
        hours=hours,
        cost=machine.cost(hours) if machine and hours is not None else None,
        extrapolation=Extrapolation.of(exact, candidate.model.params, tokens, candidate.law),
    )


def facts_of(book: LawBook, recipe: Recipe, candidate: Candidate) -> tuple[published.Fact, ...]:
    """Published findings, where the law has measured neither the answer's model nor as much compute."""
    if recipe.trial.model in book.models and recipe.extrapolation.flops == 1:
        return ()
    spent = FLOPS["paper"](candidate.model, candidate.method, candidate.pair.times(recipe.pairs))
    return published.facts(spent, candidate.method.name, candidate.method.options.get("rank"))


def _curve(
    considered: Sequence[Candidate], ends: tuple[float, float] | None, training: Training, machine: Machine | None
) -> tuple[tuple[float, Recipe], ...]:
    """The best recipe at budgets a quarter of a decade apart, without those that train no candidate."""
    rows = []
    for budget in budget_grid(*ends, per_decade=4) if ends else []:
        fits, _ = feasible(considered, budget)
        if fits:
            chances = odds(fits, budget)
            rows.append((budget, recipe_of(fits[0], budget, training, machine, chances[0] if chances else None)))
    return tuple(rows)
