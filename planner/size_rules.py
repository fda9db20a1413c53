"""Which rule chooses a model's size: the law, or isoFLOP minima carried on, where those were shown to choose better.

`fit` lets both choose at budgets that neither has seen and measures the regret of each
(analysis/fitting/decisions.py). MethodLaw.isoflop holds the "verdict" over all methods that are compared, and the
"line" N*(C) through the method's minima, with its draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from planner.candidates import Candidate
from planner.frontier import Odds
from planner.law_book import Caveat, MethodLaw
from planner.quantiles import quantile
from planner.quantities import short

FEWEST = 6  # decisions in which one rule must have had the lower mean regret to be called the better one
FOLLOWED = 2.0  # standard errors by which isoFLOP minima must be better than the law to choose in its place
BEYOND = 10.0  # times beyond the largest minimum that their line is followed: decisions were tested up to about there
TRUST = 4.0  # ratio of the ends of its 90 % interval up to which N* says which size to take

Ranked = Sequence[tuple[Candidate, Odds | None]]


@dataclass(frozen=True)
class SizeRule:
    """What isoFLOP minima carried on say of the size of the answer, where they chose better than the law."""

    params: float
    """N* of the method at the budget: parameters outside the embedding tables."""
    low: float
    """Lower end of its 90 % interval."""
    high: float
    """Upper end of it."""
    model: str
    """The model nearest to N*, of those that the budget can train with the method; empty where any size can be had."""
    law_model: str
    """What the law would choose: a model, or a size in words."""
    decisions: int
    """Decisions at larger budgets in which both rules were tried."""
    given_away: float
    """Mean regret of isoFLOP minima in them, as a share of the loss."""
    law_given_away: float
    """Mean regret of the law, as a share of the loss."""
    law_worst: float
    """The largest regret of the law in one of them, as a share of the loss."""
    error: float
    """Standard error of the difference."""
    doubt: str
    """Why the law chooses all the same; empty where the minima do."""

    @property
    def chooses(self) -> bool:
        """Whether the answer's size is theirs."""
        return not self.doubt

    def to_json(self) -> dict[str, Any]:
        """Its fields, and whether it chooses."""
        return {**asdict(self), "chooses": self.chooses}

    @property
    def record(self) -> str:
        """Their regret, in words."""
        return (
            f"in {self.decisions} decisions at larger budgets extrapolated isoFLOP minima had a mean regret of "
            f"{100 * self.given_away:.2g} % of the loss, the law {100 * self.law_given_away:.2g} %"
        )

    def __str__(self) -> str:
        size = f"N {short(self.params)} (90 %: {short(self.low)} to {short(self.high)})"
        if self.chooses:
            other = "the law agrees" if self.model == self.law_model else f"the law would choose {self.law_model}"
            return f"size by isoFLOP minima, {size}; {other}; {self.record}"
        model = "the same model, " if self.model == self.law_model else f"{self.model}, " if self.model else ""
        return f"{self.record}; they would choose {model}{size}; the law is used: {self.doubt}"


def heard(law: MethodLaw, flops: float) -> SizeRule | None:
    """What a method's isoFLOP minima say of its size at so many training FLOPs by the exact count.

    None where their regret was not lower than the law's by one standard error, or they are too few to extrapolate.
    """
    told, line = law.isoflop.get("verdict"), law.isoflop.get("line")
    if not told or not line or told["decisions"] < FEWEST or told["gap"] <= told["error"]:
        return None
    low, middle, high = _carried(line, flops)
    doubt = ""
    if told["gap"] <= FOLLOWED * told["error"]:
        doubt = f"the difference is less than {FOLLOWED:g} standard errors"
    elif flops > BEYOND * line["largest"]:
        doubt = f"the budget lies {flops / line['largest']:.2g} times beyond the largest minimum"
    elif high > TRUST * low:
        doubt = "their interval is too wide"
    shares = told["given_away"]
    worst, error = told["worst"]["law"], told["error"]
    return SizeRule(middle, low, high, "", "", told["decisions"], shares["isoflop"], shares["law"], worst, error, doubt)


def contradicted(rule: SizeRule, share: float) -> SizeRule:
    """The rule, in doubt where, by the law, its size has a larger regret than the law's own choices ever had."""
    if rule.doubt or share <= rule.law_worst:
        return rule
    told = f"by the law their regret is {100 * share:.2g} %; its own was never above {100 * rule.law_worst:.2g} %"
    return replace(rule, doubt=told)


def size_rule(ranked: Ranked, budget: float) -> SizeRule | None:
    """What isoFLOP minima say of the size of the first candidate, at a budget in FLOPs of the machine's usual rate.

    None as in `heard`.
    """
    first = ranked[0][0]
    tokens = first.tokens(budget)
    rule = heard(first.law, first.exact_spent(tokens))
    if rule is None:
        return None
    middle, alike = rule.params, [each for each, _ in ranked if _alike(each, first)]
    nearest = min(alike, key=lambda each: abs(math.log(each.params / middle)))
    doubt = rule.doubt
    if not doubt and first.unseen:
        doubt = f"{first.unseen[0]} was not measured"
    elif not doubt and tokens < first.affordable_steps(budget) * first.law_step_tokens:
        doubt = "the number of pairs, not the budget, ends the training"
    share = nearest.expected_loss(nearest.tokens(budget)) / first.expected_loss(tokens) - 1
    return contradicted(replace(rule, model=nearest.model.name, law_model=first.model.name, doubt=doubt), share)


def _alike(one: Candidate, other: Candidate) -> bool:
    """Whether both are tuned by the same method."""
    return one.law.label == other.law.label and one.method.label == other.method.label


def _carried(line: Mapping[str, Any], flops: float) -> tuple[float, float, float]:
    """Lower end, middle and upper end of N*, with its 90 % interval, at so many FLOPs."""
    away = math.log(flops / line["budget"])
    pairs = zip(line["draws"]["log_params"], line["draws"]["exponent"], strict=True)
    logs = sorted([height + slope * away for height, slope in pairs])
    middle = line["log_params"] + line["exponent"] * away
    return (
        math.exp(min(quantile(logs, 0.05), middle)),
        math.exp(middle),
        math.exp(max(quantile(logs, 0.95), middle)),
    )


def led_by(rule: SizeRule | None, ranked: Ranked) -> Ranked:
    """The candidates, that of the first one's method and of the rule's model moved to the front where it chooses."""
    if rule is None or rule.doubt or rule.model == rule.law_model:
        return ranked
    first = ranked[0][0]
    places = [i for i, pair in enumerate(ranked) if pair[0].model.name == rule.model and _alike(pair[0], first)]
    return [ranked[places[0]], *[pair for i, pair in enumerate(ranked) if i != places[0]]]


def size_caveat(rule: SizeRule | None) -> tuple[Caveat, ...]:
    """What a reader must know where the two rules would take different sizes."""
    differ = rule is not None and rule.model != rule.law_model
    return (Caveat("size-rule", str(rule)),) if differ else ()
