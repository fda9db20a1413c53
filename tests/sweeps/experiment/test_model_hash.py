"""A model in a folder is what lies there: moved it is the same, replaced in place it is another."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.experiment import model_hash as module
from sweeps.experiment.grid import cells
from sweeps.experiment.model_hash import model_hash
from sweeps.experiment.recipe_file import read_recipe, write_recipe
from sweeps.experiment.sources import Data
from sweeps.experiment.sweep_file import read_sweep
from sweeps.methods import Full
from sweeps.models import NANO_FOLDER
from sweeps.store import records
from sweeps.trial import Observation, Training, Trial

DATA = Data("0" * 16, 10**6, 1000, 60.0, 3000.0)


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(NANO_FOLDER / "nano-7k", tmp_path / "base"))


def retrain(folder: Path) -> None:
    """Other weights under the same names: the same size, and the times of the old ones."""
    file = folder / "model.safetensors"
    before, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_copy_elsewhere_is_the_same_model(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    assert model_hash(str(copy)) == model_hash(str(folder)) != ""
    assert model_hash("nano-7k") == model_hash("pythia-70m") == ""  # these are their names


@pytest.mark.parametrize("change", ["weights", "config.json", "tokenizer.json"])
def test_what_is_replaced_in_place_is_another_model(folder, change):
    before = model_hash(str(folder))
    if change == "weights":
        retrain(folder)
    else:
        content = json.loads((folder / change).read_text())
        content |= {"layer_norm_eps": 1e-6} if change == "config.json" else {"normalizer": {"type": "NFC"}}
        (folder / change).write_text(json.dumps(content))
    assert model_hash(str(folder)) != before


def test_what_only_says_where_it_came_from_does_not_count(folder):
    before = model_hash(str(folder))
    config = json.loads((folder / "config.json").read_text())
    config |= {"transformers_version": "4.0.0", "_name_or_path": "somewhere"}
    (folder / "config.json").write_text(json.dumps(config, indent=8))
    (folder / "README.md").write_text("of somebody")
    assert model_hash(str(folder)) == before


def test_weights_are_read_once_and_large_ones_in_parts(folder, monkeypatch):
    read, plain = [], module._file_hash
    monkeypatch.setattr(module, "_file_hash", lambda file: read.append(file.name) or plain(file))
    names = {model_hash(str(folder)) for _ in range(3)}
    assert len(names) == 1 and read.count("model.safetensors") == 1
    monkeypatch.setattr(module, "BLOCK", 64)
    monkeypatch.setattr(module, "BLOCKS", 16)
    whole = (folder / "model.safetensors").read_bytes()
    sparse = plain(folder / "model.safetensors")
    (folder / "model.safetensors").write_bytes(bytes(byte ^ 1 for byte in whole))
    assert plain(folder / "model.safetensors") != sparse


SWEEP = """
models = ["{folder}"]
budgets = [1e12]
[[methods]]
name = "full"
lr = 1e-3
"""


def trial_of(path: Path) -> Trial:
    (cell,) = cells(read_sweep(path), DATA)
    return cell.trial(1e-3)


def test_a_sweep_takes_no_observation_of_other_weights(folder, tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP.format(folder=folder))
    old = trial_of(path)
    retrain(folder)
    new = trial_of(path)
    assert old.key != new.key and replace(old, model_hash=new.model_hash).key == new.key
    path.write_text(SWEEP.format(folder=shutil.copytree(folder, tmp_path / "moved")))
    assert trial_of(path).key == new.key  # what was observed of it holds there too
    assert Trial.from_json(json.loads(json.dumps(new.to_json()))).key == new.key
    path.write_text(SWEEP.format(folder=folder))
    seen = [Observation(trial, "done", loss=1.0) for trial in (old, new)]
    records.export(tmp_path, seen, new.training, models=read_sweep(path).models)
    assert [o.key for o in records.read_observations(tmp_path / "observations.jsonl")] == [new.key]
    assert [o.key for o in records.read_observations(tmp_path / "other-conditions.jsonl")] == [old.key]


def test_older_records_keep_their_keys():
    trial = Trial("nano-7k", Full(), Training(), 1e-3, 10)
    assert "model_hash" not in trial.to_json()
    assert replace(trial, model="some/folder").key != trial.key


def test_a_recipe_is_of_the_weights_that_it_was_written_or_read_with(folder, tmp_path):
    path = tmp_path / "recipe.toml"
    write_recipe(path, Trial(str(folder), Full(), Training(), 1e-3, 10), {})
    read = read_recipe(path)
    assert read.model_hash == model_hash(str(folder))
    write_recipe(path, read, {})
    retrain(folder)
    assert read_recipe(path).model_hash == read.model_hash != model_hash(str(folder))
