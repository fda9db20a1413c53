"""A merged folder says its parents, what each counts for, and the probe set that a search was judged by."""

from __future__ import annotations

import json

import pytest

from runner.cli import main
from runner.merging.rules import Rule, merge
from support.tuned_models import BASE


@pytest.mark.parametrize("method", ["average", "ties"])
def test_a_merge_by_a_rule_names_its_parents_and_their_weights(tasks, tmp_path, method):
    _, models = tasks
    factors = merge(BASE, models, Rule(method, (3.0, 1.0)), tmp_path / "out")
    record, card = json.loads((tmp_path / "out/merge.json").read_text()), (tmp_path / "out/README.md").read_text()
    assert record["method"] == method and record["weights"] == [3.0, 1.0]
    assert [parent["model"] for parent in record["parents"]] == [model.name for model in models]
    assert len({parent["hash"] for parent in record["parents"]}) == 2
    assert factors is None or [parent["factor"] for parent in record["parents"]] == factors == [0.75, 0.25]
    assert ("density" in record) == (method == "ties")
    assert all(parent["hash"] in card for parent in record["parents"]) and "- merge" in card


def test_a_search_names_its_probe_set_and_a_merge_of_merges_keeps_no_old_record(tasks, tmp_path):
    folder, models = tasks
    command = ["merge", "nano-25k", *map(str, models), "--method", "self-positioning", "--negatives", "0", "--json"]
    assert main([*command, "--probe", str(folder / "both.jsonl"), "--steps", "3", "--out", str(tmp_path / "one")]) == 0
    record = json.loads((tmp_path / "one/merge.json").read_text())
    assert record["probe"]["data"] == str(folder / "both.jsonl") and len(record["probe"]["hash"]) == 16
    assert record["search"]["steps"] == 3 and len(record["weights"]) == 2 and record["scale"] > 0
    assert "both.jsonl" in (tmp_path / "one/README.md").read_text()
    merge(BASE, [tmp_path / "one", models[0]], Rule("average"), tmp_path / "two")
    assert json.loads((tmp_path / "two/merge.json").read_text())["parents"][0]["model"] == "one"
