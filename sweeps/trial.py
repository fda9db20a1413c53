"""What is tried and what comes of it: Training conditions, Trial, Observation. JSON both ways."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from sweeps.methods import Method, make_method
from sweeps.support.checks import check_fields, distinct, from_table, require
from sweeps.tasks import score_name

POOLINGS = ("mean", "weighted", "last")
SCHEDULE_NAMES = ("wsd", "cosine")
PRECISIONS = ("auto", "fp32", "bf16")
JOINT = "joint"  # one model trained on all sources: no merge
SEARCHED = "self-positioning"
MERGES = ("average", "slerp", "task-arithmetic", "ties", SEARCHED)  # what may become of a model for each source
MOST_STEPS = 10**9  # of a trial
PROBED_PAIRS = 32  # in a step of the search; Li et al. 2024, appendix A
STATUSES = ("done", "diverged", "pruned", "failed")
# What is plausible: fields of records -> lowest and highest value.
TRIAL_LIMITS = {"lr": (1e-30, 1e6), "steps": (1, MOST_STEPS), "budget": (0.0, 1e40), "seed": (-(2.0**63), 2.0**63)}
OBSERVATION_LIMITS = {
    **dict.fromkeys(("loss", "start_loss"), (1e-12, 1e9)),  # nats per pair
    **dict.fromkeys(("flops", "paper_flops", "reused_flops"), (0.0, 1e40)),
    **dict.fromkeys(("params", "trainable", "tokens", "pairs", "data_pairs", "peak_bytes"), (0, 1e18)),
    **dict.fromkeys(("seconds", "total_seconds"), (-1e9, 1e12)),  # a clock may have been set back
    "accuracy": (0.0, 1.0),
    "squares": (0, 1e24),
    "curve": (-1e18, 1e18),
    "scores": (-1e9, 1e9),
}
PER_WEIGHT_AND_TOKEN = (
    1e-4,
    1e6,
)  # FLOPs: 6 in full training, fewer where states are kept, more where attention is all
CHOICES = {"pooling": POOLINGS, "schedule": SCHEDULE_NAMES, "precision": PRECISIONS}
AT_LEAST = {  # settings of Training -> their least value
    **dict.fromkeys(("batch_size", "context", "pool_size", "pools", "search_steps"), 1),
    **dict.fromkeys(("hard_negatives", "warmup_steps", "evaluate_every", "patience"), 0),
}
# Settings that came after the first observations: left out of a hash at these values, so that older keys still hold.
ADDED = {
    "warmup_steps": 0,
    "precision": "auto",
    "symmetric": True,
    "margin": None,
    "learn_temperature": False,
    "loss_temperature": None,
    "dims": (),
    "query_prompt": "",
    "document_prompt": "",
    "bidirectional": False,
    "score": False,
    "tasks": (),
    "evaluate_every": 0,
    "patience": 0,
    "stop_on_collapse": False,
    "merge": "",
    "search_steps": 1000,
    "search_rate": 5e-3,
}


@dataclass(frozen=True)
class Training:
    """Conditions that all trials of a law share; a contrastive loss means nothing without them."""

    data: str = "python-env"
    """What is trained on: `python-env`, a file or a folder of files, or `hf:owner/name`; see docs/data.md. Of several
    sources with " + " between, each step is drawn from one; from `a.jsonl*3 + b.jsonl` three times as often from the
    first."""
    data_hash: str = ""
    """Hash of the text pairs, filled in once they are read; "" before."""
    batch_size: int = 64
    """Text pairs in a step, at least 2; a query has batch_size - 1 in-batch negatives."""
    temperature: float = 0.05
    """Divisor of the cosine in the loss; positive. A lower one gives hard negatives more weight."""
    pooling: str = "mean"
    """Pooling of token states into one vector: mean, weighted (by position, so that later states count more) or last
    (the state of the end token)."""
    context: int = 75
    """Most tokens of a text, at least 1; longer texts are cut."""
    hard_negatives: int = 0
    """Number of listed hard negatives used per pair, 0 or more."""
    schedule: str = "wsd"
    """Learning-rate schedule: wsd (warmup, stable, decay) or cosine."""
    warmup: float = 0.1
    """Share of the steps during which the learning rate rises, 0 to 1; see warmup_steps."""
    cooldown: float = 0.3
    """Share of the steps after warm-up during which the rate of schedule wsd falls to 0, from 0 to 1."""
    weight_decay: float = 0.1
    """Decoupled weight decay of AdamW on matrices; vectors, such as biases, have none."""
    clip: float = 1.0
    """Largest norm of the gradient; longer gradients are scaled down to it. Positive."""
    pool_size: int = 256
    """Held-out pairs in one pool of the held-out loss; a larger pool gives a larger loss."""
    pools: int = 2
    """Number of pools over which the held-out loss is averaged."""
    warmup_steps: int = 0
    """Steps of the warm-up instead of a share, for schedule wsd. Trials that differ only in their steps are then the
    same until the shortest cools down, and share that stable phase. 0: the share `warmup` of each trial's own steps."""
    precision: str = "auto"
    """Precision of matrix products: fp32, bf16, or auto: bf16 on a GPU, fp32 on a CPU (where bf16 is faster only for
    wide models with AMX)."""
    symmetric: bool = True
    """Whether the loss also runs from documents to queries (symmetric InfoNCE)."""
    margin: float | None = None
    """A candidate whose cosine to the query exceeds that of the query's own document by more than this, 0 to 2, is
    treated as a false negative and left out. None: none is left out."""
    learn_temperature: bool = False
    """Whether the temperature is trained, starting from `temperature`; the held-out loss uses `temperature`."""
    loss_temperature: float | None = None
    """Temperature of the held-out loss, positive, so that trials of several training temperatures can be compared.
    None: at `temperature`."""
    dims: tuple[int, ...] = ()
    """The loss is the mean over these first dimensions and all of them (Matryoshka, Kusupati et al. 2022); ascending.
    (): all dimensions alone."""
    query_prompt: str = ""
    """Text prepended to every query."""
    document_prompt: str = ""
    """Text prepended to every document."""
    bidirectional: bool = False
    """Whether attention is bidirectional instead of causal."""
    score: bool = False
    """Whether retrieval scores and space health are measured at the end, in the pools of the loss."""
    tasks: tuple[str, ...] = ()
    """Tasks that are scored at the end and at every evaluation during training: sts:FILE#SPLIT, retrieval:FOLDER#SPLIT,
    code-search, mteb:NAME. The first one decides when `patience` ends the training; report a different split."""
    evaluate_every: int = 0
    """Steps between evaluations during training, of `tasks` and in a held-out pool; 0: none. Without tasks an
    additional pool is used."""
    patience: int = 0
    """Training ends after this many evaluations without a better score on the first of `tasks` (without tasks, a better
    nDCG@10 in the pool), and the best state is kept; 0: never."""
    stop_on_collapse: bool = False
    """Whether training ends when the space collapses."""
    merge: str = ""
    """How several sources become one model: "" trains it on all of them. With a merging rule a model is trained on each
    source, with steps in proportion to the weights, and their merge, with the same weights, is the trial's model."""
    search_steps: int = 1000
    """Steps of the self-positioning search (Li et al. 2024, appendix A)."""
    search_rate: float = 5e-3
    """Learning rate of that search; positive."""

    @cached_property
    def sources(self) -> tuple[tuple[str, float], ...]:
        """What is trained on, each with its weight."""
        return parts_of(self.data)

    @property
    def way(self) -> str:
        """How several sources become one model, and in what ratio, as in "average 2:1"; "" where there is only one."""
        ratio = ":".join(f"{weight:g}" for _, weight in self.sources)
        return f"{self.merge or JOINT} {ratio}" if len(self.sources) > 1 else ""

    @property
    def held_out_temperature(self) -> float:
        """Temperature of the held-out loss."""
        return self.loss_temperature or self.temperature

    @cached_property
    def hashed(self) -> dict[str, Any]:
        """What a trial's key is made of."""
        settings = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in settings.items() if name not in ADDED or value != ADDED[name]}

    def __post_init__(self) -> None:
        for name in ("dims", "tasks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # TOML and JSON know lists only
        self._check_tasks()
        parts_of(self.data)  # refuses what cannot be
        for name, least in AT_LEAST.items():
            self._require(name, getattr(self, name) >= least, f"at least {least}")
        for name in ("temperature", "clip", "search_rate"):
            self._require(name, getattr(self, name) > 0, "positive")
        for name in ("warmup", "cooldown"):
            self._require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        for name, known in CHOICES.items():
            self._require(name, getattr(self, name) in known, f"one of {', '.join(known)}")
        self._require("batch_size", self.batch_size >= 2, "at least 2, to have a negative")
        held_out = self.loss_temperature
        self._require("loss_temperature", held_out is None or held_out > 0, "positive")
        self._require("margin", self.margin is None or 0 <= self.margin <= 2, "between 0 and 2, a cosine")
        self._require("dims", all(dim >= 1 for dim in self.dims), "numbers of dimensions, at least 1")
        self._require("dims", list(self.dims) == sorted(set(self.dims)), "in rising order, each once")
        for name in ("patience", "stop_on_collapse"):
            if getattr(self, name) and not self.evaluate_every:
                raise ValueError(f"training.{name} is {getattr(self, name)!r} but training.evaluate_every is 0")
        if self.warmup_steps and (self.patience or self.stop_on_collapse):
            raise ValueError(
                "training.warmup_steps lets trials share a trunk, which no trial may leave early: leave out patience"
            )
        self._check_merge()
        if self.warmup_steps and self.schedule != "wsd":
            raise ValueError(
                f"training.warmup_steps is {self.warmup_steps} with schedule {self.schedule!r}; it is for schedule "
                "'wsd', whose trials can share a trunk: give warmup, a share of the steps"
            )

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        require(f"training.{name}", getattr(self, name), holds, wanted)

    def _check_tasks(self) -> None:
        try:
            names = [score_name(task) for task in self.tasks]
        except ValueError as error:
            raise ValueError(f"training.tasks: {error}") from None
        distinct("training.tasks", names, names)

    def _check_merge(self) -> None:
        self._require("merge", self.merge in ("", *MERGES), f"one of {', '.join(MERGES)}, or '' for none")
        if not self.merge:
            return
        if len(self.sources) < 2:
            raise ValueError(f"training.merge is {self.merge!r} with one source, {self.data!r}; give several: [[data]]")
        for name in ("warmup_steps", "evaluate_every", "learn_temperature"):
            if getattr(self, name):
                raise ValueError(
                    f"training.merge is {self.merge!r} and training.{name} {getattr(self, name)!r}, which is for "
                    "one model; merging trains several"
                )


MIXED = " + "


def parts_of(data: str) -> tuple[tuple[str, float], ...]:
    """The sources that `data` names, each with its weight. Raises ValueError when a weight cannot be."""
    sources = []
    for part in data.split(MIXED) if MIXED in data else []:
        name, star, factor = part.rpartition("*")
        try:
            weight = float(factor) if star else 1.0
        except ValueError:
            weight = 0.0
        if not (name if star else part).strip() or not 0 < weight < float("inf"):
            raise ValueError(f"training.data holds {part!r}; a source is NAME or NAME*WEIGHT, the weight above 0")
        sources.append(((name if star else part).strip(), weight))
    if len({name for name, _ in sources}) < len(sources):
        raise ValueError(f"training.data is {data!r}; it names a source twice")
    return tuple(sources) or ((data, 1.0),)


def shared_out(steps: int, weights: Sequence[float]) -> list[int]:
    """`steps` in parts that stand to one another as the weights, to the nearest whole ones; they add up to `steps`."""
    shares = [steps * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in shares]
    by_rest = sorted(range(len(shares)), key=lambda place: counts[place] - shares[place])
    for place in by_rest[: steps - sum(counts)]:
        counts[place] += 1
    return counts


def mixed(parts: Iterable[tuple[str, float]]) -> str:
    """`Training.data` of these sources and weights."""
    return MIXED.join(f"{name}*{weight:g}" for name, weight in parts)


@dataclass(frozen=True)
class Trial:
    """One training run, completely described."""

    model: str
    """Name of the backbone, or its folder."""
    method: Method
    """How the backbone is tuned, with its settings."""
    training: Training
    """The conditions, which all trials of a law share."""
    lr: float
    """Peak learning rate, positive."""
    steps: int
    """Optimiser steps, at least 1."""
    seed: int = 0
    """Seed of the order of the data and of the method's initialisation."""
    budget: float = 0.0
    """Training FLOPs that the number of steps was computed from; not part of the key. 0: none."""
    model_hash: str = ""
    """Hash of the model in a folder; the key contains it instead of the path, so a folder can be moved.
    "": a model of a suite, or a trial of an earlier version."""

    @cached_property
    def key(self) -> str:
        """Name of the trial: a hash of what it does. The budget is only why, and stays out."""
        return self._hash_without("budget")

    @cached_property
    def trunk(self) -> str:
        """Name of the shared stable phase (WSD: warmup, stable, decay) of trials that differ only in their steps: all
        steps up to the first cooldown. "" where nothing is shared."""
        return self._hash_without("budget", "steps") if self.training.warmup_steps else ""

    @property
    def run(self) -> str:
        """Name of the run that the trial is part of: trials of one trunk have most of it in common."""
        return self.trunk or self.key

    def _hash_without(self, *names: str) -> str:
        left_out = {*names, "model"} if self.model_hash else set(names)
        content = {name: value for name, value in self._content().items() if name not in left_out}
        content["training"] = self.training.hashed
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The method, and how several sources become one model."""
        return ", ".join(filter(None, (self.method.label, self.training.way)))

    @cached_property
    def parts(self) -> tuple[Trial, ...]:
        """What is trained on each source before it is merged; nothing without `training.merge`.

        Each has its share of the steps; joint training takes as many of each source, to within two.
        """
        if not self.training.merge:
            return ()
        steps = shared_out(self.steps, [weight for _, weight in self.training.sources])
        plain: dict[str, Any] = {
            name: ADDED[name] for name in ("merge", "search_steps", "search_rate", "score", "tasks")
        }
        return tuple(
            replace(self, steps=count, budget=0.0, training=replace(self.training, data=name, **plain))
            for (name, _), count in zip(self.training.sources, steps, strict=True)
        )

    @cached_property
    def cooldown_start(self) -> int:
        """Steps done when the cooldown of schedule wsd begins: until then the rate does not depend on `steps`."""
        rising = warmup_length(self.steps, self.training.warmup, self.training.warmup_steps)
        annealed = range(rising, self.steps)
        cooldown = 1 - self.training.cooldown
        return rising + bisect_left(annealed, cooldown, key=lambda step: how_far(step, self.steps, rising))

    @property
    def pairs(self) -> int:
        """Training pairs seen, repeats counted."""
        return self.steps * self.training.batch_size

    def to_json(self) -> dict[str, Any]:
        training = {item.name: getattr(self.training, item.name) for item in fields(self.training)}
        return {**self._content(), "training": training}

    def _content(self) -> dict[str, Any]:
        method = {"name": self.method.name, **self.method.options}
        content = {**{item.name: getattr(self, item.name) for item in fields(self)}, "method": method}
        return content if self.model_hash else {key: value for key, value in content.items() if key != "model_hash"}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Trial:
        """The trial written by `to_json`. Raises ValueError on unknown keys, methods or settings."""
        check_fields(cls, content, "trial", TRIAL_LIMITS)
        require("trial.method", content["method"], isinstance(content["method"], dict), "an object")
        require("trial.method.name", content["method"].get("name"), "name" in content["method"], "the method's name")
        method, training = dict(content["method"]), content["training"]
        parsed = {
            "method": _shared(_methods, method, lambda: make_method(method.pop("name"), method)),
            "training": _shared(_trainings, training, lambda: from_table(Training, training, "training")),
        }
        return cls(**{**content, **parsed})


KNOWN = 1000  # methods, and conditions
_methods: dict[str, Method] = {}
_trainings: dict[str, Training] = {}


def _shared(known: dict[str, Any], table: Mapping[str, Any], read: Callable[[], Any]) -> Any:
    """What `read` makes of a table; the same object for the same table, since thousands of trials share one."""
    name = repr(table)  # tells 1 from 1.0
    if name not in known:
        if len(known) >= KNOWN:
            known.clear()
        known[name] = read()
    return known[name]


def warmup_length(steps: int, share: float, count: int = 0) -> int:
    """Steps of the warm-up: `count`, or where it is 0 the `share` of `steps`, at least one."""
    return count or max(1, round(share * steps))


def how_far(step: int, steps: int, rising: int) -> float:
    """How far a training is at `step` (from 0) between the end of its `rising` warm-up steps, 0, and its end, 1."""
    return (step - rising) / max(1, steps - rising)


@dataclass(frozen=True)
class Observation:
    """The result of one trial, also of a failed one."""

    trial: Trial
    """What was tried."""
    status: str
    """done, diverged, pruned or failed."""
    reason: str = ""
    """Why there is no loss; "" when done."""
    loss: float | None = None
    """Held-out loss in nats per pair: symmetric InfoNCE in fixed pools. None unless done."""
    accuracy: float | None = None
    """Share of held-out queries whose own document is the nearest in the pool, 0 to 1."""
    start_loss: float | None = None
    """Held-out loss before training, nats per pair."""
    flops: float = 0.0
    """C: training FLOPs of the trial on its own, by the exact count."""
    paper_flops: float = 0.0
    """The same by the paper's count."""
    params: int = 0
    """N: parameters outside the embedding tables."""
    trainable: int = 0
    """T: parameters that received a gradient."""
    tokens: int = 0
    """D: tokens trained on, repeats included, without padding."""
    squares: int = 0
    """Sum of the squared text lengths in tokens, for the cost of attention."""
    pairs: int = 0
    """Text pairs trained on, repeats included."""
    data_pairs: int = 0
    """Unique training pairs of the data."""
    problems: Mapping[str, Any] = field(default_factory=dict)
    """Records of the data that could not be used: `bad` of `records`, the first by place and reason in `named`; empty
    where all could."""
    seconds: float = 0.0
    """Seconds of training alone, those reused included."""
    total_seconds: float = 0.0
    """Seconds with loading and evaluation, those reused included."""
    peak_bytes: int = 0
    """Most memory in use, bytes: of the GPU, else of the process."""
    curve: tuple[tuple[int, int, float], ...] = ()
    """[step, tokens, training loss] now and then."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Versions, device and threads that it ran with."""
    reused_flops: float = 0.0
    """The part of `flops` that another trial had spent, one of the same stable phase (trunk) or with the same parts."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Scores at the end by name, of retrieval and of the health of the space."""
    evaluations: tuple[Mapping[str, float], ...] = ()
    """The same scores during training, each with its step."""
    stopped: str = ""
    """Why training ended before its last step; "" when it did not. Loss and scores are then those of the best
    evaluation."""
    merged: Mapping[str, Any] = field(default_factory=dict)
    """What a merge did: factors of the task vectors, each model's loss on its own task, the path of a search. Empty
    without one."""

    @property
    def key(self) -> str:
        return self.trial.key

    @property
    def spent_flops(self) -> float:
        """What the trial added to the bill: flops less those reused."""
        return self.flops - self.reused_flops

    @property
    def epochs(self) -> float:
        """Passes over the unique pairs."""
        return self.pairs / self.data_pairs if self.data_pairs else 0.0

    def to_json(self) -> dict[str, Any]:
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"key": self.key, **content, "trial": self.trial.to_json(), "environment": dict(self.environment)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], key: str = "") -> Observation:
        """The observation written by `to_json`; one whose key does not fit its trial is refused (ValueError).

        key: the trial's, where it is known from elsewhere: it is then not worked out again.
        """
        require("it", content, isinstance(content, dict), "an object")
        inside = {key: value for key, value in content.items() if key != "key"}
        check_fields(cls, inside, "", OBSERVATION_LIMITS)
        trial = inside["trial"] = Trial.from_json(content["trial"])
        if key:
            trial.__dict__["key"] = key
        inside["curve"] = tuple(map(tuple, content.get("curve", ())))
        inside["evaluations"] = tuple(content.get("evaluations", ()))
        observation = cls(**inside)
        observation._refuse_implausible()
        if content.get("key", observation.key) != observation.key:
            raise ValueError(f"observation {content['key']!r} holds a trial whose key is {observation.key!r}")
        return observation

    def _refuse_implausible(self) -> None:
        """Raise ValueError where the fields contradict one another."""
        require("status", self.status, self.status in STATUSES, f"one of {', '.join(STATUSES)}")
        for index, row in enumerate(self.evaluations):
            require(f"evaluations[{index}]", row, "step" in row, "an object with its step")
        if self.status == "done":
            require("loss", self.loss, self.loss is not None, "a number where the status is done")
        low, high = (factor * self.params * self.tokens for factor in PER_WEIGHT_AND_TOKEN)
        fits = self.status != "done" or not low or low <= self.flops <= high
        require("flops", self.flops, fits, f"what {self.params:,} params and {self.tokens:,} tokens can take")
        require("reused_flops", self.reused_flops, self.reused_flops <= 1.001 * self.flops, "no more than flops")


def by_key(observations: Iterable[Observation]) -> dict[str, Observation]:
    """The observations by their trial's key; of several with one key the last."""
    return {observation.key: observation for observation in observations}


def failure(trial: Trial, reason: str, status: str = "failed", **known: Any) -> Observation:
    """The record of a trial that gave no loss. Raises ValueError for the status done, which has one."""
    if status == "done":
        raise ValueError(f"{trial.key}: a failure has no status {status!r}")
    return replace(Observation(trial, status, reason), **known)
