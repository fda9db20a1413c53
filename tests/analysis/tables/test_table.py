"""Which runs enter a fit: each that stays out has its reason, and nothing is dropped silently."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.tables.sweep_table import read_sweep
from planner.laws import Chinchilla
from support.ladder import NANO
from support.made_sweep import PAIR, observation, observations, write_sweep
from sweeps.methods import Full, LoRA
from sweeps.trial import Training, failure

LAW = Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37)


def trained(lr: float = 1e-3, budget: float = 1e14, method=None, **changes):
    options = {k: changes.pop(k) for k in ("training", "seed", "data_pairs") if k in changes}
    trial = observation(NANO[2], method or Full(), LAW, budget, lr=lr, **options)
    return replace(trial, **changes)


def test_every_row_is_used_or_has_a_reason(tmp_path):
    good = [trained(budget=budget) for budget in (1e13, 4e13, 1e14)]
    bad = {
        "diverged: loss is nan": failure(trained(lr=3.0).trial, "loss is nan", "diverged"),
        "fewer than 50 optimiser steps": trained(budget=1e10),
        "more than 4 epochs over its pairs": trained(budget=2e14, data_pairs=1000),
        "another learning rate did better in its cell (0.001)": trained(lr=1e-4, loss=9.0),
        "the same trial is recorded on an earlier line": good[0],
    }
    table = read_sweep(write_sweep(tmp_path, [*good, *bad.values()]))
    assert sorted(table.rows["run"]) == sorted(observation.key for observation in good)
    assert len(table.excluded) == len(bad)
    for reason, left_out in bad.items():
        assert any(key == left_out.key and text.startswith(reason) for key, text in table.excluded), reason


def test_thresholds_are_the_callers(tmp_path):
    folder = write_sweep(tmp_path, [trained(budget=1e10), trained(budget=1e14), trained(budget=2e14, data_pairs=1000)])
    assert len(read_sweep(folder).rows) == 1
    assert len(read_sweep(folder, min_steps=1, max_epochs=1e9).rows) == 3


def test_settings_of_a_method_are_methods_of_their_own(tmp_path):
    folder = write_sweep(tmp_path, [trained(method=LoRA(rank=rank)) for rank in (8, 32)])
    assert set(read_sweep(folder).settings) == {"lora rank 8 alpha 8", "lora rank 32 alpha 8"}


def test_seeds_are_rows_but_rates_compete_within_a_seed(tmp_path):
    grid = [trained(lr=lr, seed=seed, loss=1 + abs(lr - 2e-3)) for lr in (1e-3, 2e-3, 4e-3) for seed in (0, 1)]
    table = read_sweep(write_sweep(tmp_path, grid))
    assert sorted(table.rows["seed"]) == [0, 1]
    assert set(table.rows["lr"]) == {2e-3}
    assert table.learning_rates == {"full": {NANO[2].name: 2e-3}}


def test_a_best_rate_at_the_edge_of_the_tried_ones_is_told(tmp_path):
    inside = [trained(lr=lr, loss=1 + abs(lr - 2e-3)) for lr in (1e-3, 2e-3, 4e-3)]
    edge = [trained(lr=lr, loss=1 + abs(lr - 1e-3)) for lr in (1e-3, 2e-3, 4e-3)]
    codes = [
        [n.code for n in read_sweep(write_sweep(tmp_path / str(i), g)).caveats] for i, g in enumerate((inside, edge))
    ]
    assert codes == [[], ["rate_edge"]]


def test_rows_of_different_training_never_share_a_fit(tmp_path):
    folder = write_sweep(tmp_path, [trained(), trained(budget=4e14, training=Training(temperature=0.02))])
    with pytest.raises(ValueError, match=r"differ in training\.temperature: 0\.05 and 0\.02"):
        read_sweep(folder)


def test_a_broken_line_is_named_and_a_broken_file_refused(tmp_path):
    folder = write_sweep(tmp_path, [trained(seed=seed) for seed in range(40)])
    path = folder / "observations.jsonl"
    path.write_text(path.read_text() + '{"trial": {"mod\n')
    caveats = [n for n in read_sweep(folder).caveats if n.code == "broken_line"]
    assert len(caveats) == 1
    assert f"{path}:41:" in caveats[0].text
    path.write_text("\n".join(["not json"] * 10))
    with pytest.raises(ValueError, match="10 of 10 lines"):
        read_sweep(folder)


def test_an_empty_sweep_says_so(tmp_path):
    with pytest.raises(ValueError, match="no observation can enter a fit: the file is empty"):
        read_sweep(write_sweep(tmp_path, []))


def test_the_mean_pair_is_that_of_the_data(tmp_path):
    pair = read_sweep(write_sweep(tmp_path, observations(models=NANO[1:3], budgets=[1e13, 1e14]))).pair
    assert pair.tokens == pytest.approx(PAIR.tokens, rel=1e-6)
    assert pair.sum_sq_lengths == pytest.approx(PAIR.sum_sq_lengths, rel=1e-6)
