"""What draws of laws would choose at a budget, and how much they leave open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.fitting.published.draws import Draws
from analysis.tables.rows import Array

NEARLY_ALL = 0.9  # of the draws: the choices that hold so many together are called likely


@dataclass(frozen=True)
class Choice:
    """A setting of a group on a model."""

    group: str
    """Name of the group."""
    member: str
    """What the facts call the setting."""
    label: str
    """The method's label, as laws and plans print it."""
    model: str
    """Name of the model."""


def losses_at(draws: Draws, budget: float) -> tuple[list[Choice], Array]:
    """Everything that a budget can train of the menu, and its log losses [draws, choices]."""
    choices, columns = [], []
    for name, group in draws.groups.items():
        for member, method in group.members.items():
            models = [model.name for model in draws.grid.menu if not method.refusal(model)]
            losses = draws.laws[name].log_losses(draws.grid.beyond(method, [budget]), member)[:, 0]
            for place in np.flatnonzero(np.isfinite(losses[0])):
                choices.append(Choice(name, member, method.label, models[place]))
                columns.append(losses[:, place])
    if not choices:
        raise ValueError(f"{budget:.3g} FLOP can train none of {', '.join(model.name for model in draws.grid.menu)}")
    return choices, np.stack(columns, axis=1)


def odds_at(draws: Draws, budget: float) -> dict[Choice, float]:
    """Choice -> share of the draws in which it has the lowest loss; most likely first, without those of 0."""
    choices, losses = losses_at(draws, budget)
    wins = np.bincount(losses.argmin(axis=1), minlength=len(choices)) / len(draws)
    return {choices[place]: float(wins[place]) for place in np.argsort(-wins, kind="stable") if wins[place] > 0}


def likely(odds: Mapping[Choice, float], share: float = NEARLY_ALL) -> list[Choice]:
    """The fewest choices that together hold this share of the draws, most likely first."""
    chosen, held = [], 0.0
    for choice, chance in odds.items():
        if held >= share - 1e-12:
            break
        chosen.append(choice)
        held += chance
    return chosen


def alternatives(odds: Mapping[Choice, float]) -> float:
    """How many equally likely choices would leave as much open (the exponential of the entropy)."""
    return math.exp(-sum(chance * math.log(chance) for chance in odds.values()))


def by_group(odds: Mapping[Choice, float]) -> dict[str, float]:
    """Group -> probability that one of its choices is the best."""
    shares: dict[str, float] = {}
    for choice, chance in odds.items():
        shares[choice.group] = shares.get(choice.group, 0.0) + chance
    return shares
