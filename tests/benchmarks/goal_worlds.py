"""Worlds of known losses for `bench_goal.py`: grids that were measured, and laws that are bent."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from analysis.goal.evidence import Place, pairs_of
from analysis.goal.pursuit import Aim, Pursuit
from analysis.tables.sweep_table import read_observations
from planner.candidates import Candidate, Limits
from planner.evidence import shipped
from planner.law_book import LawBook
from planner.law_file import read_laws
from planner.laws import scaled
from sweeps.flops import Work
from sweeps.methods import Method
from sweeps.models import find_model
from sweeps.trial import Observation

RESULTS = Path(__file__).resolve().parents[2] / "results"
LISTED = {"full": (1e-3, 3e-3), "lora": (3e-3, 1e-2), "freeze": (3e-3, 1e-2), "bias": (1e-2, 3e-2)}
WRONG_BY = 2.0  # factors of the wrong laws are off by so much
BEND = 0.1  # sd of the log loss for the square of a decade of D
TILT, LEVEL = 0.15, 0.15  # sd of a method's own slope of the log loss for a decade of N, and of its level
OFF_RATE = 0.05  # of the log loss, for a rate beyond those tried by a factor of 3


def _named(*tables: tuple[str, float]) -> dict[str, tuple[str, float]]:
    """Folders of results/ and goals, by the name of their world."""
    return {f"{folder.split('/')[0]}-{goal:.3g}": (folder, goal) for folder, goal in tables}


TABLES = _named(
    ("reference", 3.2e12), ("reference", 6.4e12), ("reference", 2e13), ("dense", 8e11), ("language/dense", 1.6e12)
)
FRESH = _named(  # whose regrets nothing was tuned by
    ("language/dense", 8e11), ("language/dense", 3.2e12), ("reference", 1.28e13), ("bracket", 3.2e12)
)
WRONG, BENT = "wrong-3.2e+12", "bent-6.4e+12"


@dataclass(frozen=True, eq=False)
class Grid:
    """Where trials can be, what they cost and what is believed before any: the same in every repetition."""

    goal: float
    """Budget of the goal, FLOPs."""
    pairs: tuple[Candidate, ...]
    """Every model with every method."""
    places: tuple[Place, ...]
    """The cells that were measured."""
    noise: float
    """Sd of the log loss between seeds."""
    flops: np.ndarray
    """Of a trial at each place, alone [places]."""
    steps: np.ndarray
    """Optimiser steps of each [places]."""
    full: float
    """FLOPs of the whole grid, searches included."""
    off: Mapping[int, Mapping[float, float]]
    """By pair and rate, by how much the log loss lies above that of the best."""
    halfway: Mapping[int, Mapping[float, float]]
    """By pair and rate, by how much the log of the training loss at half of the steps lies above that of the best."""

    @cache  # noqa: B019 - as many as there are shares
    def pursuit(self, share: float) -> Pursuit:
        """What is pursued with a share of the whole grid's FLOPs; all of it is spent."""
        return Pursuit(
            aim=Aim(self.goal, share * self.full, 0.0, together=4, thrift=0.0),
            pairs=self.pairs,
            open_places=self.places,
            flops=self.flops,
            steps=self.steps,
            shared=np.floor(20 + 0.7 * (self.steps - 20)),  # warm-up of 20 steps, cooldown of 30 %
            searched={i: LISTED[pair.method.name] for i, pair in enumerate(self.pairs)},
            among=tuple(sorted(place.pair for place in self.places if place.budget == self.goal)),
        )


@dataclass(frozen=True)
class World:
    """A grid with the losses that are true of it."""

    grid: Grid
    """Its cells."""
    truth: Mapping[Place, float]
    """ln loss at the best rate."""

    def measure(self, place: Place, lr: float, chance: np.random.Generator) -> float:
        """ln loss of a trial with this rate."""
        rates = self.grid.off[place.pair]
        logs = np.log(sorted(rates))
        beyond = max(logs[0] - math.log(lr), math.log(lr) - logs[-1], 0) / math.log(3)
        off = float(np.interp(math.log(lr), logs, [rates[rate] for rate in sorted(rates)])) + OFF_RATE * beyond**2
        return self.truth[place] + off + self.grid.noise * chance.normal()

    @cached_property
    def at_goal(self) -> dict[int, float]:
        """Pair -> ln loss at the goal."""
        return {place.pair: loss for place, loss in self.truth.items() if place.budget == self.grid.goal}

    def regret(self, pair: int) -> float:
        """Share of the loss given away by a candidate."""
        return math.exp(self.at_goal.get(pair, math.inf) - min(self.at_goal.values())) - 1


def observed(name: str) -> list[Observation]:
    """The observations of a folder of results/."""
    found, caveats = read_observations(RESULTS / name / "observations.jsonl")
    assert not caveats, caveats
    return found


def log_at_half(row: Observation) -> float:
    """ln of the mean training loss in the steps before the half of a trial, an eighth of all."""
    own = [loss for step, _, loss in row.curve if 0.375 < step / row.trial.steps <= 0.5]
    return math.log(float(np.mean(own))) if own else math.nan


def methods_of(rows: Sequence[Observation]) -> list[Method]:
    labels = {row.trial.method.label: row.trial.method for row in rows}
    return [labels[label] for label in sorted(labels)]


def table(name: str, goal: float, book: LawBook, seen: bool = False) -> World:
    """A results folder as a table of losses. seen: whether its data are those of the book."""
    rows = [row for row in observed(name) if row.trial.budget <= goal]
    losses: dict[tuple[str, str, float], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    halves: dict[tuple[str, str, float], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    of: dict[tuple[str, str, float], Observation] = {}
    for row in rows:
        key = (row.trial.model, row.trial.method.label, row.trial.budget)
        losses[key][row.trial.lr].append(math.log(row.loss))
        halves[key][row.trial.lr].append(log_at_half(row))
        of[key] = row
    models = sorted({row.trial.model for row in rows}, key=lambda model: find_model(model).params)
    data = json.loads((RESULTS / name / "data.json").read_text())
    training = rows[0].trial.training
    pair = Work(1, data["tokens"], data["squares"], training.batch_size)
    limits = Limits(max_pairs=data["train_pairs"], max_epochs=2.0)
    found = [replace(find_model(model), name=model) for model in models]
    named = "" if seen else training.data
    pairs = pairs_of(book, found, methods_of(rows), limits, "exact", pair, training.context, named)
    number = {(each.model.name, each.method.label): i for i, each in enumerate(pairs)}
    keys = sorted((key for key in losses if key[:2] in number), key=lambda key: (number[key[:2]], key[2]))
    best = {key: min(float(np.mean(logs)) for logs in losses[key].values()) for key in keys}
    off: dict[int, dict[float, float]] = {}
    halfway: dict[int, dict[float, float]] = {}
    for key in sorted(keys, key=lambda key: len(losses[key])):  # the place with most rates tells
        tried = {lr: float(np.mean(logs)) for lr, logs in losses[key].items()}
        off[number[key[:2]]] = {lr: loss - min(tried.values()) for lr, loss in tried.items()}
        curves = {lr: float(np.mean(logs)) for lr, logs in halves[key].items()}
        halfway[number[key[:2]]] = {
            lr: log - curves[min(tried, key=lambda lr: tried[lr])] for lr, log in curves.items()
        }
    repeats = [logs for own in losses.values() for logs in own.values() if len(logs) > 1]
    noise = math.sqrt(sum(float(np.var(logs)) * len(logs) for logs in repeats) / sum(len(logs) - 1 for logs in repeats))
    places = {key: Place(number[key[:2]], key[2]) for key in keys}
    grid = Grid(
        goal=goal,
        pairs=tuple(pairs),
        places=tuple(places.values()),
        noise=noise,
        flops=np.array([of[key].flops for key in keys]),
        steps=np.array([float(of[key].trial.steps) for key in keys]),
        full=sum(row.spent_flops for row in rows),
        off=off,
        halfway=halfway,
    )
    return World(grid, {place: best[key] for key, place in places.items()})


def bent(grid: Grid, repetition: int) -> World:
    """A truth drawn from the laws that a grid starts from, bent in D, with methods and checkpoints of their own."""
    chance = np.random.default_rng([7, repetition])
    draw = int(chance.integers(min(len(pair.law.draws) for pair in grid.pairs)))
    bend, models, tuned = chance.normal(0, BEND), chance.normal(0, 0.02, 99), chance.normal(0, 0.02, 999)
    tilts, levels = chance.normal(0, TILT, 99), chance.normal(0, LEVEL, 99)
    names = list(dict.fromkeys(pair.model.name for pair in grid.pairs))
    labels = list(dict.fromkeys(pair.method.label for pair in grid.pairs))
    truth = {}
    for place in grid.places:
        pair = grid.pairs[place.pair]
        tokens = pair.tokens(place.budget)
        loss = math.log(pair.law.draws[draw].loss(*pair.arguments(tokens)))
        loss += bend * math.log10(tokens / 1e6) ** 2 + models[names.index(pair.model.name)] + tuned[place.pair]
        method = labels.index(pair.method.label)
        truth[place] = loss + levels[method] + tilts[method] * math.log10(pair.params / 1e5)
    return World(grid, truth)


def wrong(book: LawBook) -> LawBook:
    """The laws with every factor off by WRONG_BY, up or down in turn, as if of another suite and data."""
    laws = []
    for place, law in enumerate(book.laws):
        draws = []
        for draw in law.draws:
            turns = {name: WRONG_BY ** (1 if (place + i) % 2 else -1) for i, name in enumerate(draw.factors)}
            draws.append(scaled(draw, turns))
        laws.append(replace(law, draws=tuple(draws)))
    return replace(book, laws=tuple(laws), models=("pythia-14m",))


NAMES = (*TABLES, WRONG, BENT)


@cache
def _start(name: str) -> World:
    """A world of NAMES or FRESH as it was measured."""
    if name == WRONG:
        return table("reference", 3.2e12, wrong(read_laws(shipped()["reference"])))
    if name == BENT:
        return table("reference", 6.4e12, read_laws(shipped()["reference"]))
    folder, goal = (TABLES | FRESH)[name]
    return table(folder, goal, read_laws(shipped()["ziarko2024"]))


def world(name: str, repetition: int) -> World:
    """One of NAMES or FRESH in a repetition; only what is bent differs between them."""
    start = _start(name)
    return bent(start.grid, repetition) if name == BENT else start
