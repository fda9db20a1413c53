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
from sweeps.support.checks import from_table

POOLINGS = ("mean", "weighted", "last")
SCHEDULE_NAMES = ("wsd", "cosine")
PRECISIONS = ("auto", "fp32", "bf16")
JOINT = "joint"  # one model trained on all sources: no merge
SEARCHED = "self-positioning"
MERGES = ("average", "slerp", "task-arithmetic", "ties", SEARCHED)  # what may become of a model for each source
MOST_STEPS = 10**9  # of a trial
PROBED_PAIRS = 32  # in a step of the search; Li et al. 2024, appendix A
# Settings that came after the first observations: left out of a hash at these values, so that older keys still hold.
ADDED = {
    "warmup_steps": 0,
    "precision": "auto",
    "symmetric": True,
    "margin": None,
    "learn_temperature": False,
    "dims": (),
    "query_prompt": "",
    "document_prompt": "",
    "bidirectional": False,
    "score": False,
    "evaluate_every": 0,
    "patience": 0,
    "stop_on_collapse": False,
    "merge": "",
    "search_steps": 1000,
    "search_rate": 5e-3,
}


@dataclass(frozen=True)
class Training:
    """Conditions that all trials of a law share; a contrastive loss means nothing without them.

    data: `python-env`, a file, or `hf:owner/name`; of several with " + " between each step is drawn from one, from
    `a.jsonl*3 + b.jsonl` three times as often from the first. data_hash: of its pairs, filled in once they are read.
    batch_size: pairs in a step, hence in-batch negatives. temperature: divides the cosine. context: tokens at which a
    text is cut. warmup, cooldown: shares of the steps. hard_negatives: given negatives used per pair.
    pool_size, pools: held-out pairs in one pool, and how many pools, for the held-out loss.
    warmup_steps: steps of the warm-up in place of a share; trials of schedule wsd that differ only in their steps then
    do the same until the shortest cools down, and share that trunk. 0: the share `warmup` of each trial's own steps.
    precision: of the products. auto: bf16 on a GPU, fp32 on a CPU (bf16 is faster there for wide models with AMX only).
    pooling: mean, weighted (by place, so that later states count more) or last (the end token's state).
    symmetric: documents look for their query too. margin: a candidate whose cosine to the query exceeds that of the
    query's own document by more than this is taken for a false negative and left out; None: none is.
    learn_temperature: start from `temperature` and train it; the held-out loss keeps `temperature`.
    dims: the loss is the mean over these first dimensions and all of them (Matryoshka, Kusupati et al. 2022).
    query_prompt, document_prompt: put before every text. bidirectional: attention looks both ways.
    score: retrieval scores and the health of the space are measured at the end, in the pools of the loss.
    evaluate_every: likewise after so many steps each, in a held-out pool beside those; 0: never. patience: so many of
    these without a better nDCG@10 end the training, and the best state is kept; 0: never. stop_on_collapse: so does a
    space that collapses.
    merge: "" trains one model on all sources. Else one of MERGES: a model is trained on each source, the steps are
    shared out by the weights, and what is judged is their merge, with the same weights.
    search_steps, search_rate: of the search of self-positioning; the paper's (Li et al. 2024, appendix A).
    """

    data: str = "python-env"
    data_hash: str = ""
    batch_size: int = 64
    temperature: float = 0.05
    pooling: str = "mean"
    context: int = 75
    hard_negatives: int = 0
    schedule: str = "wsd"
    warmup: float = 0.1
    cooldown: float = 0.3
    weight_decay: float = 0.1
    clip: float = 1.0
    pool_size: int = 256
    pools: int = 2
    warmup_steps: int = 0
    precision: str = "auto"
    symmetric: bool = True
    margin: float | None = None
    learn_temperature: bool = False
    dims: tuple[int, ...] = ()
    query_prompt: str = ""
    document_prompt: str = ""
    bidirectional: bool = False
    score: bool = False
    evaluate_every: int = 0
    patience: int = 0
    stop_on_collapse: bool = False
    merge: str = ""
    search_steps: int = 1000
    search_rate: float = 5e-3

    @cached_property
    def sources(self) -> tuple[tuple[str, float], ...]:
        """What is trained on, each with its weight."""
        return parts_of(self.data)

    @property
    def way(self) -> str:
        """How several sources become one model, and in what ratio, as in "average 2:1"; "" where there is only one."""
        ratio = ":".join(f"{weight:g}" for _, weight in self.sources)
        return f"{self.merge or JOINT} {ratio}" if len(self.sources) > 1 else ""

    @cached_property
    def hashed(self) -> dict[str, Any]:
        """What a trial's key is made of."""
        settings = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in settings.items() if name not in ADDED or value != ADDED[name]}

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", tuple(self.dims))  # TOML and JSON know lists only
        parts_of(self.data)  # refuses what cannot be
        for name in ("batch_size", "context", "pool_size", "pools"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("temperature", "clip"):
            _check(name, getattr(self, name), getattr(self, name) > 0, "positive")
        for name in ("warmup", "cooldown"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "between 0 and 1")
        _check("batch_size", self.batch_size, self.batch_size >= 2, "at least 2, to have a negative")
        _check("margin", self.margin, self.margin is None or 0 <= self.margin <= 2, "between 0 and 2, a cosine")
        _check("dims", self.dims, all(dim >= 1 for dim in self.dims), "numbers of dimensions, at least 1")
        _check("dims", self.dims, list(self.dims) == sorted(set(self.dims)), "in rising order, each once")
        for name in ("hard_negatives", "warmup_steps", "evaluate_every", "patience"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        for name, known in (("pooling", POOLINGS), ("schedule", SCHEDULE_NAMES), ("precision", PRECISIONS)):
            _check(name, getattr(self, name), getattr(self, name) in known, f"one of {', '.join(known)}")
        for name in ("patience", "stop_on_collapse"):
            if getattr(self, name) and not self.evaluate_every:
                raise ValueError(f"training.{name} is {getattr(self, name)!r} but training.evaluate_every is 0")
        if self.warmup_steps and (self.patience or self.stop_on_collapse):
            raise ValueError("training.warmup_steps lets trials share a trunk, which none may leave early: no patience")
        self._check_merge()
        if self.warmup_steps and self.schedule != "wsd":
            raise ValueError(
                f"training.warmup_steps is {self.warmup_steps} with schedule {self.schedule!r}; it is for schedule "
                "'wsd', whose trials can share a trunk: give warmup, a share of the steps"
            )

    def _check_merge(self) -> None:
        _check("merge", self.merge, self.merge in ("", *MERGES), f"one of {', '.join(MERGES)}, or '' for none")
        _check("search_steps", self.search_steps, self.search_steps >= 1, "at least 1")
        _check("search_rate", self.search_rate, self.search_rate > 0, "positive")
        if not self.merge:
            return
        if len(self.sources) < 2:
            raise ValueError(f"training.merge is {self.merge!r} with one source, {self.data!r}; give several: [[data]]")
        for name in ("warmup_steps", "evaluate_every", "learn_temperature"):
            if getattr(self, name):
                raise ValueError(
                    f"training.merge is {self.merge!r} and training.{name} {getattr(self, name)!r}; that is for one "
                    "model, and merging trains several"
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


def _check(name: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"training.{name} is {value!r}; it must be {wanted}")


@dataclass(frozen=True)
class Trial:
    """One training run, wholly described. lr: peak rate. steps: optimiser steps. budget: FLOPs it was cut for."""

    model: str
    method: Method
    training: Training
    lr: float
    steps: int
    seed: int = 0
    budget: float = 0.0

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
        content = {name: value for name, value in self._content().items() if name not in names}
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
        plain: dict[str, Any] = {name: ADDED[name] for name in ("merge", "search_steps", "search_rate", "score")}
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
        return {**{item.name: getattr(self, item.name) for item in fields(self)}, "method": method}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Trial:
        """The trial written by `to_json`. Raises ValueError on unknown keys, methods or settings."""
        method, training = dict(content["method"]), content["training"]
        made = {
            "method": _shared(_methods, method, lambda: make_method(method.pop("name"), method)),
            "training": _shared(_trainings, training, lambda: from_table(Training, training, "training")),
        }
        return cls(**{**content, **made})


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
    """What one trial left, whatever became of it.

    status: done, diverged, pruned or failed; reason: why, unless done. loss: held out, nats per pair (symmetric InfoNCE
    in fixed pools); accuracy: share of held-out queries whose own document is nearest in its pool. start_loss: before
    training. flops, paper_flops: what the trial takes on its own, by the exact and by the paper's count.
    reused_flops: the part of flops that another trial of its trunk, or one with the same parts, had spent. tokens: real
    ones, never padding. squares: sum of squared text lengths, which attention costs. params, trainable: N and T.
    data_pairs: unique pairs at hand. seconds: training alone; total_seconds: with loading and evaluation; both count
    what was reused. peak_bytes: memory. curve: [step, tokens, training loss]. environment: versions, device, threads.
    scores: by name, of retrieval and space health at the end. evaluations: the same during training, each with its
    step. stopped: why before the last step, if so; the loss and scores are then those of the best evaluation's state.
    merged: of a trial that merges its parts, what runner/merging/per_source.py tells of it.
    """

    trial: Trial
    status: str
    reason: str = ""
    loss: float | None = None
    accuracy: float | None = None
    start_loss: float | None = None
    flops: float = 0.0
    paper_flops: float = 0.0
    params: int = 0
    trainable: int = 0
    tokens: int = 0
    squares: int = 0
    pairs: int = 0
    data_pairs: int = 0
    seconds: float = 0.0
    total_seconds: float = 0.0
    peak_bytes: int = 0
    curve: tuple[tuple[int, int, float], ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    reused_flops: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    evaluations: tuple[Mapping[str, float], ...] = ()
    stopped: str = ""
    merged: Mapping[str, Any] = field(default_factory=dict)

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
        inside = {key: value for key, value in content.items() if key != "key"}
        trial = inside["trial"] = Trial.from_json(content["trial"])
        if key:
            trial.__dict__["key"] = key
        inside["curve"] = tuple(map(tuple, content.get("curve", ())))
        inside["evaluations"] = tuple(content.get("evaluations", ()))
        observation = cls(**inside)
        if content.get("key", observation.key) != observation.key:
            raise ValueError(f"observation {content['key']!r} holds a trial whose key is {observation.key!r}")
        return observation


def by_key(observations: Iterable[Observation]) -> dict[str, Observation]:
    """The observations by their trial's key; of several with one key the last."""
    return {observation.key: observation for observation in observations}


def failure(trial: Trial, reason: str, status: str = "failed", **known: Any) -> Observation:
    """The record of a trial that gave no loss. Raises ValueError for the status done, which has one."""
    if status == "done":
        raise ValueError(f"{trial.key}: a failure has no status {status!r}")
    return replace(Observation(trial, status, reason), **known)
