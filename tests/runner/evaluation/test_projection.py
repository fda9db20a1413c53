"""`embed project`: what the two dimensions are, and that `fit` reads what it writes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from analysis.tables.projection import read_projection
from runner.cli import main
from runner.evaluation.projection import axes, centred, side
from runner.export.sentence_transformers import export
from runner.trainer import train_encoder
from sweeps.methods import LoRA
from sweeps.trial import Trial


def state(seed: int, spread: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(40, 6, generator=generator, dtype=torch.float64) * spread + seed for _ in range(2))


def test_the_axes_hold_the_most_variance_and_do_not_depend_on_where_a_state_lies():
    spread = torch.tensor([3.0, 0.1, 2.0, 0.1, 0.1, 0.1], dtype=torch.float64)
    states = [state(1, spread), state(2, spread)]
    directions = axes(states)
    assert torch.allclose(directions.T @ directions, torch.eye(2, dtype=torch.float64), atol=1e-12)
    assert directions[[1, 3, 4, 5]].abs().max() < 0.1  # the two wide directions, and no other
    moved = [(query + 5, document + 5) for query, document in states]
    assert torch.allclose(directions, axes(moved))
    for one in states:
        found = side(*one, directions)
        assert 0.95 < found["variance"] <= 1
        assert torch.tensor(found["query"] + found["document"], dtype=torch.float64).mean(0).abs().max() < 1e-9
        again = centred(*one) @ directions
        assert torch.allclose(torch.tensor(found["query"], dtype=torch.float64), again[:40])


def test_accuracy_is_of_all_dimensions():
    query = torch.eye(4, dtype=torch.float64)
    assert side(query, query, torch.zeros(4, 2, dtype=torch.float64))["accuracy"] == 1
    assert side(query, query.roll(1, 0), torch.zeros(4, 2, dtype=torch.float64))["accuracy"] == 0


def test_a_trained_model_is_projected_and_read_back(training, tmp_path, capsys):
    trial = Trial("nano-25k", LoRA(4), replace(training, pool_size=32), lr=1e-2, steps=30)
    observation, encoder = train_encoder(trial)
    export(encoder, observation, tmp_path / "model")
    model, out = str(tmp_path / "model"), tmp_path / "results" / "projection.json"
    assert main(["project", model, "--out", str(out), "--pairs", "32"]) == 2
    assert "needs a full model and its observation.json" in capsys.readouterr().err
    (tmp_path / "model" / "observation.json").write_text(json.dumps(observation.to_json()))
    assert main(["project", model, "--out", str(out), "--pairs", "32", "--json"]) == 0
    told, read = json.loads(capsys.readouterr().out), read_projection(out)
    assert len(read.before.query) == len(read.after.document) == 32
    assert (read.model, read.dims) == ("nano-25k", 32)
    assert read.after.accuracy == told["after"]["accuracy"] == pytest.approx(observation.accuracy)  # the same pool
    assert read.after.accuracy > read.before.accuracy
    assert main(["project", model, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    out.unlink()
    assert main(["project", model, "--out", str(out), "--pairs", "100000"]) == 2
    assert "fewer than one pool of 100000" in capsys.readouterr().err and not out.exists()
