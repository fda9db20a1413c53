"""A results folder of a sweep of training temperatures and batch sizes, whose best ones are known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from planner.laws import Chinchilla
from support.ladder import NANO
from support.made_sweep import observation, write_sweep
from sweeps.methods import Full, LoRA
from sweeps.trial import Training

LAW = Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37)
TEMPERATURES = (0.02, 0.05, 0.1, 0.2)
BATCHES = (8, 64)
BUDGETS = tuple(np.geomspace(3e13, 1e15, 3))


def best_temperature(batch: int, power: float) -> float:
    """0.06 in batches of 24."""
    return 0.06 * (batch / 24) ** power


def swept(folder: Path, power: float = 0.3, loss_temperature: float | None = 0.05, noise: float = 0.005) -> Path:
    """Losses lie 3 % above their lowest at e times the best temperature; scores are best at half of that."""
    chance, rows = np.random.default_rng(0), []
    for batch in BATCHES:
        for temperature in TEMPERATURES:
            training = Training(batch_size=batch, temperature=temperature, loss_temperature=loss_temperature)
            for method in (Full(), LoRA(rank=8)):
                for model in NANO[1:4]:
                    for budget in BUDGETS:
                        given = {"training": training, "noise": noise, "generator": chance, "data_pairs": 10**9}
                        made = observation(model, method, LAW, budget, **given)
                        off = math.log(temperature / best_temperature(batch, power))
                        score = 0.6 - 0.03 * math.log(2 * temperature / best_temperature(batch, power)) ** 2
                        loss = made.loss * math.exp(0.03 * off**2)
                        rows.append(replace(made, loss=loss, accuracy=score, scores={"ndcg@10": score}))
    return write_sweep(folder, rows)
