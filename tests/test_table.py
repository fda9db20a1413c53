"""Which runs enter a fit: each that stays out has its reason, and nothing is dropped silently."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from analysis.table import Columns, read_runs, read_sweep, runs_table
from made_sweep import PAIR, observation, observations, write_sweep
from planner.laws import Chinchilla
from sweeps.methods import Full, LoRA
from sweeps.models import NANO
from sweeps.trial import Training, failure

LAW = Chinchilla(E=0.3, A=50.0, alpha=0.35, B=300.0, beta=0.37)


def made(lr: float = 1e-3, budget: float = 1e14, method=None, **changes):
    options = {k: changes.pop(k) for k in ("training", "seed", "data_pairs") if k in changes}
    found = observation(NANO[1], method or Full(), LAW, budget, lr=lr, **options)
    return replace(found, **changes)


def test_every_row_is_used_or_has_a_reason(tmp_path):
    good = [made(budget=budget) for budget in (1e13, 4e13, 1e14)]
    bad = {
        "diverged: loss is nan": failure(made(lr=3.0).trial, "loss is nan", "diverged"),
        "fewer than 50 optimiser steps": made(budget=1e10),
        "more than 4 epochs over its pairs": made(budget=2e14, data_pairs=1000),
        "another learning rate did better in its cell (0.001)": made(lr=1e-4, loss=9.0),
        "its loss is -1.0, not a positive number": made(seed=8, loss=-1.0),
        "the same trial is recorded on an earlier line": good[0],
    }
    table = read_sweep(write_sweep(tmp_path, [*good, *bad.values()]))
    assert sorted(table.rows["run"]) == sorted(o.key for o in good)
    assert len(table.excluded) == len(bad)
    for reason, left_out in bad.items():
        assert any(key == left_out.key and text.startswith(reason) for key, text in table.excluded), reason


def test_thresholds_are_the_callers(tmp_path):
    folder = write_sweep(tmp_path, [made(budget=1e10), made(budget=1e14), made(budget=2e14, data_pairs=1000)])
    assert len(read_sweep(folder).rows) == 1
    assert len(read_sweep(folder, min_steps=1, max_epochs=1e9).rows) == 3


def test_settings_of_a_method_are_methods_of_their_own(tmp_path):
    folder = write_sweep(tmp_path, [made(method=LoRA(rank=rank)) for rank in (8, 32)])
    assert set(read_sweep(folder).settings) == {"lora rank 8 alpha 8", "lora rank 32 alpha 8"}


def test_seeds_are_rows_but_rates_compete_within_a_seed(tmp_path):
    grid = [made(lr=lr, seed=seed, loss=1 + abs(lr - 2e-3)) for lr in (1e-3, 2e-3, 4e-3) for seed in (0, 1)]
    table = read_sweep(write_sweep(tmp_path, grid))
    assert sorted(table.rows["seed"]) == [0, 1]
    assert set(table.rows["lr"]) == {2e-3}
    assert table.learning_rates == {"full": {NANO[1].name: 2e-3}}


def test_a_best_rate_at_the_edge_of_the_tried_ones_is_told(tmp_path):
    inside = [made(lr=lr, loss=1 + abs(lr - 2e-3)) for lr in (1e-3, 2e-3, 4e-3)]
    edge = [made(lr=lr, loss=1 + abs(lr - 1e-3)) for lr in (1e-3, 2e-3, 4e-3)]
    codes = [
        [n.code for n in read_sweep(write_sweep(tmp_path / str(i), g)).notices] for i, g in enumerate((inside, edge))
    ]
    assert codes == [[], ["rate_edge"]]


def test_rows_of_different_training_never_share_a_fit(tmp_path):
    folder = write_sweep(tmp_path, [made(), made(budget=4e14, training=Training(temperature=0.02))])
    with pytest.raises(ValueError, match=r"differ in training\.temperature: 0\.05 and 0\.02"):
        read_sweep(folder)


def test_a_broken_line_is_named_and_a_broken_file_refused(tmp_path):
    folder = write_sweep(tmp_path, [made(seed=seed) for seed in range(40)])
    path = folder / "observations.jsonl"
    path.write_text(path.read_text() + '{"trial": {"mod\n')
    notices = [n for n in read_sweep(folder).notices if n.code == "broken_line"]
    assert len(notices) == 1
    assert f"{path}:41:" in notices[0].text
    path.write_text("\n".join(["not json"] * 10))
    with pytest.raises(ValueError, match="10 of 10 lines"):
        read_sweep(folder)


def test_an_empty_sweep_says_so(tmp_path):
    with pytest.raises(ValueError, match="no observation can enter a fit: the file is empty"):
        read_sweep(write_sweep(tmp_path, []))


def test_the_mean_pair_is_that_of_the_data(tmp_path):
    pair = read_sweep(write_sweep(tmp_path, observations(models=NANO[:2], budgets=[1e13, 1e14]))).pair
    assert pair.tokens == pytest.approx(PAIR.tokens, rel=1e-6)
    assert pair.squares == pytest.approx(PAIR.squares, rel=1e-6)


FRAME = pd.DataFrame({"n": [1e6, 1e7, 1e8], "d": [1e8, 1e9, 1e10], "loss": [3.0, 2.5, 2.0], "tag": ["a", "b", "c"]})
COLUMNS = Columns(loss="loss", n="n", d="d")


def test_tokens_follow_from_flops():
    frame = FRAME.assign(c=6 * FRAME.n * FRAME.d)
    table = runs_table(frame, Columns(loss="loss", n="n", c="c"))
    assert table.rows["tokens"].tolist() == pytest.approx(FRAME.d.tolist())


@pytest.mark.parametrize(
    ("frame", "columns", "words"),
    [
        (FRAME, Columns(loss="los", n="n", d="d"), "no column 'los' (--loss); it has: n, d, loss, tag"),
        (FRAME, Columns(loss="loss", n="n"), "--d"),
        (FRAME, Columns(loss="loss", n="n", d="d", c="d"), "not both"),
        (FRAME, Columns(loss="loss", c="d"), "--c needs --n"),
        (FRAME, Columns(loss="tag", n="n", d="d"), "row 1: tag is 'a', not a number"),
        (FRAME.assign(loss=[3.0, -0.5, 2.0]), COLUMNS, "row 2: loss is -0.5; it must be positive"),
        (FRAME.assign(loss=[3.0, 2.5, 0.0]), COLUMNS, "row 3: loss is 0; it must be positive"),
        (FRAME.assign(n=[1e6, 0, 1e8]), COLUMNS, "row 2: n is 0; it must be positive"),
        (FRAME.assign(n=[1e6, float("inf"), 1e8]), COLUMNS, "row 2: n is inf"),
        (FRAME.assign(d=[1e6, float("nan"), 1e8]), COLUMNS, "row 2: d is nan"),
        (FRAME[:0], COLUMNS, "has no rows"),
        (FRAME.assign(loss=float("nan")), COLUMNS, "no row can enter a fit"),
    ],
)
def test_a_bad_table_is_refused_in_a_sentence(frame, columns, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        runs_table(frame, columns, name="runs.csv")


def test_failed_repeated_and_untrained_rows_stay_out_with_a_reason():
    more = pd.DataFrame({"n": [1e6, 1e6, 1e9], "d": [1e8, 0.0, 1e9], "loss": [3.0, 9.0, float("nan")], "tag": "d"})
    table = runs_table(pd.concat([FRAME, more], ignore_index=True), COLUMNS)
    assert len(table.rows) == 3
    assert dict(table.excluded) == {
        "row 4": "it repeats an earlier row",
        "row 5": "it saw no tokens; the laws are about training",
        "row 6": "its loss is missing or not finite",
    }
    assert [n.code for n in table.notices] == ["duplicates"]


def test_equal_losses_of_different_runs_are_no_copies():
    twice = pd.concat([FRAME, FRAME], ignore_index=True).assign(run=range(6))
    assert len(runs_table(twice, Columns(loss="loss", n="n", d="d", run="run")).rows) == 6


def test_highest_losses_are_dropped_only_when_asked():
    table = runs_table(FRAME, COLUMNS, drop_highest=1)
    assert table.excluded == (("row 1", "one of the 1 highest losses, dropped as asked"),)
    with pytest.raises(ValueError, match="--drop-highest is 3; there are 3 rows"):
        runs_table(FRAME, COLUMNS, drop_highest=3)


def test_csv_and_parquet_give_the_same_table(tmp_path):
    pytest.importorskip("pyarrow")
    FRAME.to_csv(tmp_path / "runs.csv", index=False)
    FRAME.to_parquet(tmp_path / "runs.parquet")
    csv, parquet = (read_runs(tmp_path / f"runs.{ending}", COLUMNS) for ending in ("csv", "parquet"))
    assert csv.hash == parquet.hash


@pytest.mark.parametrize(("name", "words"), [("runs.txt", "known endings"), ("runs.csv", "cannot be read")])
def test_an_unreadable_table_is_refused(tmp_path, name, words):
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=words):
        read_runs(tmp_path / name, COLUMNS)
