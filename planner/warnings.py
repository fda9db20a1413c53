"""What a reader of an answer must know: where the evidence is thin, and where each part of the answer comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.answer import SURE, Recipe
from planner.candidates import Candidate
from planner.law_book import Caveat, LawBook, MethodLaw
from sweeps.machine.hardware import Machine

FEW_ROWS = 15  # three for each coefficient of the plain law
IDLE = 0.05  # of the peak rate: below it most of a step's time goes to starting kernels and to exchange
EPOCHS = 4.0  # repeats up to which data keep their value in pretraining (Muennighoff et al. 2023, abstract)


def warnings(
    book: LawBook, recipes: Sequence[Recipe], fits: Sequence[Candidate], budget: float, data: str | None
) -> tuple[Caveat, ...]:
    """The warnings of an answer, and after them those that the fit gave already."""
    recipe, candidate = recipes[0], fits[0]
    return (
        *_distance(book, recipe, candidate, data),
        *_choice(book, recipe, fits),
        *_data(recipe, candidate, budget),
        *_repeats(book, recipe, data),
        *_time(recipe),
        *book.warnings,
    )


def _distance(book: LawBook, recipe: Recipe, candidate: Candidate, data: str | None) -> list[Caveat]:
    caveats = []
    if not recipe.extrapolation.within_range:
        wider = _wider(recipe, candidate)
        text = f"{recipe.extrapolation}: the interval{wider} holds if the law keeps its shape, which nobody measured"
        caveats.append(Caveat("extrapolated", text))
    if recipe.trial.model not in book.models:
        text = f"{recipe.trial.model} was not measured: the law is of {', '.join(book.models)}"
        caveats.append(Caveat("other-suite", text))
    if data and book.training and data != book.training.data:
        text = f"the law was measured on {book.training.data}; its losses and pair lengths are a guide on {data}"
        caveats.append(Caveat("other-data", text))
    return caveats


def _wider(recipe: Recipe, candidate: Candidate) -> str:
    """How much wider the interval of the answer is than that of the same candidate at its largest measured budget."""
    edge = candidate.law.measured.flops[1]
    if candidate.refusal(edge):
        return ""
    low, high = candidate.law.interval(*candidate.inputs(candidate.tokens(edge)))
    factor = math.log(recipe.high / recipe.low) / math.log(high / low) if high > low else 1.0
    return f", {factor:.2g}x as wide as at {edge:.2g} FLOP," if factor > 1.05 else ""


def _choice(book: LawBook, recipe: Recipe, fits: Sequence[Candidate]) -> list[Caveat]:
    candidate, caveats = fits[0], []
    if recipe.best is None:
        text = "the law holds no bootstrap draws: nothing is known of how sure this choice is"
        caveats.append(Caveat("no-draws", text))
    elif recipe.best < SURE and len(fits) > 1:
        text = f"the top candidates are statistically tied: this one is best with probability {recipe.best:.2f}"
        text += f" and gives away {recipe.regret:.3g} nats on average"
        caveats.append(Caveat("not-told-apart", text))
    sizes = sorted({other.model.params for other in fits})
    if len(sizes) > 1 and recipe.params in (sizes[0], sizes[-1]):
        end = "largest" if recipe.params == sizes[-1] else "smallest"
        text = f"the {end} model that this budget can train wins: one beyond the models at hand may be better"
        caveats.append(Caveat("edge-of-menu", text))
    if candidate.law.rows < FEW_ROWS and not book.published:
        text = f"the law of {candidate.law.label} rests on {candidate.law.rows} trials{_borrowed(candidate.law, book)}"
        caveats.append(Caveat("few-rows", text))
    return caveats


def _borrowed(law: MethodLaw, book: LawBook) -> str:
    """What else the exponents of a law rest on, where another sweep shares them."""
    shared = book.source.get("with")
    if not shared or not law.shared:
        return ""
    return f", its exponents on {shared['observations']} of {shared['name']} too"


def _data(recipe: Recipe, candidate: Candidate, budget: float) -> list[Caveat]:
    caveats = []
    unspent = budget - recipe.serving_flops - recipe.flops
    if unspent > 0.05 * budget and recipe.epochs is not None:
        text = f"data, not compute, is the limit: {unspent:.3g} FLOP stay unspent at {recipe.epochs:.3g} epochs"
        caveats.append(Caveat("data-limited", text))
    if recipe.epochs is not None and recipe.epochs > 1 and not candidate.law.law.knows_repetition:
        strong = ", far more than data keep their value for" if recipe.epochs > EPOCHS else ""
        text = f"{recipe.epochs:.3g} epochs{strong}: what repeats are worth was measured on pretraining, not here"
        caveats.append(Caveat("repeated-data", text))
    return caveats


def _repeats(book: LawBook, recipe: Recipe, data: str | None) -> list[Caveat]:
    """Unless the pairs at hand are counted, the tokens are taken as fresh; the data of the law may be fewer."""
    unique = book.source.get("unique_tokens")
    if data or recipe.epochs is not None or not unique or recipe.tokens <= unique:
        return []
    passes = f"{recipe.tokens / unique:.3g} passes over the pairs that the law was measured on"
    remedy = "bring more, or give the number of unique pairs (max_pairs)"
    text = f"the recipe makes {passes}, and its loss holds for fresh ones: {remedy}"
    return [Caveat("repeated-data", text)]


def _time(recipe: Recipe) -> list[Caveat]:
    if recipe.utilisation is None or recipe.step_seconds is None or recipe.utilisation >= IDLE:
        return []
    text = f"a step of {recipe.trial.training.batch_size} pairs takes {1000 * recipe.step_seconds:.2g} ms, in which the"
    text += f" machine reaches {recipe.utilisation:.1%} of its peak rate: fewer chips would be nearly as fast"
    return [Caveat("short-steps", text)]


def provenance(
    book: LawBook, recipe: Recipe, candidate: Candidate, machine: Machine | None, count: str
) -> dict[str, str]:
    """Part of the answer -> where it comes from."""
    law, source = candidate.law, book.source.get("name", "a sweep")
    here, what, under = "measured here", f"{law.rows} trials of {source}", "the law was measured under"
    if book.published:
        here, what, under = "within its grid", f"facts printed in {book.published}", f"{book.published} trained under"
    distance = here if recipe.extrapolation.within_range else str(recipe.extrapolation)
    drawn = "draws of laws that agree with the facts" if book.published else "paired bootstrap draws"
    origins = {
        "loss": f"{law.family} law of {law.label}, {what}; {distance}",
        "choice": f"lowest predicted loss among the candidates; {drawn}: {len(law.draws)}",
        "learning_rate": recipe.lr_source,
        "batch_size, temperature": f"the conditions that {under}",
        "tokens": f"{count} FLOPs of this shape; {candidate.pair.tokens:.4g} real tokens a pair of {_data_name(book)}",
        "memory": "estimated from the shape, by what the trainer keeps" + (", sharded" if recipe.sharded else ""),
    }
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


def _data_name(book: LawBook) -> str:
    return book.training.data if book.training else "the sweep's data"
