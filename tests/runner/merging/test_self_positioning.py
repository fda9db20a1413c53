"""Self Positioning: its gradient is that of the loss, it finds what a grid finds, and shows where it went."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from runner.cli import main
from runner.data.pairs import prepare
from runner.data.tokenizer import load_tokenizer
from runner.merging import surface as surface_module
from runner.merging.rules import open_all, slerp
from runner.merging.self_positioning import MergedEncoder, PositionSearch, find_position, loss_of, probe_loss
from runner.model.encoder import make_encoder
from support.tuned_models import BASE, NANO, same
from sweeps.methods import Full


@pytest.fixture(scope="module")
def merged_encoder(tasks):
    base, models = open_all(BASE, tasks[1])
    return MergedEncoder(base, models, make_encoder(NANO, Full(), "mean", torch.device("cpu"), 0))


@pytest.fixture(scope="module")
def probe(tasks, training):
    asked = replace(training, data=str(tasks[0] / "both.jsonl"))
    pairs = prepare(asked, NANO.source, judged=False).pairs
    return replace(pairs, train=pairs.train[:256])


def test_the_gradient_to_the_factors_is_that_of_the_loss(merged_encoder, probe):
    merged_encoder.encoder.double()
    search, chosen = PositionSearch(negatives=0), probe.train[:32]
    at = torch.tensor([0.6, 0.5], dtype=torch.float64)
    merged_encoder.set_factors(at)
    loss_of(merged_encoder.encoder, probe, chosen, search)[0].backward()
    factor_gradient = merged_encoder.factor_gradient()
    for place in range(2):
        sides = []
        for nudge in (1e-4, -1e-4):
            merged_encoder.set_factors(at + nudge * torch.nn.functional.one_hot(torch.tensor(place), 2))
            sides.append(loss_of(merged_encoder.encoder, probe, chosen, search)[0].item())
        assert factor_gradient[place].item() == pytest.approx((sides[0] - sides[1]) / 2e-4, rel=1e-4)
    merged_encoder.encoder.float()


@pytest.mark.slow
def test_the_search_finds_what_a_grid_finds_with_far_fewer_passes(merged_encoder, probe):
    search = PositionSearch(steps=60, rate=2e-2, mu=0.0, negatives=0)
    found = find_position(merged_encoder, probe, search)

    def loss_at(factors: torch.Tensor) -> float:
        merged_encoder.set_factors(factors)
        return probe_loss(merged_encoder.encoder, probe, search)

    grid = [
        loss_at(scale * slerp(torch.tensor([1 - share, share], dtype=torch.float64), merged_encoder.gram))
        for share in np.linspace(0.05, 0.95, 10)
        for scale in np.linspace(0.2, 1.6, 8)
    ]
    ours = loss_at(torch.tensor(found.factors, dtype=torch.float64))
    assert ours <= min(grid) * 1.005
    grid_passes = len(grid) * len(probe.train)
    assert grid_passes >= 5 * search.steps * search.batch  # 80 x 256 pairs against 60 x 32
    assert min(loss_at(torch.eye(2, dtype=torch.float64)[i]) for i in range(2)) > ours


def test_the_command_searches_and_writes(tasks, tmp_path, capsys):
    folder, models = tasks
    command = ["merge", "nano-25k", *map(str, models), "--method", "self-positioning", "--negatives", "0"]
    command += ["--probe", str(folder / "both.jsonl"), "--steps", "3", "--out", str(tmp_path / "out"), "--json"]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["weights"]) == 2 and said["scale"] != 1 and said["tokens"] > 0
    assert load_tokenizer(str(tmp_path / "out")) and not same(tmp_path / "out", models[0])
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "self-positioning"], "needs one"),
        (["--method", "average", "--probe", "x.jsonl"], "only for self-positioning"),
        (["--method", "average", "--steps", "3"], "--steps: only for"),
        (["--method", "self-positioning", "--probe", "x.jsonl", "--weights", "1,2"], "leave them out"),
        (["--method", "self-positioning", "--probe", "none.jsonl"], "no such file"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tasks, tmp_path, options, words, capsys):
    command = ["merge", "nano-25k", *map(str, tasks[1]), *options, "--out", str(tmp_path / "out")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


def test_a_probe_batch_of_one_pair_has_no_negatives():
    with pytest.raises(ValueError, match="batch is 1"):
        PositionSearch(batch=1)


@pytest.mark.slow
def test_the_surface_holds_the_path_and_the_losses_that_the_search_saw(tasks, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(surface_module, "POINTS", 7)
    folder, models = tasks
    out = tmp_path / "surface.json"
    command = ["merge", "nano-25k", *map(str, models), "--method", "self-positioning", "--negatives", "0"]
    command += ["--probe", str(folder / "both.jsonl"), "--steps", "4", "--rate", "0.1", "--out", str(tmp_path / "out")]
    assert main([*command, "--surface", str(out)]) == 0
    seen = json.loads(out.read_text())
    assert seen["models"] == ["plain", "turned"] and seen["others"] == [] and len(seen["path"]) == 5
    for along, place in (("x", 0), ("y", 1)):
        assert all(seen[along][0] < point[place] < seen[along][-1] for point in [*seen["path"], (0, 0), (1, 1)])
    loss = np.array(seen["loss"])
    assert loss.shape == (len(seen["y"]), len(seen["x"])) and np.isfinite(loss).all()
    row, column = np.unravel_index(loss.argmin(), loss.shape)
    assert seen["x"][column] > 0 and seen["y"][row] > 0  # the base is not the best place
    capsys.readouterr()
    assert main([*command, "--surface", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
