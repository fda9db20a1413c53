"""What a reader of an answer must know: where the evidence is thin, and where each part of the answer comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from planner.answer import SURE, Recipe
from planner.batch_sizes import ASKED, rounded
from planner.candidates import Candidate
from planner.discrepancy import FACTOR_SPREAD, FARTHEST, LEVEL_SPREAD, drift_sd
from planner.extrapolation import times
from planner.law_book import Caveat, LawBook, MethodLaw
from planner.learning_rates import learning_rate
from planner.quantities import time_text
from sweeps.machine.hardware import Machine

QUANTIZED = "4 bits cost no accuracy in Dettmers et al. 2023 (section 4), on other tasks; not measured here"
FEW_ROWS = 15  # three for each coefficient of the plain law
AS_ASKED = "as asked"  # the source of a rate that the user gave
RATE_STEP = 3.0  # between the rates that a search tries: nearer ones were not told apart
SCHEDULE = ("schedule", "warmup", "warmup_steps", "cooldown", "weight_decay")  # settings of Training
WORTH_TELLING = 0.005  # regret of a batch size, as a share of the loss
IDLE = 0.05  # of the peak rate: below it most of a step's time goes to starting kernels and to exchange


def warnings(
    book: LawBook,
    recipes: Sequence[Recipe],
    fits: Sequence[Candidate],
    budget: float,
    conditions: Mapping[str, Any],
) -> tuple[Caveat, ...]:
    """The warnings of an answer, and after them those that the fit gave already.

    conditions: settings of Training that are not those of the laws.
    """
    recipe, candidate = recipes[0], fits[0]
    return (
        *_distance(book, candidate, recipe, conditions),
        *_above_chance(book, recipe),
        *_rate(recipe, candidate),
        *_batch(recipe),
        *_choice(book, recipe, fits),
        *_borrows(candidate),
        *_data(recipe, candidate, budget, book.published != ""),
        *_repeats(book, recipe),
        *_time(recipe),
        *book.warnings,
    )


def _distance(book: LawBook, candidate: Candidate, recipe: Recipe, conditions: Mapping[str, Any]) -> list[Caveat]:
    far, data, caveats = recipe.extrapolation, recipe.trial.training.data, []
    if far.decades > FARTHEST:
        text = (
            f"more than {10**FARTHEST:,.0f}x beyond what was measured: no loss, no probability; the recipe is a guess"
        )
        caveats.append(Caveat("too-far", text))
    elif not far.within_range:
        law, here = candidate.law, "assumed" if candidate.law.drift is None else "from the backtest"
        text = f"{far}: interval, probability and regret include a model error of {drift_sd(law):.1%} per decade"
        caveats.append(Caveat("extrapolated", f"{text} ({here})"))
    if suites := [name for name in far.unseen if name != data]:
        text = (
            f"{suites[0]} was not measured: the loss is predicted from N, the cost from its shapes; the laws' factors"
        )
        caveats.append(Caveat("other-suite", f"{text} are assumed to differ by {FACTOR_SPREAD:.0%}"))
    if data in far.unseen and book.training:
        text = (
            f"laws measured on {book.training.data}: on {data} all losses may be {math.exp(LEVEL_SPREAD):.2g}x higher"
        )
        caveats.append(
            Caveat("other-data", f"{text} or lower (one standard deviation), with the same ranking and exponents")
        )
    differ = [
        f"{name} {value}"
        for name, value in sorted(conditions.items())
        if book.training
        and value != getattr(book.training, name)
        and not (name == "batch_size" and candidate.law.batch)
    ]
    if differ:
        text = f"the laws were not measured at {', '.join(differ)}; {_counted(book, recipe, candidate)}"
        text += _as_short(book, recipe, candidate.pair.tokens)
        caveats.append(Caveat("other-conditions", text))
    return caveats


def _counted(book: LawBook, recipe: Recipe, candidate: Candidate) -> str:
    """What the loss is predicted from where the conditions are not those of the laws."""
    assert book.training
    if candidate.law.batch:
        return "the loss is predicted from the pairs and the batch size alone"
    share = recipe.trial.training.batch_size / book.training.batch_size
    if share < 1:
        return f"a step counts as {share:.2g} of a measured step, by its pairs"
    return "the loss is predicted from the number of steps alone"


def _as_short(book: LawBook, recipe: Recipe, tokens: float) -> str:
    """What is to be told of a longer context where nobody said how long the texts are."""
    assert book.training and book.pair
    if recipe.trial.training.context <= book.training.context or tokens != book.pair.tokens:
        return ""
    return f"; pairs are assumed to have {tokens:.3g} tokens, as in the laws: say how many yours have"


def _above_chance(book: LawBook, recipe: Recipe) -> list[Caveat]:
    """Far below its runs a law gives losses above chance, the ln of the pairs that a query is told from (nats)."""
    if recipe.loss is None or not book.training:
        return []
    pairs = max(book.training.batch_size, book.training.pool_size)  # a paper's loss may be that of its batches
    if recipe.loss <= math.log(pairs):
        return []
    text = f"this loss is above chance, ln {pairs:,} = {math.log(pairs):.2f} nats: the laws do not hold here"
    return [Caveat("above-chance", text)]


def _rate(recipe: Recipe, candidate: Candidate) -> list[Caveat]:
    if recipe.lr_source != AS_ASKED or not (candidate.law.rate_rule or candidate.law.learning_rates):
        return []
    usual = learning_rate(candidate).rate
    factor = max(recipe.trial.lr / usual, usual / recipe.trial.lr)
    if factor < RATE_STEP:
        return []
    side = "above" if recipe.trial.lr > usual else "below"
    text = (
        f"the learning rate is {times(factor)} {side} the best one, about {usual:.2g}, for which the loss is predicted"
    )
    return [Caveat("other-rate", f"{text}: expect a higher loss")]


def _batch(recipe: Recipe) -> list[Caveat]:
    """The regret of a batch size that was asked for."""
    batch = recipe.batch
    if batch.source != ASKED or batch.best is None or batch.given_away is None or batch.given_away < WORTH_TELLING:
        return []
    size, given = recipe.trial.training.batch_size, 100 * batch.given_away
    return [
        Caveat(
            "batch-size", f"batch size {size:,} has a regret of {given:.2g} % of the loss against {rounded(batch.best)}"
        )
    ]


def _choice(book: LawBook, recipe: Recipe, fits: Sequence[Candidate]) -> list[Caveat]:
    candidate, caveats = fits[0], []
    if not candidate.law.draws:
        text = "the law has no bootstrap draws: the uncertainty of this choice is not known"
        caveats.append(Caveat("no-draws", text))
    elif recipe.best is not None and recipe.best < SURE and len(fits) > 1:
        text = f"the top candidates are statistically tied: this one is best with probability {recipe.best:.2f}"
        text += f", expected regret {recipe.regret:.3g} nats"
        caveats.append(Caveat("not-told-apart", text))
    suites = {_unseen_suite(other, recipe) for other in fits}
    if len(suites) > 1:
        text = "suites without measurements are compared by size and cost alone: another one may be better"
        caveats.append(Caveat("suites-unknown", f"{text} than this answer; only runs can show it"))
    sizes = sorted({other.model.params for other in fits})
    if len(sizes) > 1 and recipe.params in (sizes[0], sizes[-1]):
        end, beyond = ("largest", "larger") if recipe.params == sizes[-1] else ("smallest", "smaller")
        text = f"the {end} model within these limits wins: a {beyond} one may be better"
        caveats.append(Caveat("edge-of-menu", text))
    if candidate.law.rows < FEW_ROWS and not book.published:
        text = f"the law of {candidate.law.label} rests on {candidate.law.rows} trials{_borrowed(candidate.law, book)}"
        caveats.append(Caveat("few-rows", text))
    return caveats


def _unseen_suite(candidate: Candidate, recipe: Recipe) -> str:
    """The name of the candidate's suite where the laws have not seen it; "" where they have."""
    names = [name for name in candidate.unseen if name != recipe.trial.training.data]
    return names[0] if names else ""


def _borrows(candidate: Candidate) -> list[Caveat]:
    if not candidate.borrows:
        return []
    text = f"{candidate.method.name} has no law of its own and is predicted by that of {candidate.law.label}"
    return [Caveat("borrowed-law", f"{text}: {QUANTIZED}")]


def _borrowed(law: MethodLaw, book: LawBook) -> str:
    """What else the exponents of a law rest on, where another sweep shares them."""
    shared = book.source.get("with")
    if not shared or not law.shared:
        return ""
    return f", its exponents on {shared['observations']} of {shared['name']} too"


def _data(recipe: Recipe, candidate: Candidate, budget: float, published: bool) -> list[Caveat]:
    caveats = []
    unspent = budget - recipe.serving_flops - recipe.flops
    if unspent > 0.05 * budget and recipe.epochs is not None:
        text = f"pairs are the limit: {unspent / budget:.0%} of the budget stays unspent at {recipe.epochs:.3g} epochs"
        if published:
            text += "; the paper also takes the largest model then (appendix D)"
        caveats.append(Caveat("data-limited", text))
    if recipe.epochs is not None and recipe.epochs > 1 and not candidate.law.law.knows_repetition:
        text = (
            f"the value of {recipe.epochs:.3g} epochs was measured on pretraining, not here: monitor a held-out score"
        )
        caveats.append(Caveat("repeated-data", text))
    return caveats


def _repeats(book: LawBook, recipe: Recipe) -> list[Caveat]:
    """Unless the pairs are counted, the tokens are taken as fresh; the data of the law may be fewer."""
    unique = book.source.get("unique_tokens")
    data = recipe.trial.training.data
    if recipe.epochs is not None or data in recipe.extrapolation.unseen or not unique or recipe.tokens <= unique:
        return []
    passes = f"{recipe.tokens / unique:.3g} passes over the pairs that the laws were measured on"
    text = f"the recipe makes {passes}, and its loss is predicted for fresh pairs: say how many pairs there are"
    return [Caveat("pairs-unknown", text)]


def _time(recipe: Recipe) -> list[Caveat]:
    if recipe.utilisation is None or recipe.step_seconds is None or recipe.utilisation >= IDLE:
        return []
    text = f"a step of {recipe.trial.training.batch_size} pairs takes {time_text(recipe.step_seconds)}"
    text += f" at {recipe.utilisation:.1%} of the machine's peak rate"
    text += ": fewer chips would be nearly as fast" if recipe.chips > 1 else ""
    return [Caveat("short-steps", text)]


def _batch_origin(recipe: Recipe, under: str) -> str:
    """Where the batch size comes from, the best one with its interval, and the regret of the one taken."""
    batch = recipe.batch
    parts = [batch.source if batch.best or batch.source == ASKED else f"{batch.source}, {under}"]
    if batch.best is not None:
        ends = batch.interval
        between = f", 90 % {rounded(ends[0])} to {rounded(ends[1])}" if ends else ""
        parts.append(f"best for {recipe.tokens:.3g} tokens {rounded(batch.best)} pairs{between}")
    if batch.given_away is not None:
        parts.append(f"regret of {recipe.trial.training.batch_size:,} pairs {100 * max(batch.given_away, 0.0):.2g} %")
    return "; ".join([*parts, *([batch.beside] if batch.beside else [])])


def _form(law: MethodLaw) -> str:
    """Of which family a law is, or of which families with their weights."""
    if len(law.weights) == 1:
        return law.family
    return f"weighted mean of {', '.join([f'{name} {weight:.2f}' for name, weight in law.weights.items()])}"


def _schedule(recipe: Recipe) -> str:
    """Warm-up, cooldown and weight decay of a recipe in words."""
    training, steps = recipe.trial.training, recipe.trial.steps
    warm = training.warmup_steps or round(training.warmup * steps)
    falls = f"the last {training.cooldown:.0%} falling to 0" if training.schedule == "wsd" else "a half cosine to 0"
    return f"{training.schedule}: {warm:,} steps of warm-up, then {falls}; weight decay {training.weight_decay:g}"


def _as_in(book: LawBook, recipe: Recipe) -> str:
    """Whose schedule and weight decay these are."""
    training, under = recipe.trial.training, book.training
    assert under
    own = [name for name in SCHEDULE if getattr(training, name) != getattr(under, name)]
    whose = f"those of the runs of {book.name}, which tried no others"
    if book.published:
        whose = f"those of {book.published}, section 4.1 and appendix E"
    return f"{whose}, but for {', '.join(own)}, as asked" if own else whose


def provenance(
    book: LawBook, recipe: Recipe, candidate: Candidate, machine: Machine | None, count: str
) -> dict[str, str]:
    """Part of the answer -> where it comes from."""
    law, source = candidate.law, book.source.get("name", "a sweep")
    here, what, under = "measured here", f"{law.rows} trials of {source}", f"in {source}"
    if book.published:
        under = f"in {book.weighed_by or book.published}"
        here, what = "within its grid", f"facts printed in {book.published}"
    distance = here if recipe.extrapolation.within_range else str(recipe.extrapolation)
    drawn = "draws of laws that agree with the facts" if book.published else "paired bootstrap draws"
    origins = {
        "loss": f"law of {law.label}, {what}; {distance}",
        "law": _form(law),
        "choice": f"lowest expected regret among the candidates; {len(law.draws)} {drawn}",
        "learning_rate": recipe.lr_source,
        "batch_size": _batch_origin(recipe, under),
        "temperature": recipe.temperature_source,
        "schedule, weight decay": f"{_schedule(recipe)}; {_as_in(book, recipe)}",
        "tokens": f"{count} FLOPs of this shape; {candidate.pair.tokens:.4g} tokens per pair",
        "memory": "estimated from the shape and from what the trainer keeps"
        + (", sharded" if recipe.sharded else "")
        + (", gradient checkpointing" if recipe.recompute else ""),
    }
    if candidate.borrows:
        origins["method"] = f"{candidate.method.label} by the law of {law.label}: {QUANTIZED}"
    if shared := book.source.get("with"):
        origins["exponents"] = (
            f"{', '.join(shared['shared'])} shared with {shared['observations']} trials of {shared['name']}; "
            f"{', '.join(shared['own'])} from {source} alone"
        )
    if candidate.limits.max_pairs < math.inf and not law.law.knows_repetition:
        origins["repeated data"] = "published: Muennighoff et al. 2023, R* = 15.4, pretraining"
    if machine:
        origins["hours"] = machine.origin(candidate.model, candidate.method)
    return origins
