"""Methods at equal FLOPs: known differences and crossovers are found, only where token tables are treated alike."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis import methods_report
from analysis.fitting.method_order import best_ranks, pairings
from analysis.tables.sweep_table import read_sweep
from planner.laws import Chinchilla
from support.ladder import NANO
from support.made_sweep import observation, write_sweep
from sweeps.methods import FreezeBlocks, Full, LoRA

LAW = Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37)
BUDGETS = tuple(np.geomspace(1e14, 1e16, 5))
MEETS = 1e15  # where the known differences change their sign


def made(folder, differences, seeds=(0, 1)):
    """A sweep in which ln loss of each method lies so far from a common one: a function of the budget and its place."""
    chance, rows = np.random.default_rng(0), []
    for method, off in differences.items():
        for model in NANO[1:4]:
            for budget in BUDGETS:
                for seed in seeds:
                    one = observation(model, Full(), LAW, budget, seed=seed, noise=0.005, generator=chance)
                    trial = replace(one.trial, method=method)
                    rows.append(replace(one, trial=trial, loss=one.loss * math.exp(off(budget)), data_pairs=10**9))
    return read_sweep(write_sweep(folder / "mine", rows))


def test_the_order_and_where_it_changes_are_found(tmp_path):
    differences = {
        Full(token_table="freeze"): lambda budget: -0.03 * math.log(budget / MEETS),
        LoRA(rank=8): lambda budget: 0.0,
        FreezeBlocks(share=0.5): lambda budget: 0.1,
        Full(): lambda budget: -0.3,
    }
    runs = made(tmp_path, differences)
    found = {(pair.first, pair.second): pair for pair in pairings(runs)}
    assert len(found) == 3  # full tuning with its table trained has none to be compared with
    crossing = found["full token_table freeze", "lora rank 8 alpha 8"]
    low, high = crossing.crossover_interval
    assert low < crossing.crossover < high and crossing.crossover == pytest.approx(MEETS, rel=0.4)
    assert crossing.slope == pytest.approx(-0.03, abs=0.01) and len(crossing.places) == 5
    apart = found["lora rank 8 alpha 8", "freeze share 0.5"]
    assert apart.interval[0] < -0.1 < apart.interval[1] and apart.crossover is None
    told = methods_report.text(runs)
    assert "lora rank 8 alpha 8 at all budgets" in told and "then full token_table freeze" in told


def test_the_best_rank_is_found_inside_those_tried(tmp_path):
    ranks = {LoRA(rank=rank): lambda budget, rank=rank: 0.01 * math.log(rank / 12) ** 2 for rank in (2, 8, 32, 128)}
    (best,) = best_ranks(made(tmp_path, ranks, seeds=(0,)))
    assert best.interval[0] < 12 < best.interval[1] and best.rank == pytest.approx(12, rel=0.3)
    assert best.tried == (2, 128) and best.curves == 15 and best.inside > 12
    assert best_ranks(made(tmp_path, {LoRA(rank=2): lambda budget: 0.0, LoRA(rank=8): lambda budget: 0.1})) == []
