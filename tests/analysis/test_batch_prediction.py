"""What laws say of batch sizes before they are tried: losses near the truth, and the best size of those tried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis import fit_laws
from analysis.batch_prediction import main, predicted
from analysis.commands.files import write_book
from planner.batch_law import AtBatch
from planner.evidence import shipped
from support.batch_sweeps import TRUTHS, batch_observations
from support.made_sweep import write_sweep
from sweeps.experiment.sweep_file import read_sweep
from sweeps.methods import Full

SWEEP = """
suite = "nano"
models = ["nano-340k"]
budgets = [1.28e13]
min_steps = 72
[training]
batch_size = [8, 24, 64, 192, 512]
[[methods]]
name = "full"
lr = 1e-3
"""


@pytest.mark.slow
def test_a_larger_budget_is_predicted_at_every_batch_size(tmp_path, capsys):
    book = fit_laws(write_sweep(tmp_path / "mine", batch_observations()), bootstraps=50)
    (tmp_path / "held-back.toml").write_text(SWEEP)
    told = predicted(book, read_sweep(tmp_path / "held-back.toml"), 1.28e13)
    law, term = TRUTHS[Full()]
    for row in told["trials"]:
        truth = AtBatch(law, term, row["batch_size"], 0).loss(335_712, row["tokens"])
        assert row["loss"] == pytest.approx(truth, rel=0.03)
        assert row["interval"][0] < row["loss"] < row["interval"][1]
    [best] = told["best"]
    assert best["of_those_tried"] in (24, 64)
    assert best["interval"][0] < best["batch"] < best["interval"][1]
    laws = write_book(tmp_path / "laws.json", book)
    assert main([str(laws), str(tmp_path / "held-back.toml"), "1.28e13"]) == 0
    assert json.loads(capsys.readouterr().out)["laws"]["rows_hash"] == told["laws"]["rows_hash"]


@pytest.mark.parametrize(
    ("laws", "budget", "said"),
    [
        ("none", "1e13", "none: no such file or directory"),
        ("batch", "much", "BUDGET is 'much'; it must be a positive number of FLOP"),
        ("batch", "1e9", "no trial at 1e+09 FLOP has min_steps (72) or more"),
        ("reference", "1e13", "the laws of reference know no batch sizes for the sweep's methods"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(tmp_path, capsys, laws, budget, said):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    path = shipped().get(laws, Path(laws))
    assert main([str(path), str(tmp_path / "sweep.toml"), budget]) == 2
    error = capsys.readouterr().err
    assert said.lower() in error.lower() and error.count("\n") == 1
