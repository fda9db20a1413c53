"""How far an answer lies from what was measured, where its parts come from, and plain words for thin evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.laws import LawBook, MethodLaw, Notice, Repeated

if TYPE_CHECKING:
    from planner.candidates import Option
    from planner.recipe import Recipe
    from sweeps.machine.hardware import Machine

FEW_ROWS = 15  # three for each coefficient of the plain law
SURE = 0.9  # probability above which one method is said to be best
SHORTEST_STEP = 0.01  # seconds; launching the kernels of one step takes about as long on a GPU
EPOCHS = 4.0  # repeats up to which data keep their value in pretraining (Muennighoff et al. 2023, abstract)


@dataclass(frozen=True)
class Reach:
    """How many times the answer lies beyond the measured range of FLOPs, parameters and tokens; 1 inside."""

    flops: float
    params: float
    tokens: float

    @property
    def measured(self) -> bool:
        return max(self.flops, self.params, self.tokens) == 1

    def __str__(self) -> str:
        if self.measured:
            return "within the measured range"
        parts = {"C": self.flops, "N": self.params, "D": self.tokens}
        return "extrapolated " + ", ".join(f"{_times(times)} in {name}" for name, times in parts.items() if times > 1)


def _times(value: float) -> str:
    return f"{value:.2g} times" if value < 1e4 else f"{value:.0e} times".replace("e+0", "e").replace("e+", "e")


def beyond(value: float, evidence: tuple[float, float]) -> float:
    """How many times `value` lies beyond the evidence, on either side; 1 inside."""
    low, high = evidence
    times = max(value / high, low / value)
    return times if times > 1.05 else 1.0  # whole steps miss a budget by a few per cent


def notices(
    book: LawBook, recipes: Sequence[Recipe], fits: Sequence[Option], budget: float, data: str | None
) -> tuple[Notice, ...]:
    """What a reader of the answer must know, beside what the fit has said already."""
    best, option = recipes[0], fits[0]
    found = [
        *_distance(book, best, option, data),
        *_choice(book, recipes, fits),
        *_data(best, option, budget),
        *_repeats(book, best, data),
        *_time(best),
    ]
    return (*found, *book.warnings)


def _wider(best: Recipe, option: Option) -> str:
    """How much wider the interval of the answer is than that of the same option at its largest measured budget."""
    edge = option.evidence.span.flops[1]
    if option.refusal(edge):
        return ""
    low, high = option.evidence.interval(*option.inputs(option.tokens(edge)))
    times = math.log(best.high / best.low) / math.log(high / low) if high > low else 1.0
    return f", {times:.2g} times as wide as at {edge:.2g} FLOP," if times > 1.05 else ""


def _distance(book: LawBook, best: Recipe, option: Option, data: str | None) -> list[Notice]:
    found = []
    if not best.reach.measured:
        wider = _wider(best, option)
        text = f"{best.reach} beyond the evidence: the interval{wider} holds if the law keeps its shape"
        text += ", which nobody measured"
        found.append(Notice("extrapolated", text))
    if best.trial.model not in book.models:
        found.append(
            Notice("other-suite", f"{best.trial.model} was not measured: the law is of {', '.join(book.models)}")
        )
    if data and book.training and data != book.training.data:
        found.append(
            Notice(
                "other-data",
                f"the law was measured on {book.training.data}; its losses and pair lengths are a guide on {data}",
            )
        )
    return found


def _choice(book: LawBook, recipes: Sequence[Recipe], fits: Sequence[Option]) -> list[Notice]:
    best, option = recipes[0], fits[0]
    found = []
    if best.best is None:
        found.append(
            Notice("no-draws", "the law holds no bootstrap draws: nothing is known of how sure this choice is")
        )
    elif best.best < SURE and len(fits) > 1:
        text = f"the laws do not tell the first candidates apart: this one is best with probability {best.best:.2f}"
        text += f" and gives away {best.regret:.3g} nats on average"
        found.append(Notice("not-told-apart", text))
    sizes = sorted({one.model.params for one in fits})
    if len(sizes) > 1 and best.params in (sizes[0], sizes[-1]):
        end = "largest" if best.params == sizes[-1] else "smallest"
        found.append(
            Notice("edge-of-menu", f"the {end} model that this budget can train wins: a menu beyond it may hold better")
        )
    if option.evidence.rows < FEW_ROWS:
        text = f"the law of {option.method.label} rests on {option.evidence.rows} trials{_lent(option.evidence, book)}"
        found.append(Notice("few-rows", text))
    return found


def _lent(evidence: MethodLaw, book: LawBook) -> str:
    """What else the exponents of a law rest on, where another sweep shares them."""
    shared = book.source.get("with")
    if not shared or not evidence.shared:
        return ""
    return f", its exponents on {shared['observations']} of {shared['name']} too"


def _data(best: Recipe, option: Option, budget: float) -> list[Notice]:
    found = []
    left = budget - best.serving_flops - best.flops
    if left > 0.05 * budget and best.epochs is not None:
        text = f"data, not compute, is the limit: {left:.3g} FLOP stay unspent at {best.epochs:.3g} epochs"
        found.append(Notice("data-limited", text))
    if best.epochs is not None and best.epochs > 1 and not isinstance(option.evidence.law, Repeated):
        strong = ", far more than data keep their value for" if best.epochs > EPOCHS else ""
        text = f"{best.epochs:.3g} epochs{strong}: what repeats are worth was measured on pretraining, not here"
        found.append(Notice("repeated-data", text))
    return found


def _repeats(book: LawBook, best: Recipe, data: str | None) -> list[Notice]:
    """Without --max-pairs the tokens are taken as fresh; the data that the law was measured on may be fewer."""
    unique = book.source.get("unique_tokens")
    if data or best.epochs is not None or not unique or best.tokens <= unique:
        return []
    passes = f"{best.tokens / unique:.3g} passes over the pairs that the law was measured on"
    text = (
        f"the recipe makes {passes}, and its loss holds for fresh ones: bring more, or count repeats with --max-pairs"
    )
    return [Notice("repeated-data", text)]


def _time(best: Recipe) -> list[Notice]:
    if best.hours is None or best.hours * 3600 / best.trial.steps >= SHORTEST_STEP:
        return []
    each = best.hours * 3.6e6 / best.trial.steps
    text = (
        f"a step of {best.trial.training.batch_size} pairs would take {each:.2g} ms: too little work for this machine"
    )
    return [Notice("short-steps", f"{text}, which will take longer than is said here")]


def provenance(book: LawBook, best: Recipe, option: Option, machine: Machine | None, count: str) -> dict[str, str]:
    """Part of the answer -> where it comes from."""
    evidence, source = option.evidence, book.source.get("name", "a sweep")
    seen = "measured here" if best.reach.measured else str(best.reach)
    found = {
        "loss": f"{evidence.family} law of {evidence.label}, {evidence.rows} trials of {source}; {seen}",
        "choice": f"lowest predicted loss among the candidates; paired bootstrap draws: {len(evidence.draws)}",
        "learning_rate": best.lr_source,
        "batch_size, temperature": "the conditions that the law was measured under",
        "tokens": f"{count} FLOPs of this shape; {option.pair.tokens:.4g} real tokens a pair of {_data_name(book)}",
        "memory": "estimated from the shape (Korthikanti et al. 2022)",
    }
    if shared := book.source.get("with"):
        found["exponents"] = (
            f"{', '.join(shared['shared'])} shared with {shared['observations']} trials of {shared['name']}; "
            f"{', '.join(shared['own'])} from {source} alone"
        )
    if option.limits.max_pairs < math.inf and not isinstance(evidence.law, Repeated):
        found["repeated data"] = "published: Muennighoff et al. 2023, R* = 15.4, pretraining"
    if machine:
        found["hours"] = machine.origin(option.model, option.method)
    return found


def _data_name(book: LawBook) -> str:
    return book.training.data if book.training else "the sweep's data"
