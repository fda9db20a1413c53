"""`plan`: from a budget and law books to a recipe, with what stands behind every part of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from planner import published
from planner.answer import Plan, Recipe
from planner.batch_sizes import CHOICES, batch_choice, lent
from planner.budget import Budget, read_budget
from planner.candidates import (
    Candidate,
    Limits,
    Refusal,
    candidates,
    feasible,
    on_machine,
    reasons_against,
    timed,
    tunings,
)
from planner.discrepancy import FARTHEST
from planner.evidence import Evidence, Other, check_reach, decades_of_compute, open_books
from planner.extrapolation import extrapolation_factor
from planner.frontier import Odds, budget_grid, by_regret
from planner.law_book import LawBook
from planner.learning_rates import PeakRate, learning_rate
from planner.menu import check_suites, menu
from planner.quantities import short
from planner.settings import best_share, distinct, with_settings_between
from planner.size_rules import SizeRule, led_by, size_caveat, size_rule
from planner.temperatures import lent_temperatures, temperature_choice
from planner.training_data import TrainingData, training_data
from planner.warnings import AS_ASKED, provenance, warnings
from sweeps.flops import FLOPS
from sweeps.machine.hardware import Machine, read_machine
from sweeps.methods import METHODS
from sweeps.models import ModelSpec
from sweeps.support.checks import from_table
from sweeps.trial import Training, Trial

WATCHED = ("score", "tasks", "evaluate_every", "patience", "stop_on_collapse")
CONDITIONS = ("batch_size", "temperature", "context", "pooling", "schedule", "warmup", "weight_decay")


class TooFewPairs(ValueError):
    """The given pairs make too few steps with every model and method of a law book."""


@dataclass(frozen=True)
class Question:
    """What is asked of every law book."""

    budget: Budget
    """What may be spent; of time and money, what the machine makes of it at its usual rate."""
    machine: Machine | None
    """What trains; None where only FLOPs count."""
    suites: tuple[str, ...]
    """Suites to choose from; empty for those of the law book, unless `models` names some."""
    models: tuple[str | ModelSpec, ...]
    """Models to choose from besides."""
    methods: tuple[str, ...]
    """Names of the tuning methods to choose from; empty for all of the law book."""
    limits: Limits
    """What the plan must respect."""
    flops: str
    """How FLOPs are counted: a key of sweeps.flops.FLOPS."""
    data: str
    """What is trained on; "" for what the laws were measured on."""
    tokens_per_pair: float | None
    """Mean tokens of a pair; None: as counted in `data`, or as in the laws."""
    conditions: Mapping[str, Any]
    """Settings of Training that are not to be those of the laws."""
    lr: float | None
    """The peak learning rate; None for that of the laws."""

    @property
    def fixes_batch(self) -> bool:
        """Whether the batch size was asked for."""
        return "batch_size" in self.conditions

    def training(self, book: LawBook) -> Training:
        """The conditions of the recipe: those of the laws, but for what was asked to differ and a batch size that is
        chosen."""
        assert book.training
        data = self.data or book.training.data
        plain = Training()
        # How the runs of the laws were watched is theirs; it costs time, and other data may not hold out enough for it.
        own = {name: getattr(plain, name) for name in WATCHED} if data != book.training.data else {}
        given = {**own, **self.conditions, **implied(self.conditions), "data": data, "data_hash": ""}
        try:
            return from_table(Training, {**asdict(book.training), **given}, "training")
        except ValueError as error:  # those of the laws fit together: what was asked does not
            raise ValueError(re.sub(r"^training\.(\w+)", r"`\1`", str(error))) from None


@dataclass(frozen=True)
class Consulted:
    """What one law book says to a question."""

    book: LawBook
    """The law book."""
    considered: tuple[Candidate, ...]
    """Every model with every method that the limits allow."""
    refused: tuple[Refusal, ...]
    """Those that they do not, and those that the budget cannot train."""
    ranked: tuple[tuple[Candidate, Odds | None], ...]
    """The candidates that the budget can train with their odds, the lowest expected regret first; before them that
    of isoFLOP minima where these choose the size."""
    size: SizeRule | None
    """What isoFLOP minima say of the size; None where they were not shown to choose better than the law."""
    budget: Budget
    """What is spent: the FLOPs that the first candidate makes of the budget."""
    data: TrainingData
    """What is trained on."""

    @property
    def best(self) -> Candidate:
        """The answer."""
        return self.ranked[0][0]

    @property
    def distance(self) -> float:
        """Decades from what the book has measured; planner/evidence.py has the rule.

        Compute counts as asked: where pairs run out, a small model that spends little of it is not the nearer one.
        """
        asked = self.budget.flops / self.best.relative_speed
        far = self.best.extrapolation(self.best.tokens(asked))
        return replace(far, flops=max(far.flops, extrapolation_factor(asked, self.best.law.measured.flops))).distance

    @property
    def sentence(self) -> str:
        return f"{self.best.model.name} with {self.best.method.label}"


def plan(
    budget: float | str,
    *,
    laws: LawBook | Path | str | Sequence[LawBook | Path | str] | None = None,
    suite: str | Sequence[str] | None = None,
    models: Sequence[str | ModelSpec] = (),
    methods: Sequence[str] = (),
    limits: Limits = Limits(),
    flops: str = "exact",
    top: int = 5,
    hardware: str | None = None,
    mfu: float | str | None = None,
    price: float | str | None = None,
    data: str | None = None,
    tokens_per_pair: float | None = None,
    conditions: Mapping[str, Any] | None = None,
    lr: float | None = None,
    curve: tuple[float, float] | None = None,
) -> Plan:
    """The recipe with the lowest expected regret that spends `budget`, and what stands behind it.

    budget: training FLOPs, or text such as "24h" and "$500" with `hardware` ("8xh100") and `price` (per chip and hour).
    laws: law books, their folders or files, or names of bundled ones; all bundled ones by default. The nearest answers
    (planner/evidence.py). suite, models: what to choose from; by default the suite of the book that answers, "all" for
    every suite. methods: names; all of the book by default. flops: the count, "exact" or "paper". data: what to train
    on, if not what the laws were measured on: its pairs are counted and measured, but for what limits.max_pairs and
    tokens_per_pair say. conditions: settings of Training that are not to be those of the laws, such as
    {"batch_size": 2048}. lr: the peak learning rate. curve: lowest and highest budget of a frontier.
    Raises ValueError with one sentence for input that cannot be answered.

    >>> from planner import plan
    >>> recipe = plan(1e13).recipe
    >>> recipe.trial.model, recipe.low < recipe.loss < recipe.high
    ('nano-100k', True)
    """
    machine = read_machine(hardware, _text(mfu), _text(price)) if hardware else None
    asked = read_budget(budget if isinstance(budget, str) else repr(budget), machine)
    check_choices(flops, top, asked)
    if machine is None and (mfu is not None or price is not None):
        raise ValueError(f"`{'price' if mfu is None else 'mfu'}` needs `hardware`, such as 8xh100")
    suites = (suite,) if isinstance(suite, str) else tuple(suite or ())
    check_suites(suites)
    question = Question(
        budget=asked,
        machine=machine,
        suites=suites,
        models=tuple(models),
        methods=tuple(methods),
        limits=replace(limits, memory=min(limits.memory, machine.memory)) if machine else limits,
        flops=flops,
        data=data or "",
        tokens_per_pair=tokens_per_pair,
        conditions=_checked(conditions or {}),
        lr=lr,
    )
    nearest, others = _nearest(lent_temperatures(lent(open_books(laws))), question)
    return _plan(nearest, others, question, top, curve)


def _text(value: float | str | None) -> str | None:
    return None if value is None else str(value)


def _checked(conditions: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in conditions:
        if name not in CONDITIONS:
            raise ValueError(f"`conditions` has {name!r}; known: {', '.join(CONDITIONS)}")
    return conditions


def implied(conditions: Mapping[str, Any]) -> dict[str, int]:
    """Settings of Training that follow from those asked for.

    A warm-up in steps is of trials that share a trunk, by the schedule wsd; with another schedule, or where a share is
    asked for, the warm-up is a share of the steps.
    """
    shared = "warmup" not in conditions and ("schedule" not in conditions or conditions["schedule"] == "wsd")
    return {} if shared else {"warmup_steps": 0}


def check_choices(flops: str, top: int, asked: Budget) -> None:
    """Raises ValueError for a count of FLOPs or a number of recipes that there is not."""
    if flops not in FLOPS:
        raise ValueError(f"`flops` is {flops!r}; known: {', '.join(FLOPS)}")
    if flops != "exact" and asked.kind != "flops":
        raise ValueError(f"`flops` is {flops!r}; a budget of {asked.asked} is counted in exact FLOPs")
    if top < 1:
        raise ValueError(f"`top` is {top!r}; it must be 1 or more")


@dataclass(frozen=True)
class Silent:
    """A law book without an answer."""

    book: LawBook
    """The law book."""
    reason: str
    """Why it has none."""
    few_pairs: bool
    """Whether the given pairs are too few for it, and nothing else."""


def _nearest(books: Sequence[LawBook], question: Question) -> tuple[Consulted, list[Other]]:
    """What the nearest law book says, and what the others would have said. Raises ValueError as `nearest_of` does."""
    check_reach(books, question.budget.flops)
    said, silent = [], []
    for book in by_evidence(books):
        try:
            said.append(consult(book, question))
        except ValueError as error:
            silent.append(Silent(book, str(error), isinstance(error, TooFewPairs)))
    free = not (question.suites or question.models)
    return nearest_of(books, said, silent, question.budget.flops, free)


def by_evidence(books: Sequence[LawBook]) -> list[LawBook]:
    """Measured ones come first, and of these the one of more runs: of books at the same distance the first answers."""
    most = sorted(books, key=lambda book: -sum([law.rows for law in book.laws]))
    return sorted(most, key=lambda book: book.published != "")


def nearest_of(
    books: Sequence[LawBook], said: Sequence[Consulted], silent: Sequence[Silent], budget: float, free: bool
) -> tuple[Consulted, list[Other]]:
    """What the nearest law book says, and what the others would have said. free: whether no models were asked for.

    Raises ValueError where none has an answer: the reason of the book whose budgets are the nearest. Where that one
    lacks only pairs, one of far smaller models that would do with them does not answer in its place.
    """
    if not said:
        raise ValueError(min(silent, key=lambda each: decades_of_compute(each.book, budget)).reason)
    ranked = sorted(said, key=lambda consulted: round(1e6 * consulted.distance))
    nearest = ranked[0]
    closest = min(books, key=lambda book: decades_of_compute(book, budget))
    for each in silent:
        if each.book is closest and each.few_pairs and free:
            raise ValueError(f"{each.reason}; or `laws` {nearest.book.name}, which answers {nearest.sentence}")
    others = [
        Other(other.book.name, other.distance, other.sentence, other.sentence != nearest.sentence)
        for other in ranked[1:]
    ]
    return nearest, [*others, *[Other(each.book.name, None, each.reason, True) for each in silent]]


def consult(book: LawBook, question: Question) -> Consulted:
    """What a law book says. Raises ValueError where no candidate fits the budget and the limits."""
    check_methods(question.methods, book)
    machine, training, limits = question.machine, question.training(book), question.limits
    models = menu(book, question.suites, question.models)
    data = training_data(book, training, question.data != "", models, limits.max_pairs, question.tokens_per_pair)
    mixed, chips = (True, machine.count) if machine and machine.kind.mixed else (False, 1)
    sizes = () if question.fixes_batch else CHOICES
    possible, refused = candidates(
        with_settings_between(book, models),
        models,
        question.methods,
        replace(limits, max_pairs=data.pairs),
        question.flops,
        chips,
        mixed,
        data.pair,
        training.context,
        question.data,
        sizes,
    )
    considered = on_machine(distinct(possible), machine)
    at_speed = timed(considered, question.budget, machine)
    fits, too_small = feasible(at_speed, question.budget.flops)
    if not fits:
        chosen = [candidate.at(question.budget.flops) for candidate in at_speed]
        kind = TooFewPairs if lack_pairs(chosen) else ValueError
        raise kind(nothing_fits(question.budget.flops, chosen, [*refused, *too_small]))
    by_law = by_regret(fits, question.budget.flops)
    size = size_rule(by_law, question.budget.flops)
    ranked = led_by(size, by_law)
    spent = replace(question.budget, flops=ranked[0][0].relative_speed * question.budget.flops)
    return Consulted(book, tuple(considered), (*refused, *too_small), tuple(ranked), size, spent, data)


def lack_pairs(chosen: Sequence[Candidate]) -> bool:
    """Whether the given pairs make too few steps with every candidate."""
    return len(chosen) > 0 and all(candidate.lacks_pairs for candidate in chosen)


def check_methods(methods: Sequence[str], book: LawBook) -> None:
    known = list(dict.fromkeys(method.name for law in book.laws for method in tunings(law, ())))
    for name in methods:
        if name not in METHODS:
            raise ValueError(f"`methods` has {name!r}; known: {', '.join(METHODS)}")
        if name not in known:
            raise ValueError(f"`methods` has {name!r}; the laws of {book.name} know only {', '.join(known)}")


def _plan(
    consulted: Consulted,
    others: Sequence[Other],
    question: Question,
    top: int,
    curve: tuple[float, float] | None,
) -> Plan:
    book, ranked, budget = consulted.book, consulted.ranked, question.budget.flops
    recipes = tuple(recipe_of(candidate, budget, question, book, chance) for candidate, chance in ranked[:top])
    best, fits = consulted.best, [candidate for candidate, _ in ranked]
    known = recipes[0].best is not None
    kind = "published" if book.published else "measured"
    return Plan(
        budget=consulted.budget,
        candidates=recipes,
        method_chances=_chances(ranked, lambda candidate: candidate.method.name) if known else {},
        model_chances=_chances(ranked, lambda candidate: candidate.model.name) if known else {},
        evidence=Evidence(book.name, kind, recipes[0].extrapolation, tuple(others)),
        refused=consulted.refused,
        size=consulted.size,
        warnings=(
            *warnings(book, recipes, fits, consulted.budget.flops, question.conditions),
            *size_caveat(consulted.size),
        ),
        provenance=_provenance(consulted, recipes[0], question),
        facts=facts_of(book, recipes[0], best),
        curve=_curve(consulted.considered, curve, question, book),
        laws=book,
        considered=consulted.considered,
    )


def _provenance(consulted: Consulted, recipe: Recipe, question: Question) -> dict[str, str]:
    told = provenance(consulted.book, recipe, consulted.best, question.machine, question.flops)
    best, budget = consulted.best, question.budget.flops
    if share := best_share([candidate for candidate, _ in consulted.ranked], best, budget):
        told["trained share"] = (
            f"{share[0]:.2f} of the parameters by the law (90 % {share[1]:.2f} to {share[2]:.2f}), if every share were "
            f"possible on {best.model.name}; {best.method.label} trains {best.trained_share:.2g}"
        )
    return {**told, "data": consulted.data.how} if consulted.data.how else told


def _chances(ranked: Sequence[tuple[Candidate, Odds | None]], name: Any) -> dict[str, float]:
    """Name of a method or a model -> probability that one of its candidates is the best, the likeliest first."""
    chances: dict[str, float] = {}
    for candidate, chance in ranked:
        if chance:
            chances[name(candidate)] = chances.get(name(candidate), 0.0) + chance.best
    return dict(sorted(chances.items(), key=lambda row: -row[1]))


def nothing_fits(budget: float, at_speed: Sequence[Candidate], refused: Sequence[Refusal]) -> str:
    """Why a budget (FLOP) buys no recipe: the candidate that comes nearest, or what refuses each."""
    allowed = [candidate for candidate in at_speed if not candidate.lacks_pairs]
    long = [candidate for candidate in allowed if candidate.steps(budget) > candidate.limits.max_steps]
    if long:
        near = min(long, key=lambda candidate: candidate.steps(budget))
        steps, most = near.steps(budget), near.limits.max_steps
        wanted = near.batch_size * steps / most
        return (
            f"`budget` {near.relative_speed * budget:.3g} FLOP is too large for every candidate: "
            f"{near.model.name} with {near.method.label} comes nearest with {steps:,} steps, over the maximum of "
            f"{most:,}; choose from larger models (`suite`), or set `batch_size` to {wanted:,.0f} or more"
        )
    if allowed:
        near = min(allowed, key=lambda candidate: candidate.least_flops() / candidate.relative_speed)
        steps = max(0, near.steps(budget))
        return (
            f"`budget` {near.relative_speed * budget:.3g} FLOP is too small for every candidate: "
            f"{near.model.name} with {near.method.label} comes nearest with {steps} steps; "
            f"{near.limits.min_steps} need {near.least_flops():.3g} FLOP{_serving(near)}"
        )
    if at_speed:
        return _too_few_pairs(at_speed[0])
    return f"no candidate is left: {reasons_against(refused)}"


def _too_few_pairs(candidate: Candidate) -> str:
    """What to change where the allowed passes over the given pairs make too few steps."""
    limits, batch = candidate.limits, candidate.batch_size
    smaller, enough = int(limits.max_pairs * limits.epochs / limits.min_steps), limits.min_steps * batch / limits.epochs
    change = f"set `batch_size` to {smaller:,} or less, or " if smaller > 1 else ""
    return (
        f"{short(limits.max_pairs)} pairs give {candidate.epoch_steps:,.0f} steps of {batch:,} pairs in "
        f"{limits.epochs:.3g} epochs, under the minimum of {limits.min_steps}: {change}take "
        f"{math.ceil(enough):,} pairs or more"
    )


def _serving(candidate: Candidate) -> str:
    return f", {candidate.serving:.3g} of them for serving" if candidate.serving else ""


def recipe_of(
    candidate: Candidate, budget: float, question: Question, book: LawBook, chance: Odds | None = None
) -> Recipe:
    """The recipe that this candidate of a book makes of the budget, in whole steps."""
    machine = question.machine
    peak = learning_rate(candidate) if question.lr is None else PeakRate(question.lr, AS_ASKED)
    steps, spent = candidate.steps(budget), candidate.relative_speed * budget
    training = replace(question.training(book), batch_size=candidate.batch_size)
    temperature = temperature_choice(candidate.law, book, candidate.batch_size, question.conditions)
    if "temperature" not in question.conditions and temperature.temperature != training.temperature:
        held_out = training.loss_temperature or training.temperature  # the loss is to be read as the laws predict it
        training = replace(training, temperature=temperature.temperature, loss_temperature=held_out)
    trial = Trial(candidate.model.name, candidate.method, training, peak.rate, steps, 0, spent)
    law_tokens = steps * candidate.law_step_tokens
    far = candidate.extrapolation(law_tokens)
    known = far.decades <= FARTHEST
    drift = candidate.drift(law_tokens)
    low, high = candidate.law.interval(*candidate.inputs(law_tokens), run=True, drift=drift)
    exact = trial.pairs * candidate.exact_pair_flops
    hours = None if candidate.step_seconds is None else steps * candidate.step_seconds / 3600
    return Recipe(
        trial=trial,
        params=candidate.model.params,
        dim=candidate.model.width,
        tokens=trial.pairs * candidate.pair.tokens,
        epochs=trial.pairs / candidate.limits.max_pairs if candidate.limits.max_pairs < math.inf else None,
        flops=trial.pairs * candidate.pair_flops,
        exact_flops=exact,
        serving_flops=candidate.serving,
        loss=candidate.expected_loss(law_tokens) if known else None,
        low=low if known else None,
        high=high if known else None,
        best=chance.best if chance and known else None,
        regret=chance.regret if chance and known else None,
        share=chance.share if chance and known else None,
        lr_source=peak.source,
        lr_interval=peak.interval,
        temperature_source=temperature.source,
        batch=batch_choice(candidate, law_tokens, book, question.fixes_batch),
        memory=candidate.batch.peak_bytes,
        micro_batch_tokens=candidate.batch.micro_batch_tokens,
        second_forward=candidate.batch.second_forward,
        chips=machine.count if machine and machine.kind.mixed else 1,
        sharded=candidate.batch.sharded,
        recompute=candidate.batch.recompute,
        step_seconds=candidate.step_seconds,
        utilisation=machine.utilisation(exact, hours) if machine and hours else None,
        hours=hours,
        cost=machine.cost(hours) if machine and hours is not None else None,
        extrapolation=far,
    )


def facts_of(book: LawBook, recipe: Recipe, candidate: Candidate) -> tuple[published.Fact, ...]:
    """Published findings, where laws of runs have measured neither the answer's model nor as much compute."""
    if book.published or (recipe.trial.model in book.models and recipe.extrapolation.flops == 1):
        return ()
    spent = FLOPS["paper"](candidate.model, candidate.method, candidate.pair.times(recipe.pairs))
    return published.facts(spent, str(candidate.law.settings["name"]), candidate.method.options.get("rank"))


def _curve(
    considered: Sequence[Candidate],
    ends: tuple[float, float] | None,
    question: Question,
    book: LawBook,
) -> tuple[tuple[float, Recipe | None], ...]:
    """The best recipe at budgets a quarter of a decade apart; None at those that train no candidate."""
    rows: list[tuple[float, Recipe | None]] = []
    for budget in budget_grid(*ends, per_decade=4) if ends else []:
        fits, _ = feasible(considered, budget)
        if not fits:
            rows.append((budget, None))
            continue
        by_law = by_regret(fits, budget)
        best, chance = led_by(size_rule(by_law, budget), by_law)[0]
        rows.append((budget, recipe_of(best, budget, question, book, chance)))
    return tuple(rows)
