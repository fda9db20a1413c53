"""A law book with known coefficients, for the tests of the planner: no fit is needed to know what is right."""

import json
import random
from dataclasses import fields, replace

from planner.law_book import LawBook, MeasuredRange, MethodLaw
from planner.laws import (
    LAWS,
    Chinchilla,
    Joined,
    Law,
    Multiplicative,
    Power,
    Rectified,
    Repeated,
    Tied,
    TrainableShare,
    Weighted,
    family_of,
    mean_law,
    scaled,
)
from support.ladder import NANO
from sweeps.flops import Work, exact_flops
from sweeps.methods import Full, LoRA
from sweeps.trial import Training

TRAINING = Training(batch_size=64, data="python-env", data_hash="abc")
PAIR = Work(1, 78.0, 14.0**2 + 64.0**2, TRAINING.batch_size)
MEASURED = MeasuredRange(flops=(1e11, 1e13), params=(NANO[0].params, NANO[-1].params), tokens=(1e5, 1e8))
EVERYWHERE = MeasuredRange(flops=(1.0, 1e30), params=(1.0, 1e15), tokens=(1.0, 1e25))
FULL = Chinchilla(E=0.5, A=30.0, alpha=0.30, B=400.0, beta=0.36)
LORA = Chinchilla(E=0.5, A=30.0, alpha=0.31, B=480.0, beta=0.36)
_LISTED: list[Law] = [
    Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37),
    Tied(E=0.3, A=50.0, B=300.0, alpha=0.36),
    Multiplicative(E=0.3, A=500.0, alpha=0.2, beta=0.3),
    Power(A=500.0, alpha=0.2, beta=0.3),
    Rectified(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37, D_l=90.0),
    Joined(E=0.3, A=50.0, alpha=0.35, beta=0.37, k=0.7, r=13.0),
    TrainableShare(E=0.3, a_d=0.5, b_d=30.0, alpha=0.35, a_s=100.0, b_s=1.2, c_s=200.0, beta=0.37),
    Repeated(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37, repeats=15.4),
]


def example(family: type[Law]) -> Law:
    """Some coefficients of a family that is not listed: a family is one file."""
    exponents = {item.name: 0.36 for item in fields(family)}
    factors = {name: 0.3 if name == "E" else 50.0 for name in family.factors}
    ranges = {name: (low * high) ** 0.5 for name, (low, high) in family.ranges.items()}
    return family(**{**exponents, **factors, **ranges})


# At least one of each entry in LAWS.
LAW_EXAMPLES = [*_LISTED, *(example(law) for law in LAWS.values() if law not in set(map(type, _LISTED)))]
RATES = {model.name: 5e-3 * (model.params / NANO[0].params) ** -0.25 for model in NANO}


def method_law(law, settings, spread=0.03, draws=100, seed=0, **other) -> MethodLaw:
    """`law` with bootstrap draws whose coefficients scatter by `spread` around it; of a mean, draws of its parts."""
    chance = random.Random(seed)
    parts, weights = (law.parts, law.weights) if isinstance(law, Weighted) else ((law,), (1.0,))
    scattered = tuple(_scattered(part, chance, spread) for part in _taking_turns(parts, weights, draws))
    ends = {family_of(part): {name: _around(x, spread) for name, x in part.coefficients.items()} for part in parts}
    scattering = MethodLaw(settings, family_of(law), law, ends, scattered, 0.02, 40, MEASURED)
    return replace(scattering, **{"learning_rates": RATES, "rates_batch": TRAINING.batch_size, **other})


def _around(value, spread):
    low, high = sorted((value * (1 - spread), value * (1 + spread)))
    return low, high


def _scattered(law, chance, spread):
    return type(law)(**{name: value * chance.lognormvariate(0, spread) for name, value in law.coefficients.items()})


def _taking_turns(parts, weights, count):
    """So many laws, each as often as its weight says, and any first few nearly so."""
    taken = [0] * len(parts)
    for turn in range(1, count + 1):
        place = max(range(len(parts)), key=lambda i: weights[i] * turn - taken[i])
        taken[place] += 1
        yield parts[place]


def mean_of_three(law: Chinchilla) -> Weighted:
    """A mean whose largest part is `law`, with two families that differ from it away from the middle of the runs."""
    tied = Tied(law.E, law.A, law.B, (law.alpha + law.beta) / 2)
    return Weighted((law, tied, Rectified(**law.coefficients, D_l=40.0)), (0.62, 0.25, 0.13))


def mean_of_some(seed: int, fewest: int = 2, level: float = 1.0) -> Weighted:
    """The mean of some families in N and D, at least so many, with weights by chance; `level` times the losses."""
    chance = random.Random(seed)
    possible = {family_of(law): law for law in LAW_EXAMPLES if law.inputs == Law.inputs}
    names = chance.sample(sorted(possible), chance.randint(min(fewest, len(possible)), len(possible)))
    counts = [chance.uniform(0.05, 1) for _ in names]
    weights = {name: count / sum(counts) for name, count in zip(names, counts, strict=True)}
    mean = mean_law({name: scaled(possible[name], dict.fromkeys("EAB", level)) for name in names}, weights)
    assert isinstance(mean, Weighted)
    return mean


def weighted_book(draws: int = 100) -> LawBook:
    """Laws of two methods, each the mean of three families."""
    return law_book(
        method_law(mean_of_three(FULL), {"name": "full"}, draws=draws, drift=0.02),
        method_law(mean_of_three(LORA), {"name": "lora", "rank": 8, "alpha": 8.0}, draws=draws, seed=1, drift=0.02),
    )


def law_book(*laws: MethodLaw) -> LawBook:
    laws = laws or (
        method_law(FULL, {"name": "full"}),
        method_law(LORA, {"name": "lora", "rank": 8, "alpha": 8.0}, seed=1),
    )
    return LawBook(laws, MEASURED, tuple(model.name for model in NANO), TRAINING, PAIR, {"name": "known"})


def write_laws(path, book=None):
    path.write_text(json.dumps((book or law_book()).to_json()), encoding="utf-8")
    return path


def crossing_laws(spread: float) -> tuple[LawBook, str, float]:
    """Laws that cross where algebra says: LoRA has the lower floor, full tuning the faster start.

    No size is worth its cost: the smallest model is the best of its suite. Returns the laws, whose draws scatter
    by `spread`, the name of that model, and the FLOPs of the crossing.
    """
    full = Chinchilla(E=1.0, A=1e-9, alpha=0.3, B=300.0, beta=0.4)
    lora = Chinchilla(E=0.9, A=1e-9, alpha=0.3, B=500.0, beta=0.4)
    model = NANO[0]
    costs = [exact_flops(model, method, PAIR) / PAIR.tokens for method in (Full(), LoRA(8))]
    crossing = ((lora.B * costs[1] ** 0.4 - full.B * costs[0] ** 0.4) / (full.E - lora.E)) ** (1 / 0.4)
    settings = {"name": "lora", "rank": 8, "alpha": 8.0}
    laws = method_law(full, {"name": "full"}, spread), method_law(lora, settings, spread, seed=1)
    book = law_book(*(replace(law, measured=EVERYWHERE) for law in laws))
    return book, model.name, crossing
