"""What the planner answers: a recipe, the plan around it, the calibration sweep; and their JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from planner.batch_sizes import BatchChoice
from planner.budget import Budget
from planner.candidates import Candidate, Refusal
from planner.evidence import Evidence
from planner.extrapolation import Extrapolation, extrapolation_factor
from planner.frontier import Crossover, crossovers, searched_budgets
from planner.law_book import Caveat, LawBook
from planner.plots import draw_intervals
from planner.published import Fact
from planner.scores import ExpectedScore, expected_scores
from planner.size_rules import SizeRule
from sweeps.machine.utilisation import NODE
from sweeps.support.frames import cell, data_frame, html_table
from sweeps.support.paths import named_in
from sweeps.trial import Trial

FORMAT = 2  # of the JSON document; docs/plan-json.md
SWEEP_FILE = "calibrate.toml"  # the file of a calibration sweep that was given no other name
SURE = 0.9  # probability above which one candidate is said to be best
SHOWN = {  # heading of a table in a notebook -> field of Recipe.row
    "model": "model",
    "method": "method",
    "steps": "steps",
    "learning rate": "lr",
    "loss": "loss",
    "5 %": "low",
    "95 %": "high",
    "best": "best_probability",
    "regret": "expected_regret_share",
}


@dataclass(frozen=True)
class Recipe:
    """A trial and what is predicted of it."""

    trial: Trial
    """What to train: model, tuning method, training conditions, learning rate and optimiser steps."""
    params: int
    """N: parameters outside the embedding tables."""
    dim: int
    """Dimensions of the vectors."""
    tokens: float
    """Real training tokens, repeats counted."""
    epochs: float | None
    """Passes over the unique pairs; None where their number is unknown."""
    flops: float
    """FLOPs of training by the count in use."""
    exact_flops: float
    """FLOPs of training by the exact count."""
    serving_flops: float
    """FLOPs kept back for embedding `Limits.serve_tokens`; 0 without."""
    loss: float | None
    """Expected held-out loss, nats per pair: the geometric mean over the draws. None too far from what was measured."""
    low: float | None
    """Lower end of the 90 % prediction interval of one run, nats per pair; None with the loss."""
    high: float | None
    """Upper end of the 90 % prediction interval of one run, nats per pair; None with the loss."""
    best: float | None
    """Probability, 0 to 1, that this candidate has the lowest expected loss; None without draws and without a loss."""
    regret: float | None
    """Expected regret against the best candidate, nats per pair; None as `best`."""
    share: float | None
    """Expected regret as a share of the loss; None as `best`."""
    lr_source: str
    """Where the learning rate comes from: measured, by a rule, interpolated, published or extrapolated."""
    lr_interval: tuple[float, float] | None
    """90 % interval of the best learning rate; None where no rule tells it."""
    temperature_source: str
    """Where the training temperature comes from: measured, published, default or as asked."""
    batch: BatchChoice
    """Where the batch size comes from, the best one, and the regret against that."""
    memory: float
    """Peak memory of training, bytes per chip."""
    micro_batch_tokens: int
    """Tokens whose activations are held at once, per chip."""
    second_forward: float
    """Share of the batch, 0 to 1, that is embedded twice: its gradients come from a gradient cache."""
    chips: int
    """Accelerators that train together, each with its process; 1 without a machine and for the cores of a CPU."""
    sharded: bool
    """Whether each chip keeps only its part of the model: `embed train --shard` under torchrun."""
    recompute: bool
    """Whether to use gradient checkpointing: `embed train --recompute`."""
    step_seconds: float | None
    """Time of an optimiser step on the machine, seconds; None without a machine."""
    utilisation: float | None
    """Share of the machine's peak rate that training reaches, 0 to 1, by the exact count; None without a machine."""
    hours: float | None
    """Training time on the machine, hours; None without a machine."""
    cost: float | None
    """Price of that time, in the currency of the price; None without one."""
    extrapolation: Extrapolation
    """How far the recipe lies beyond what the law was measured on."""

    @property
    def pairs(self) -> int:
        """Training pairs, repeats counted."""
        return self.trial.pairs

    def train_command(self, file: str) -> str:
        """The command that trains the recipe in `file`."""
        options = (" --shard" if self.sharded else "") + (" --recompute" if self.recompute else "")
        if self.chips == 1:
            return f"embed train {file}{options}"
        each = min(self.chips, NODE)
        nodes = f"--nnodes {math.ceil(self.chips / each)} " if self.chips > each else ""
        return f"torchrun {nodes}--nproc-per-node {each} -m runner.cli train {file}{options}"

    @property
    def sure(self) -> bool:
        """Whether the recipe lies within what was measured and is the best with high probability."""
        return self.extrapolation.distance == 0 and self.best is not None and self.best >= SURE

    def predicted(self) -> dict[str, Any]:
        """What is expected of the trial, under the names of the JSON document."""
        return {
            "params": self.params,
            "dim": self.dim,
            "tokens": self.tokens,
            "pairs": self.pairs,
            "epochs": self.epochs,
            "flops": self.flops,
            "exact_flops": self.exact_flops,
            "serving_flops": self.serving_flops,
            "loss": self.loss,
            "interval": None if self.low is None else [self.low, self.high],
            "best_probability": self.best,
            "expected_regret": self.regret,
            "expected_regret_share": self.share,
            "lr_source": self.lr_source,
            "lr_interval": self.lr_interval,
            "temperature_source": self.temperature_source,
            "batch_source": self.batch.source,
            "batch_best": self.batch.best,
            "batch_interval": None if self.batch.interval is None else list(self.batch.interval),
            "batch_given_away": self.batch.given_away,
            "memory_bytes": self.memory,
            "micro_batch_tokens": self.micro_batch_tokens,
            "second_forward": self.second_forward,
            "chips": self.chips,
            "sharded": self.sharded,
            "recompute": self.recompute,
            "step_seconds": self.step_seconds,
            "utilisation": self.utilisation,
            "hours": self.hours,
            "cost": self.cost,
        }

    def row(self) -> dict[str, Any]:
        """The recipe as a flat row: the trial, what it is trained on, and what is predicted."""
        trial, training = self.trial, self.trial.training
        known = self.predicted()
        del known["interval"]
        return {
            "model": trial.model,
            "method": trial.method.label,
            **{name: getattr(trial, name) for name in ("steps", "lr", "seed", "budget")},
            **{name: getattr(training, name) for name in ("batch_size", "temperature", "context", "pooling", "data")},
            **known,
            "low": self.low,
            "high": self.high,
            "distance": self.extrapolation.distance,
        }

    def to_frame(self) -> Any:
        """The recipe as a pandas.DataFrame of one row; see `row`."""
        return data_frame([self.row()])

    def __repr__(self) -> str:
        trial = self.trial
        loss = "no loss predicted" if self.loss is None else f"loss {self.loss:.4g} ({self.low:.4g} to {self.high:.4g})"
        return (
            f"Recipe({trial.model} with {trial.method.label}, {trial.steps:,} steps of "
            f"{trial.training.batch_size:,} pairs at learning rate {trial.lr:.3g}: {loss})"
        )

    def _repr_html_(self) -> str:
        return _shown("recipe", [self])

    def to_json(self) -> dict[str, Any]:
        """The trial's own fields, then what is predicted."""
        far = self.extrapolation
        beyond = {"extrapolation": far.to_json(), "unseen": list(far.unseen), "distance": far.distance}
        return {**self.trial.to_json(), **self.predicted(), **beyond}


@dataclass(frozen=True)
class Plan:
    """The answer to a budget, and what stands behind it."""

    budget: Budget
    """What is spent; of time and money, the FLOPs that the first candidate makes of them."""
    candidates: tuple[Recipe, ...]
    """Recipes of the best candidates, the lowest expected regret first; the first one is the answer."""
    method_chances: Mapping[str, float]
    """Name of a tuning method -> probability that one of its candidates is the best; empty without draws or loss."""
    model_chances: Mapping[str, float]
    """Name of a model -> probability that one of its candidates is the best; empty without draws or loss."""
    evidence: Evidence
    """Which law book answers, how far it lies, and what the others would have said."""
    refused: tuple[Refusal, ...]
    """Models with methods that cannot be chosen, with the reasons."""
    size: SizeRule | None
    """What isoFLOP minima say of the size; None where they were not shown to choose better than the law."""
    warnings: tuple[Caveat, ...]
    """What a reader of the answer must know."""
    provenance: Mapping[str, str]
    """Part of the answer -> where it comes from."""
    facts: tuple[Fact, ...]
    """Published findings, where laws of runs have not measured the answer's model or as much compute."""
    curve: tuple[tuple[float, Recipe | None], ...]
    """(FLOPs, best recipe) at each of a range of budgets, None where none can be trained; empty unless asked for."""
    laws: LawBook
    """The laws that the answer rests on."""
    considered: tuple[Candidate, ...]
    """Every model with every method that the limits allow, whether or not the budget can train it."""

    @property
    def recipe(self) -> Recipe:
        """The answer."""
        return self.candidates[0]

    @property
    def data_to_name(self) -> bool:
        """Whether it is left to say which pairs are trained on: those of a paper come with no program, and a number of
        pairs is no file."""
        own = self.recipe.trial.training.data in self.recipe.extrapolation.unseen
        return not own and (self.evidence.kind == "published" or self.recipe.epochs is not None)

    @property
    def scores(self) -> tuple[ExpectedScore, ...]:
        """What is to be expected on the tasks of the law book; empty without tasks or without a loss."""
        recipe = self.recipe
        if recipe.loss is None or recipe.low is None or recipe.high is None:
            return ()
        return expected_scores(self.laws.scores, recipe.loss, recipe.low, recipe.high, recipe.params)

    @property
    def trial(self) -> Trial:
        """What to train, with its data and model named as they are found from the current folder: `runner.train` takes
        the plan itself."""
        trial, here = self.recipe.trial, Path("recipe.toml")
        data = self.named_in(here, trial.training.data)
        return replace(trial, model=self.named_in(here, trial.model), training=replace(trial.training, data=data))

    def to_frame(self) -> Any:
        """The candidates as a pandas.DataFrame, a row each, the answer first; see `Recipe.row`."""
        return data_frame(recipe.row() for recipe in self.candidates)

    def plot(self, axes: Any = None) -> Any:
        """Draws the predicted losses of the candidates with their 90 % prediction intervals; returns the axes.

        axes: of matplotlib to draw on; None for new ones. Raises ValueError where no loss is predicted.
        """
        known = [recipe for recipe in self.candidates if recipe.loss is not None]
        if not known:
            raise ValueError("no loss is predicted this far from the evidence, so there is nothing to plot")
        names = [f"{recipe.trial.model}, {recipe.trial.method.label}" for recipe in known]
        measure = "held-out loss, nats per pair" if self.laws.measure == "loss" else self.laws.measure
        title = f"Candidates for {self.budget.flops:.3g} FLOP"
        return draw_intervals(names, [(recipe.loss, recipe.low, recipe.high) for recipe in known], title, measure, axes)

    def __repr__(self) -> str:
        recipe = self.recipe
        sure = "" if recipe.best is None else f", best with probability {recipe.best:.2f}"
        return f"Plan({self.budget.flops:.3g} FLOP: {recipe!r}{sure}; laws of {self.laws.name})"

    def _repr_html_(self) -> str:
        laws = f"laws of {self.laws.name}, {self.evidence.extrapolation}"
        notes = [
            f"Note: {warning.text}." for warning in self.warnings if warning.method in ("", self.recipe.trial.label)
        ]
        return _shown(f"plan for {self.budget.flops:.3g} FLOP; {laws}", self.candidates, notes)

    def named_in(self, file: Path, name: str) -> str:
        """How a recipe or a sweep file at `file` names these data or this model, which may lie in files."""
        known = self.laws.training
        own = name in self.laws.models or (known is not None and name == known.data)
        return named_in(file, name, self.laws.folder if own else None)

    @cached_property
    def crossovers(self) -> tuple[Crossover, ...]:
        """Budgets at which the best method changes, lowest first."""
        ends = searched_budgets(self.laws.measured.flops, self.budget.flops)
        return tuple(crossovers(self.considered, *ends))

    def to_json(self, calibration: Calibration | None = None) -> dict[str, Any]:
        """What `plan --json` prints: stable names; numbers that are not known are null."""
        measured = self.laws.measured.flops
        return {
            "format": FORMAT,
            "budget": asdict(self.budget),
            "recipe": self.recipe.to_json(),
            "evidence": self.evidence.to_json(),
            "method_probabilities": dict(self.method_chances),
            "model_probabilities": dict(self.model_chances),
            "candidates": [recipe.to_json() for recipe in self.candidates],
            "crossovers": [
                {**asdict(crossover), "extrapolation": extrapolation_factor(crossover.flops, measured)}
                for crossover in self.crossovers
            ],
            "size_rule": self.size.to_json() if self.size else None,
            "refused": [asdict(refusal) for refusal in self.refused],
            "warnings": [{"code": warning.code, "text": warning.text} for warning in self.warnings],
            "provenance": dict(self.provenance),
            "scores": [asdict(score) for score in self.scores],
            "published": [asdict(fact) for fact in self.facts],
            "curve": [{"budget": budget, "recipe": recipe and recipe.to_json()} for budget, recipe in self.curve],
            "calibration": asdict(calibration) if calibration else None,
            "laws": _laws_json(self.laws),
        }


def _shown(caption: str, recipes: Sequence[Recipe], notes: Sequence[str] = ()) -> str:
    """The recipes as an HTML table for notebooks."""
    rows = [[cell(recipe.row()[name]) for name in SHOWN.values()] for recipe in recipes]
    return html_table(caption, list(SHOWN), rows, notes)


def _laws_json(laws: LawBook) -> dict[str, Any]:
    return {
        "source": laws.source.get("name"),
        "rows_hash": laws.source.get("rows_hash"),
        "created_by": laws.created_by,
        "models": list(laws.models),
        "weights": {law.label: law.weights for law in laws.laws},
        "drift": {law.label: law.drift for law in laws.laws},
        "training": asdict(laws.training) if laws.training else None,
        "range": asdict(laws.measured),
    }


@dataclass(frozen=True)
class Calibration:
    """A sweep that lowers the expected regret of a plan, and by how much."""

    models: tuple[str, ...]
    """Names of the models that it trains."""
    budgets: tuple[float, ...]
    """Training budgets of its trials, FLOPs."""
    methods: tuple[str, ...]
    """Labels of the tuning methods that it tries."""
    cells: int
    """Trials, searches of learning rates aside."""
    flops: float
    """What the sweep costs at most, FLOPs, searches of learning rates at their longest included."""
    limit: float
    """What it was allowed to cost, FLOPs."""
    regret_now: float
    """Expected regret of choosing without the sweep, nats per pair."""
    regret_after: float
    """Expected regret of choosing after the sweep, nats per pair."""
    assumed: str
    """What was assumed of models or data that the laws have not measured; empty where nothing was."""
    toml: str
    """The sweep file for `sweep run`."""
