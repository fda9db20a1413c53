"""`embed train` tells what it trained on: on the screen, in the observation, in the model card."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from runner.cli import main
from sweeps.experiment.recipe_file import write_recipe
from sweeps.methods import Full
from sweeps.models import find_model
from sweeps.support.processes import own_code
from sweeps.trial import Training, Trial


def test_bad_records_and_the_hash_of_the_data_are_told_everywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"query": f"question {i}", "positive": f"answer {i}", "held_out": i < 8} for i in range(150)]
    Path("pairs.jsonl").write_text("\n".join([*map(json.dumps, rows), '{"query": "half a line']))
    training = Training(data="pairs.jsonl", batch_size=8, context=16, pool_size=8, pools=1)
    write_recipe(Path("recipe.toml"), Trial("nano-7k", Full(), training, lr=1e-4, steps=2), {})
    assert main(["train", "recipe.toml", "--out", "out", "--on", "cpu"]) == 0
    told = f"1 of 151 records could not be used: {tmp_path / 'pairs.jsonl'}:151: not JSON"
    assert f"embed: {told}" in capsys.readouterr().err
    observation = json.loads(Path("out/observation.json").read_text())
    assert (observation["problems"]["bad"], observation["problems"]["records"]) == (1, 151)
    data_hash = observation["trial"]["training"]["data_hash"]
    card = Path("out/README.md").read_text()
    assert len(data_hash) == 16 and f"pairs.jsonl (hash {data_hash})" in card and told in card


def test_pools_are_as_large_as_small_data_fill_and_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"question {i}", "answer": f"answer {i}", "held_out": i < 5} for i in range(60)]
    Path("pairs.json").write_text(json.dumps(rows))
    write_recipe(Path("recipe.toml"), Trial("nano-7k", Full(), Training(data="pairs.json"), lr=1e-4, steps=2), {})
    assert main(["train", "recipe.toml", "--out", "out", "--on", "cpu"]) == 0
    told = "embed: the held-out loss is measured in 1 x 5 pairs, not 2 x 256: 5 are held out"
    assert told in capsys.readouterr().err
    training = json.loads(Path("out/observation.json").read_text())["trial"]["training"]
    assert (training["pool_size"], training["pools"]) == (5, 1)


def test_it_says_what_was_predicted_and_what_it_got_and_the_card_says_so_too(training, tmp_path, capsys):
    trial = Trial("nano-25k", Full(), replace(training, pools=2), lr=1e-2, steps=4)
    write_recipe(tmp_path / "recipe.toml", trial, {"loss": 3.0, "interval": [0.1, 9.0]})
    assert main(["train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "model"), "--on", "cpu"]) == 0
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if "predicted" in line)
    assert line.startswith("held-out loss: predicted 3.000 (90 %: 0.100 to 9.000), got ") and line.endswith("inside")
    assert f"- {line}" in (tmp_path / "model" / "README.md").read_text()


def test_a_loss_in_smaller_pools_is_not_held_against_the_predicted_one(training, tmp_path, capsys):
    rows = [{"query": f"what is {n}", "positive": f"the number {n}", "held_out": n < 20} for n in range(120)]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trial = Trial("nano-25k", Full(), replace(training, data="few.jsonl", pool_size=256), lr=1e-2, steps=4)
    write_recipe(tmp_path / "recipe.toml", trial, {"loss": 3.0, "interval": [0.1, 9.0]})
    assert main(["train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "model"), "--on", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "in pools of 256 pairs; the held-out data are enough for 20: not comparable" in printed


def test_a_model_that_cannot_be_is_refused_before_any_library_is_loaded(tmp_path):
    folder = Path(shutil.copytree(find_model("nano-7k").source, tmp_path / "model"))
    write_recipe(tmp_path / "recipe.toml", Trial(str(folder), Full(), Training(), lr=1e-3, steps=3), {})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**9}))
    code = "import sys; from runner.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    command = [sys.executable, "-c", code, "train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "out")]
    run = subprocess.run(command, env=os.environ | own_code(), capture_output=True, text=True)
    assert run.stdout == "2 False\n"
    assert run.stderr.count("\n") == 1 and "num_hidden_layers in its config.json is 1000000000" in run.stderr
    assert not (tmp_path / "out").exists()
