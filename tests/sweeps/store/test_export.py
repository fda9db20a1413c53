"""The table of a sweep holds no formula, and every number as it is."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from support.toy_stores import wanted_trials
from support.toy_sweeps import observe
from sweeps.store.export import write_csv

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
