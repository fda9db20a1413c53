"""The table of a sweep holds no formula, every number as it is, and a column for every setting and score."""

from __future__ import annotations

import csv
from dataclasses import fields, replace

import pytest

from support.toy_stores import wanted_trials
from support.toy_sweeps import observe
from sweeps.methods import FreezeBlocks, LoRA
from sweeps.store.export import write_csv
from sweeps.trial import Observation, Training, Trial

FORMULAS = ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(tmp_path, text):
    (trial,) = wanted_trials(tmp_path / "file.toml", 1)
    observation = replace(observe(trial), reason=text, environment={text: text}, scores={"ndcg@10": -0.5})
    write_csv(tmp_path / "table.csv", [replace(observation, loss=-0.25)])
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["reason"] == row[f"environment.{text}"] == f"'{text}"
    assert float(row["loss"]) == -0.25  # a number is none, though it begins alike
    assert row["key"] == trial.key


def test_every_setting_and_every_score_has_a_column_of_its_own(tmp_path):
    methods = (LoRA(rank=8, alpha=16.0), FreezeBlocks(share=0.5))
    trials = [Trial("nano-25k", method, Training(), lr=1e-3, steps=60, budget=i) for i, method in enumerate(methods)]
    seen = [Observation(trial, "done", loss=1.0, scores={"x-test ndcg@10": 0.5}) for trial in trials]
    columns = write_csv(tmp_path / "table.csv", seen)
    with open(tmp_path / "table.csv", newline="") as file:
        lora, freeze = csv.DictReader(file)
    assert (lora["method.name"], lora["method.rank"], lora["method.alpha"], lora["method.share"]) == (
        "lora",
        "8",
        "16.0",
        "",
    )
    assert (freeze["method.share"], freeze["method.rank"], freeze["score.x-test ndcg@10"]) == ("0.5", "", "0.5")
    assert {f"training.{item.name}" for item in fields(Training)} <= set(columns)
    assert {item.name for item in fields(Trial)} - {"training"} <= set(columns)
