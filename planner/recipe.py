"""`plan`: from a budget and a law book to a recipe, with what stands behind every part of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from planner import published
from planner.budget import Budget, read_budget
from planner.candidates import Limits, Option, Refusal, feasible, menu, timed
from planner.frontier import Crossover, Odds, budgets, crossovers, odds
from planner.laws import LawBook, Notice, read_laws
from planner.learning_rates import learning_rate
from planner.warnings import SURE, Reach, beyond, notices, provenance
from sweeps.flops import FLOPS
from sweeps.machine.hardware import Machine, read_machine
from sweeps.methods import METHODS
from sweeps.models import SUITES, ModelSpec, find_model
from sweeps.trial import Training, Trial


@dataclass(frozen=True)
class Recipe:
    """A trial and what is predicted of it.

    params: N. dim: of the vectors. tokens: D, real ones. epochs: passes over the unique pairs, None where their number
    is unknown. flops: to be spent on training, by the count in use; exact_flops: by the exact one; serving_flops: kept
    back for use. loss: held out, nats per pair; low, high: 90 % interval of one run. best, regret: see Odds; None
    without bootstrap draws. lr_source: where the rate comes from. memory: peak bytes per chip; micro_tokens: in one
    graph; second_forward: share of the batch embedded twice. hours, cost: on the machine, None without one or its
    price. reach: how far beyond the evidence.
    """

    trial: Trial
    params: int
    dim: int
    tokens: float
    epochs: float | None
    flops: float
    exact_flops: float
    serving_flops: float
    loss: float
    low: float
    high: float
    best: float | None
    regret: float | None
    lr_source: str
    memory: float
    micro_tokens: int
    second_forward: float
    hours: float | None
    cost: float | None
    reach: Reach

    @property
    def pairs(self) -> int:
        """Training pairs seen, repeats counted."""
        return self.trial.pairs

    @property
    def sure(self) -> bool:
        """Within the evidence, and most likely the best."""
        return self.reach.measured and self.best is not None and self.best >= SURE


@dataclass(frozen=True)
class Plan:
    """The answer to a budget.

    candidates: recipes, lowest predicted loss first; the first one is the answer. crossovers: where the best method
    changes. refused: candidates that cannot be, with the reason. notices: what a reader must know. provenance: part of
    the answer -> where it comes from. facts: published findings, for suites that the law has not seen.
    curve: the best recipe at each of a range of budgets.
    """

    budget: Budget
    candidates: tuple[Recipe, ...]
    crossovers: tuple[Crossover, ...]
    refused: tuple[Refusal, ...]
    notices: tuple[Notice, ...]
    provenance: Mapping[str, str]
    facts: tuple[published.Fact, ...]
    curve: tuple[tuple[float, Recipe], ...]
    laws: LawBook
    options: tuple[Option, ...]

    @property
    def recipe(self) -> Recipe:
        return self.candidates[0]


def default_laws() -> Path:
    """The law book that ships with the package. Raises ValueError when none does."""
    import results

    path = Path(results.__file__).parent / "reference" / "laws.json"
    if not path.exists():
        raise ValueError("no default laws are installed (results/reference/laws.json); name a laws.json with --laws")
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
    laws: a law book, its file, or None for the one that ships. suite, models: the menu; by default the models that the
    laws were measured on. methods: names; all measured ones by default. flops: the count, "exact" or "paper".
    data: what to train on, if not what the laws were measured on. curve: lowest and highest budget of a frontier.
    Raises ValueError with one sentence for input that cannot be answered.

    >>> from planner import plan
    >>> recipe = plan(1e13).recipe
    >>> recipe.trial.model, recipe.low < recipe.loss < recipe.high
    ('nano-100k', True)
    """
    machine = read_machine(hardware, _text(mfu), _text(price)) if hardware else None
    asked = read_budget(budget if isinstance(budget, str) else repr(budget), machine)
    _check_choices(flops, suite, top, asked)
    if machine is None and (mfu is not None or price is not None):
        raise ValueError(f"--{'price' if mfu is None else 'mfu'} is of a machine; name it with --hardware")
    book = _book(laws)
    _check_methods(methods, book)
    limits = replace(limits, memory=min(limits.memory, machine.memory)) if machine else limits
    mixed, chips = (True, machine.count) if machine and machine.kind.mixed else (False, 1)
    options, refused = menu(book, _models(book, suite, models), methods, limits, flops, chips, mixed)
    paced = timed(options, asked, machine)
    fits, too_small = feasible(paced, asked.flops)
    if not fits:
        raise ValueError(_nothing_fits(asked.flops, paced, [*refused, *too_small]))
    spent = replace(asked, flops=fits[0].pace * asked.flops)
    training = replace(book.training or Training(), data_hash="")
    training = replace(training, data=data) if data else training
    recipes = _recipes(fits, asked.flops, training, machine, top)
    return Plan(
        budget=spent,
        candidates=recipes,
        crossovers=tuple(crossovers(options, *_looked_at(book, spent.flops))),
        refused=(*refused, *too_small),
        notices=notices(book, recipes, fits, spent.flops, data),
        provenance=provenance(book, recipes[0], fits[0], machine, flops),
        facts=_facts(book, recipes[0], fits[0]),
        curve=_curve(options, curve, training, machine),
        laws=book,
        options=tuple(options),
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


def _check_choices(flops: str, suite: str | None, top: int, asked: Budget) -> None:
    if flops not in FLOPS:
        raise ValueError(f"--flops is {flops!r}; known: {', '.join(FLOPS)}")
    if flops != "exact" and asked.kind != "flops":
        raise ValueError(f"--flops is {flops!r}: a machine does every FLOP, so a budget of {asked.said} needs exact")
    if suite is not None and suite not in SUITES:
        raise ValueError(f"--suite is {suite!r}; known: {', '.join(SUITES)}")
    if top < 1:
        raise ValueError(f"--top is {top!r}; it must be 1 or more")


def _check_methods(methods: Sequence[str], book: LawBook) -> None:
    measured = list(dict.fromkeys(str(law.settings["name"]) for law in book.laws))
    for name in methods:
        if name not in METHODS:
            raise ValueError(f"--methods has {name!r}; known: {', '.join(METHODS)}")
        if name not in measured:
            raise ValueError(f"--methods has {name!r}; the laws measured only {', '.join(measured)}")


def _models(book: LawBook, suite: str | None, models: Sequence[str | ModelSpec]) -> list[ModelSpec]:
    named = [model if isinstance(model, ModelSpec) else _named("--model", model) for model in models]
    chosen = [*(SUITES[suite] if suite else ()), *named] or [
        _named("a model of the laws", name) for name in book.models
    ]
    return list({model.name: model for model in chosen}.values())


def _named(what: str, name: str) -> ModelSpec:
    try:
        return replace(find_model(name), name=name)  # the trial's name must lead back to the model
    except ValueError as error:
        hint = "" if what == "--model" else "; name a menu with --suite or --model"
        raise ValueError(f"{what}: {error}{hint}") from None


def _nothing_fits(budget: float, options: Sequence[Option], refused: Sequence[Refusal]) -> str:
    enough = [option for option in options if option.most_steps >= option.limits.min_steps]
    if enough:
        near = min(enough, key=lambda option: option.needs() / option.pace)
        steps = max(0, near.steps(budget))
        return (
            f"--budget {near.pace * budget:.3g} FLOP is too small for every candidate: {near.model.name} with "
            f"{near.method.label} comes nearest with {steps} steps; {near.limits.min_steps} need "
            f"{near.needs():.3g} FLOP{_serving(near)}"
        )
    reasons = dict.fromkeys(f"{one.model} with {one.method}: {one.reason}" for one in refused)
    return f"no candidate is left: {'; '.join(reasons)}"


def _serving(option: Option) -> str:
    return f", {option.serving:.3g} of them for serving" if option.serving else ""


MOST = 1e30  # FLOPs; nobody trains with more, and a grid of crossovers has to end


def _looked_at(book: LawBook, budget: float) -> tuple[float, float]:
    """The budgets searched for crossovers: the evidence and the asked budget, ten times further on either side."""
    low, high = book.span.flops
    return min(low, budget) / 10, min(max(high, budget) * 10, max(high, MOST))


def _recipes(
    fits: Sequence[Option], budget: float, training: Training, machine: Machine | None, top: int
) -> tuple[Recipe, ...]:
    chances = odds(fits, budget)
    return tuple(
        _recipe(option, budget, training, machine, chances[place] if chances else None)
        for place, option in enumerate(fits[:top])
    )


def _recipe(
    option: Option, budget: float, training: Training, machine: Machine | None, chance: Odds | None = None
) -> Recipe:
    """What this option makes of the budget, in whole steps."""
    lr, source = learning_rate(option)
    steps = option.steps(budget)
    trial = Trial(option.model.name, option.method, training, lr, steps, 0, option.pace * budget)
    tokens = trial.pairs * option.pair.tokens
    exact = trial.pairs * option.exact_pair_flops
    low, high = option.evidence.interval(*option.inputs(tokens))
    span = option.evidence.span
    rate = machine.rate_of(option.model, option.method) if machine else None
    return Recipe(
        trial=trial,
        params=option.model.params,
        dim=option.model.width,
        tokens=tokens,
        epochs=trial.pairs / option.limits.max_pairs if option.limits.max_pairs < math.inf else None,
        flops=trial.pairs * option.pair_flops,
        exact_flops=exact,
        serving_flops=option.serving,
        loss=option.loss(tokens),
        low=low,
        high=high,
        best=chance.best if chance else None,
        regret=chance.regret if chance else None,
        lr_source=source,
        memory=option.fit.bytes,
        micro_tokens=option.fit.tokens,
        second_forward=option.fit.second_forward,
        hours=machine.hours(exact, rate) if machine else None,
        cost=machine.cost(exact, rate) if machine else None,
        reach=Reach(beyond(exact, span.flops), beyond(option.model.params, span.params), beyond(tokens, span.tokens)),
    )


def _facts(book: LawBook, recipe: Recipe, option: Option) -> tuple[published.Fact, ...]:
    """Published findings, where the law has seen neither the answer's model nor as much compute."""
    if recipe.trial.model in book.models and recipe.reach.flops == 1:
        return ()
    spent = FLOPS["paper"](option.model, option.method, option.pair.times(recipe.pairs))
    return published.facts(spent, option.method.name, option.method.options.get("rank"))


def _curve(
    options: Sequence[Option], ends: tuple[float, float] | None, training: Training, machine: Machine | None
) -> tuple[tuple[float, Recipe], ...]:
    """The best recipe at budgets a quarter of a decade apart; budgets that nothing can use are left out."""
    rows = []
    for budget in budgets(*ends, per_decade=4) if ends else []:
        fits, _ = feasible(options, budget)
        if fits:
            chances = odds(fits, budget)
            rows.append((budget, _recipe(fits[0], budget, training, machine, chances[0] if chances else None)))
    return tuple(rows)
