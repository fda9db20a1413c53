"""A results folder whose losses follow known laws, for the tests of the fit. No training happens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from planner.laws import Law, Rectified
from support.ladder import NANO
from sweeps.flops import Work, exact_flops, paper_flops, steps_for
from sweeps.methods import FreezeBlocks, Full, LoRA, Method
from sweeps.models import ModelSpec
from sweeps.trial import Observation, Training, Trial

PAIR = Work(pairs=1, tokens=44.0, sum_sq_lengths=44.0 * 30, batch_size=64)
LAWS_OF_THE_TESTS: dict[Method, Law] = {
    Full(): Rectified(E=0.35, A=55.0, alpha=0.36, B=900.0, beta=0.46, D_l=120.0),
    LoRA(rank=8): Rectified(E=0.38, A=60.0, alpha=0.36, B=1200.0, beta=0.48, D_l=150.0),
    FreezeBlocks(share=0.5): Rectified(E=0.42, A=58.0, alpha=0.36, B=1000.0, beta=0.47, D_l=120.0),
}


def observation(
    model: ModelSpec,
    method: Method,
    law: Law,
    budget: float,
    *,
    training: Training | None = None,
    lr: float = 1e-3,
    seed: int = 0,
    noise: float = 0.0,
    data_pairs: int = 10_000_000,
    generator: np.random.Generator | None = None,
) -> Observation:
    """One finished trial; its loss is the law's, times exp of normal noise."""
    training = training or Training()
    steps = steps_for(budget, model, method, replace(PAIR, batch_size=training.batch_size))
    work = PAIR.times(steps * training.batch_size)
    loss = law.at(model.params, work.tokens)
    if noise:
        loss *= float(np.exp((generator or np.random.default_rng(seed)).normal(0, noise)))
    return Observation(
        trial=Trial(model.name, method, training, lr=lr, steps=steps, seed=seed, budget=budget),
        status="done",
        loss=loss,
        flops=exact_flops(model, method, work),
        paper_flops=paper_flops(model, method, work),
        params=model.params,
        trainable=method.trainable(model),
        tokens=round(work.tokens),
        squares=round(work.sum_sq_lengths),
        pairs=steps * training.batch_size,
        data_pairs=data_pairs,
        scores={"ndcg@10": 1 - loss / 10, "effective_rank": 20 / loss},
    )


def observations(
    laws: Mapping[Method, Law] | None = None,
    models: Sequence[ModelSpec] = NANO,
    budgets: Sequence[float] = tuple(np.geomspace(1e13, 1e16, 6)),
    noise: float = 0.01,
    seeds: Sequence[int] = (0,),
    rng: int = 0,
) -> list[Observation]:
    """The whole grid; cells under 50 steps are left out, as a sweep would leave them."""
    generator = np.random.default_rng(rng)
    return [
        observation(model, method, law, budget, seed=seed, noise=noise, generator=generator)
        for method, law in (laws or LAWS_OF_THE_TESTS).items()
        for model in models
        for budget in budgets
        for seed in seeds
        if steps_for(budget, model, method, PAIR) >= 50
    ]


def write_sweep(folder: Path, trials: Sequence[Observation]) -> Path:
    """A results folder holding these observations; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(observation.to_json()) + "\n" for observation in trials)
    (folder / "observations.jsonl").write_text(lines, encoding="utf-8")
    return folder
