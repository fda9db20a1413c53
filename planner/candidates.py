"""What there is to choose from: every model with every measured method, what it costs and what it would reach."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from planner.budget import BatchMemory, Budget, fastest, fit_batch
from planner.discrepancy import carried, drift
from planner.extrapolation import Extrapolation
from planner.frontier import ranked
from planner.law_book import LawBook, MethodLaw
from planner.laws import worth
from planner.menu import suite_of
from planner.quantities import short
from sweeps.flops import FLOPS, Work, exact_flops, forward_flops
from sweeps.machine.hardware import Machine
from sweeps.methods import Method
from sweeps.models import ModelSpec

# Passes after the first that keep most of their value; fitted to pretraining (Muennighoff et al. 2023, appendix A).
PUBLISHED_REPEATS = 15.387756
REASONS = 3  # for which candidates are refused; an error names so many
ENOUGH_STEPS = 1000  # a published batch is halved down to so many, its pairs counting as they were
MOST_EPOCHS = 4.0  # up to which repeated data are nearly worth fresh ones (Muennighoff et al. 2023, abstract)


@dataclass(frozen=True)
class Limits:
    """What a plan must respect."""

    min_steps: int = 50
    """Optimiser steps of training, 1 or more, below which the laws do not hold; smaller trainings are refused."""
    max_steps: int = 1_000_000
    """Optimiser steps of training at most; longer trainings, which nobody would run, are refused."""
    max_params: float = math.inf
    """Largest N: parameters outside the embedding tables. Larger models are refused."""
    max_dim: float = math.inf
    """Largest width of the vectors, dimensions. Models with wider ones are refused."""
    memory: float = math.inf
    """Bytes of one chip. A batch that does not fit goes through in micro-batches, which costs a second forward."""
    max_pairs: float = math.inf
    """Unique training pairs; passes after the first are worth less than fresh pairs."""
    max_epochs: float | None = None
    """Largest number of passes over those pairs; training ends there, whatever the budget. None: 4, the number up to
    which repeated data keep their value, where `max_pairs` is given."""
    serve_tokens: float = 0.0
    """Tokens to be embedded in the life of the model; their FLOPs come out of the same budget."""

    def __post_init__(self) -> None:
        if self.min_steps < 1:
            raise ValueError(f"`min_steps` is {self.min_steps!r}; it must be 1 or more")
        if self.max_steps < self.min_steps:
            raise ValueError(f"`max_steps` is {self.max_steps!r}; it must be `min_steps` ({self.min_steps}) or more")
        if self.max_epochs is not None and self.max_pairs == math.inf:
            raise ValueError(f"`max_epochs` is {self.max_epochs:g}, which needs `max_pairs`, the number of pairs")

    @property
    def epochs(self) -> float:
        """Passes over the unique pairs at most; without end where their number is unknown."""
        if self.max_epochs is not None:
            return self.max_epochs
        return MOST_EPOCHS if self.max_pairs < math.inf else math.inf


@dataclass(frozen=True)
class Refusal:
    """A model with a method that cannot be chosen."""

    model: str
    """Name of the model."""
    method: str
    """Label of the tuning method."""
    reason: str
    """Why it cannot be chosen."""


@dataclass(frozen=True)
class Candidate:
    """One model with one tuning method: what it costs, and the loss that it would reach."""

    model: ModelSpec
    """The pretrained backbone."""
    law: MethodLaw
    """The law of the method, which predicts the loss; carried to the model's suite and to the data."""
    method: Method
    """The tuning method, with its settings."""
    pair: Work
    """Mean pair of what is trained on, and the pairs in a batch."""
    count: str
    """How FLOPs are counted: a key of sweeps.flops.FLOPS."""
    batch: BatchMemory
    """How a batch goes through the memory of a chip."""
    limits: Limits
    """What the plan must respect."""
    law_step_tokens: float
    """What a step counts as, in tokens of the runs that the law is of: its pairs where the law knows batch sizes; else
    one of its steps, and of a smaller batch its share of one."""
    kin: tuple[MethodLaw, ...]
    """The laws of this method with any settings, `law` among them."""
    unseen: tuple[str, ...] = ()
    """Names of the suite and of the data, where the laws have not seen them."""
    ways: tuple[BatchMemory, ...] = ()
    """All ways in which a batch could go through it; `on_machine` takes the fastest."""
    step_seconds: float | None = None
    """Seconds of an optimiser step on the machine; None without one."""
    whole_steps: bool = False
    """Whether the last step must end within the budget, as in one of time; else the nearest whole number is taken."""
    sizes: tuple[Candidate, ...] = ()
    """The same with every batch size that may be chosen, ascending; empty where the batch size is given."""
    relative_speed: float = 1.0
    """FLOPs that the machine makes of this candidate in the time of one FLOP of the budget; 1 for budgets of FLOPs."""

    @property
    def batch_size(self) -> int:
        """B: text pairs in a step."""
        return self.pair.batch_size

    @property
    def borrows(self) -> bool:
        """Whether the law is of another method: the same with its backbone in more bits."""
        return self.method.name != self.law.settings["name"]

    @cached_property
    def exact_pair_flops(self) -> float:
        """Training FLOPs of a pair by the exact count."""
        return exact_flops(self.model, self.method, self.pair, self.batch.repeated)

    @cached_property
    def pair_flops(self) -> float:
        """Training FLOPs of a pair by the count in use."""
        return self.exact_pair_flops if self.count == "exact" else FLOPS[self.count](self.model, self.method, self.pair)

    @cached_property
    def rate(self) -> float:
        """FLOPs a second on the machine, by the count in use."""
        assert self.step_seconds  # `on_machine` has been asked
        return self.pair_flops * self.batch_size / self.step_seconds

    @cached_property
    def serving(self) -> float:
        """FLOPs of embedding `serve_tokens`; adapters are merged by then."""
        return forward_flops(self.model, self.pair.times(self.limits.serve_tokens / self.pair.tokens))

    @cached_property
    def params(self) -> int:
        """N."""
        return self.model.params

    @cached_property
    def unique_tokens(self) -> float:
        """U: tokens of the unique pairs, as the law counts them."""
        return self.limits.max_pairs / self.batch_size * self.law_step_tokens

    @cached_property
    def trained_share(self) -> float:
        """S: share of the parameters that is trained; adapters larger than their backbone count as all of it."""
        return min(1.0, self.method.trainable(self.model) / self.params)

    @cached_property
    def epoch_steps(self) -> float:
        """Whole optimiser steps that the allowed epochs hold."""
        steps = self.limits.max_pairs * self.limits.epochs / self.batch_size
        return math.floor(steps) if steps < math.inf else steps

    @property
    def lacks_pairs(self) -> bool:
        """Whether the allowed epochs hold fewer steps than a training needs."""
        return self.epoch_steps < self.limits.min_steps

    def at(self, budget: float) -> Candidate:
        """The candidate with the batch size that it would have at this budget."""
        if not self.sizes:
            return self
        return self._at_best(budget) if self.law.batch else self._of_enough_steps(budget)

    def _of_enough_steps(self, budget: float) -> Candidate:
        """With the batch of the laws, or the largest of the smaller ones that makes ENOUGH_STEPS."""
        if self.refusal(budget) or self.steps(budget) >= ENOUGH_STEPS:
            return self
        enough = [each for each in self.sizes if each.steps(budget) >= ENOUGH_STEPS]
        return enough[-1] if enough else self.sizes[0]

    def _at_best(self, budget: float) -> Candidate:
        """With the batch size of the lowest loss, of those whose steps are allowed.

        Losses have one valley along the batch sizes: it is gone down from where the budget meets B*.
        """
        assert self.law.batch
        last, best = len(self.sizes) - 1, self.law.batch.best(max(self.tokens(budget), 1.0))
        place = 0
        while place < last and self.sizes[place + 1].batch_size <= best:
            place += 1
        while place > 0 and self.sizes[place].steps(budget) < self.limits.min_steps:
            place -= 1
        while place < last and self.sizes[place].steps(budget) > self.limits.max_steps:
            place += 1
        while place < last and self._better(budget, place + 1, place):
            place += 1
        while place > 0 and self._better(budget, place - 1, place):
            place -= 1
        return self.sizes[place]

    def _better(self, budget: float, one: int, other: int) -> bool:
        """Whether one batch size can be trained with the budget and reaches a lower loss than the other."""
        first, second = self.sizes[one], self.sizes[other]
        if first.refusal(budget):
            return False
        return first.loss(first.tokens(budget)) < second.loss(second.tokens(budget))

    def affordable_steps(self, budget: float) -> float:
        """Optimiser steps that the budget buys, fractions included."""
        return (self.relative_speed * budget - self.serving) / (self.pair_flops * self.batch_size)

    def steps(self, budget: float) -> int:
        """Whole optimiser steps: to the nearest, as sweeps count them, and never beyond the allowed epochs."""
        affordable = self.affordable_steps(budget)
        return int(min(math.floor(affordable) if self.whole_steps else round(affordable), self.epoch_steps))

    def tokens(self, budget: float) -> float:
        """D: what the budget buys before rounding to whole steps, cut at the allowed epochs.

        Where the law knows what batch size is worth, pairs count as its own, of whatever length. Else steps of a larger
        batch, another context or other data than the law's count as its own: a law fitted to batches of 1,024 short
        pairs predicts batches of 2,048 long ones by steps, not by tokens (Ziarko et al. 2024, appendix G). Steps of a
        smaller batch count for their share of the pairs.
        """
        return min(self.affordable_steps(budget), self.epoch_steps) * self.law_step_tokens

    def least_flops(self) -> float:
        """FLOPs of `min_steps` steps and of serving."""
        return self.serving + self.limits.min_steps * self.batch_size * self.pair_flops

    def refusal(self, budget: float) -> str:
        """Why this budget cannot train the candidate; empty when it can."""
        if self.relative_speed * budget <= self.serving:
            return f"serving {short(self.limits.serve_tokens)} tokens takes {self.serving:.3g} FLOP, all of the budget"
        steps = self.steps(budget)
        if steps > self.limits.max_steps:
            return f"{steps:,} steps of {self.batch_size:,} pairs, over the maximum of {self.limits.max_steps:,}"
        if steps >= self.limits.min_steps:
            return ""
        if self.lacks_pairs:
            return f"the allowed epochs over {short(self.limits.max_pairs)} pairs give {self.epoch_steps:.0f} steps"
        return f"{steps} steps, under the minimum of {self.limits.min_steps}; needs {self.least_flops():.3g} FLOP"

    def inputs(self, tokens: float) -> tuple[float, float, float, float]:
        """N, D, S, U as Law.at takes them; laws that do not know repetition get what the tokens are worth."""
        unique = self.unique_tokens
        if "U" not in self.law.law.inputs and tokens > unique:
            tokens, unique = worth(tokens, unique, PUBLISHED_REPEATS), math.inf
        return self.params, tokens, self.trained_share, unique

    def arguments(self, tokens: float) -> tuple[float, ...]:
        """Those of `inputs` that this candidate's law takes, picked once and not for every bootstrap draw."""
        given = dict(zip("NDSU", self.inputs(tokens), strict=True))
        return tuple(given[name] for name in self.law.law.inputs)

    def loss(self, tokens: float) -> float:
        return self.law.law.loss(*self.arguments(tokens))

    def expected_loss(self, tokens: float) -> float:
        """Geometric mean of the draws' losses, nats per pair; the law's own without draws."""
        laws, given = self.law.draws, self.arguments(tokens)
        if not laws:
            return self.law.law.loss(*given)
        drift = self.drift(tokens)
        logs = sum([math.log(law.loss(*given)) for law in laws]) + sum([math.log(factor) for factor in drift])
        return math.exp(logs / len(laws))

    def extrapolation(self, tokens: float) -> Extrapolation:
        """How far training on so many tokens, as the law counts them, lies beyond what the law was measured on."""
        return Extrapolation.of(self.exact_spent(tokens), self.params, tokens, self.law, self.unseen)

    def drift(self, tokens: float) -> tuple[float, ...]:
        """By what the loss of each draw is multiplied for the distance from the law's range; empty within it."""
        return drift(self.law, self.exact_spent(tokens), self.params, tokens)

    def exact_spent(self, tokens: float) -> float:
        """Training FLOPs by the exact count of so many tokens, as the law counts them."""
        return tokens / self.law_step_tokens * self.batch_size * self.exact_pair_flops


def candidates(
    book: LawBook,
    models: Iterable[ModelSpec],
    methods: Sequence[str],
    limits: Limits,
    count: str = "exact",
    chips: int = 1,
    mixed: bool = False,
    pair: Work | None = None,
    context: int = 0,
    data: str = "",
    sizes: Sequence[int] = (),
) -> tuple[list[Candidate], list[Refusal]]:
    """Every model with every method of the laws that `methods` names (all when empty); and those that cannot be.

    chips: how many share a batch. mixed: whether products run in 16 bits. pair, context, data: of what is trained on,
    where it is not what the laws were measured on. sizes: of the batch, ascending, to choose from where a law knows
    what they are worth, or where few steps would be made of a published one; else it is that of `pair`.
    """
    assert book.pair and book.training  # `plan` has checked that the laws are of our own sweeps
    pair, context = pair or book.pair, context or book.training.context
    possible, refused = [], []
    for law in book.laws:
        kin = kin_of(book, law)
        known: dict[tuple[str, int], MethodLaw] = {}
        own = sizes if law.batch else _smaller(sizes, pair.batch_size) if book.published else ()
        roomy: list[str] = []  # models that the law's own method can tune in this memory, or could if it were larger
        for method in tunings(law, methods):
            for model in models:
                if method != law.method and model.name in roomy:
                    continue
                ways = _ways(model, method, pair, context, limits, mixed, chips)
                reason = method.refusal(model) or _too_short(model, context) or _too_large(model, limits)
                if ways or reason:
                    roomy.append(model.name)
                if reason or not ways:
                    refused.append(Refusal(model.name, method.label, reason or _no_room(limits)))
                    continue
                suite, other = unseen_of(book, model, data)
                unseen = tuple(name for name in (suite, other) if name)
                made = []
                for size in (pair.batch_size, *own):
                    if (suite, size) not in known:
                        known[suite, size] = carried(law, suite, other).at_batch(size)
                    here = replace(pair, batch_size=size)
                    ways = _ways(model, method, here, context, limits, mixed, chips)
                    step, here_law = _law_step_tokens(book, law, size), known[suite, size]
                    made.append(
                        Candidate(model, here_law, method, here, count, ways[0], limits, step, kin, unseen, ways)
                    )
                possible.append(replace(made[0], sizes=tuple(made[1:])))
    return possible, refused


def _smaller(sizes: Sequence[int], most: int) -> Sequence[int]:
    return [size for size in sizes if size < most]


def _ways(
    model: ModelSpec, method: Method, pair: Work, context: int, limits: Limits, mixed: bool, chips: int
) -> tuple[BatchMemory, ...]:
    """The ways in which a batch of such pairs goes through the memory of the chips that share it."""
    return fit_batch(model, method, pair.batch_size * pair.tokens / chips, context, limits.memory, mixed, chips)


def _law_step_tokens(book: LawBook, law: MethodLaw, size: int) -> float:
    """What a step of so many pairs counts as, in tokens of the runs that the law is of.

    A law that knows batch sizes counts pairs. To others a larger batch counts as one of theirs; a smaller one does not
    learn as much in a step: its pairs count, not its steps.
    """
    assert book.pair
    return (size if law.batch else min(size, book.pair.batch_size)) * book.pair.tokens


def tunings(law: MethodLaw, names: Sequence[str]) -> list[Method]:
    """The methods that a law speaks for and `names` names (all when empty): its own, and then the same over a backbone
    in 4 bits, for models that its own has no room for."""
    every = [law.method, law.method.quantized()]
    return [method for method in every if method is not None and (not names or method.name in names)]


def kin_of(book: LawBook, law: MethodLaw) -> tuple[MethodLaw, ...]:
    """The laws of the same method with any settings, `law` among them."""
    return tuple(other for other in book.laws if other.settings["name"] == law.settings["name"])


def unseen_of(book: LawBook, model: ModelSpec, data: str) -> tuple[str, str]:
    """Names of the model's suite and of the data, where the laws have not seen them; "" where they have."""
    suite = suite_of(model.name)
    seen = model.name in book.models or (suite != "" and suite in [suite_of(name) for name in book.models])
    other = data if data and book.training and data != book.training.data else ""
    return "" if seen else suite or model.name, other


def _too_short(model: ModelSpec, context: int) -> str:
    return (
        f"reads at most {model.context} tokens, fewer than the context of {context}" if model.context < context else ""
    )


def too_many(params: float, most: float) -> str:
    """Why a size is larger than allowed; empty where it is not."""
    return f"N is {short(params)}, over the limit of {short(most)} parameters" if params > most else ""


def _too_large(model: ModelSpec, limits: Limits) -> str:
    if reason := too_many(model.params, limits.max_params):
        return reason
    if model.width > limits.max_dim:
        return f"its vectors have {model.width} dimensions, over the limit of {limits.max_dim:g}"
    return ""


def _no_room(limits: Limits) -> str:
    return f"a single text does not fit in {limits.memory / 1e9:.3g} GB"


def on_machine(possible: Sequence[Candidate], machine: Machine | None) -> list[Candidate]:
    """The candidates with the time that a step of each takes on the machine, in the way that is fastest there."""
    return [_fastest(candidate, machine) for candidate in possible] if machine else list(possible)


def _fastest(candidate: Candidate, machine: Machine) -> Candidate:
    seconds = [_step_seconds(candidate, way, machine) for way in candidate.ways]
    best = fastest(seconds)
    sizes = tuple([_fastest(each, machine) for each in candidate.sizes])
    return replace(candidate, batch=candidate.ways[best], step_seconds=seconds[best], sizes=sizes)


def _step_seconds(candidate: Candidate, way: BatchMemory, machine: Machine) -> float:
    model, method, pair = candidate.model, candidate.method, candidate.pair
    return machine.step_seconds(model, method, pair, way.repeated, way.pass_tokens, way.sharded)


def timed(possible: Sequence[Candidate], budget: Budget, machine: Machine | None) -> list[Candidate]:
    """The candidates at their speed on the machine: in a budget of time, the faster ones make more FLOPs."""
    if machine is None or budget.kind == "flops":
        return list(possible)
    return [_at_speed(candidate, machine) for candidate in possible]


def _at_speed(candidate: Candidate, machine: Machine) -> Candidate:
    sizes = tuple([_at_speed(each, machine) for each in candidate.sizes])
    return replace(candidate, relative_speed=candidate.rate / machine.rate, whole_steps=True, sizes=sizes)


def feasible(possible: Sequence[Candidate], budget: float) -> tuple[list[Candidate], list[Refusal]]:
    """The candidates that this budget can train, lowest predicted loss first, and the others with the reason."""
    others = [
        Refusal(candidate.model.name, candidate.method.label, reason)
        for candidate in possible
        if (reason := candidate.at(budget).refusal(budget))
    ]
    return ranked(possible, budget), others


def reasons_against(refused: Sequence[Refusal]) -> str:
    """Why nothing is left: the first REASONS reasons, each with the first model that it refuses."""
    reasons: list[str] = []
    told: list[str] = []
    for refusal in refused:
        if refusal.reason not in reasons:
            reasons.append(refusal.reason)
            told.append(f"{refusal.model} with {refusal.method}: {refusal.reason}")
    more = f"; and {len(told) - REASONS} more" if len(told) > REASONS else ""
    return f"{'; '.join(told[:REASONS])}{more}"
