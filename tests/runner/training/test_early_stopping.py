"""Evaluations during training: what they measure, when they stop a training, and what is kept."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from runner.tasks.score import BrokenVectors, retrieval
from runner.trainer import train, train_encoder
from runner.training import early_stopping as early_stopping_module
from runner.training import outcome
from runner.training.early_stopping import evaluate_pools
from runner.training.space_health import collapsed, health
from support.backbones import examples_for
from sweeps.methods import Full, LoRA
from sweeps.models import find_model
from sweeps.store.records import read_record
from sweeps.trial import Observation, Trial


@pytest.fixture
def watched(training):
    return replace(training, evaluate_every=5, score=True)


def unit(*shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def test_health_of_spaces_that_are_known():
    basis = torch.eye(8, dtype=torch.float64)
    spread = health(basis, basis)
    assert spread["alignment"] == pytest.approx(0)
    assert spread["effective_rank"] == pytest.approx(8)
    assert spread["mean_cosine"] == pytest.approx(0, abs=1e-12)
    assert spread["uniformity"] == pytest.approx(-4)  # every distance is the square root of 2
    point = normalize(torch.ones(8, 8, dtype=torch.float64), dim=-1)
    narrow = health(point, -point)
    assert narrow["effective_rank"] == pytest.approx(1)
    assert narrow["mean_cosine"] == pytest.approx(1) and narrow["uniformity"] == pytest.approx(0)
    assert narrow["alignment"] == pytest.approx(4)


def test_health_does_not_depend_on_the_axes():
    query, document = unit(40, 6), unit(40, 6)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    assert health(query @ rotation, document @ rotation) == pytest.approx(health(query, document), abs=1e-9)


def test_variance_in_one_direction_is_seen():
    line = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    vectors = normalize(torch.cat([torch.ones_like(line), 0.2 * line, 0.001 * torch.randn(50, 3)], dim=1), dim=-1)
    assert health(vectors, vectors)["first_direction"] > 0.99


def test_scores_of_rankings_that_are_known():
    document = torch.eye(30)
    assert retrieval(document, document)["ndcg@10"] == 1
    shifted = document.roll(1, 0) * 2 + document  # another document is nearest, its own comes second
    found = retrieval(shifted, document)
    assert found["accuracy@1"] == 0 and found["accuracy@5"] == 1
    assert found["mrr@10"] == pytest.approx(0.5)
    assert found["ndcg@10"] == pytest.approx(1 / math.log2(3))


METHODS = examples_for(find_model("nano-25k"))


@pytest.mark.parametrize(
    "method",
    [method if method.name == "lora" else pytest.param(method, marks=pytest.mark.slow) for method in METHODS],
    ids=lambda m: m.name,
)
def test_watching_changes_no_loss_and_a_healthy_training_is_not_flagged(training, watched, method):
    trial = Trial("nano-25k", method, training, lr=1e-2, steps=12)
    seen = train(replace(trial, training=watched))
    assert seen.loss == train(trial).loss
    assert [each["step"] for each in seen.evaluations] == [0, 5, 10]
    assert not any(each["collapsed"] for each in seen.evaluations)
    assert 0 < seen.scores["ndcg@10"] <= 1 and seen.scores["effective_rank"] > 1
    assert Observation.from_json(seen.to_json()) == seen


def test_a_collapse_made_on_purpose_is_flagged_within_50_steps(watched):
    """With a large rate and no care for the gradient's size, one direction comes to dominate."""
    wild = replace(watched, clip=1e9, warmup=0.0, temperature=1.0, stop_on_collapse=True)
    seen = train(Trial("nano-25k", Full(), wild, lr=1.0, steps=50))
    assert seen.evaluations[-1]["collapsed"] and seen.evaluations[-1]["step"] <= 50
    assert "collapsed" in seen.stopped or seen.status == "diverged"


@pytest.mark.parametrize("more", [{}, {"patience": 1, "warmup": 0.0}], ids=["watched", "with patience"])
def test_a_training_that_diverges_while_it_is_watched_is_an_observation_with_its_reason(watched, more):
    seen = train(Trial("nano-25k", Full(), replace(watched, evaluate_every=1, **more), lr=1e6, steps=8))
    assert seen.status == "diverged" and seen.reason == "vectors of held-out pairs are not finite, at step 1 of 8"
    assert [each["step"] for each in seen.evaluations] == [0] and seen.loss is None and seen.pairs == 16
    assert Observation.from_json(json.loads(json.dumps(seen.to_json()))) == seen


def test_a_task_without_a_score_is_a_divergence_and_costs_no_record(training, monkeypatch):
    """Vectors that are all alike have a loss, and no correlation with anything."""

    def alike(*_):
        raise BrokenVectors("sts: spearman is not a number")

    monkeypatch.setattr(outcome, "task_scores", alike)
    seen = train(Trial("nano-25k", Full(), training, lr=1e-3, steps=2))
    assert (seen.status, seen.reason) == ("diverged", "sts: spearman is not a number") and seen.flops > 0


@pytest.fixture
def few(training, pairs_file, tmp_path):
    """256 pairs to train on, seen over and over, and many held out."""
    rows = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps({**row, "held_out": i >= 256}) + "\n" for i, row in enumerate(rows)))
    return replace(training, data=str(path), batch_size=32, pool_size=128, evaluate_every=10, warmup=0.02, cooldown=0.0)


@pytest.mark.slow
def test_many_epochs_shrink_the_space_and_are_stopped(few):
    """What a practitioner saw: without an evaluator epochs went on while the space shrank into a blob."""
    blind = replace(few, temperature=0.01)
    unwatched = train(Trial("nano-25k", Full(), blind, lr=0.1, steps=80))
    assert unwatched.evaluations[-1]["effective_rank"] < unwatched.evaluations[0]["effective_rank"] / 2
    watched = train(Trial("nano-25k", Full(), replace(blind, stop_on_collapse=True), lr=0.1, steps=80))
    assert "collapsed" in watched.stopped and watched.pairs < unwatched.pairs


@pytest.mark.slow
def test_early_stopping_keeps_a_state_that_generalises_better(few):
    """Of six trainings (rates 1e-2 and 3e-2, three seeds) all six; single scores of so small pools say nothing."""
    last = train(Trial("nano-25k", Full(), few, lr=1e-2, steps=120))
    best = train(Trial("nano-25k", Full(), replace(few, patience=3), lr=1e-2, steps=120))
    assert best.stopped and best.pairs < last.pairs
    assert best.loss < last.loss  # in pools that did not choose


@pytest.mark.slow
def test_patience_ends_a_training_that_gets_worse_and_keeps_its_best_state(watched, monkeypatch):
    """Scores as over-fitting makes them: rising, then falling."""
    scores = iter([0.1, 0.5, 0.3, 0.2, 0.1, 0.0])
    monkeypatch.setattr(early_stopping_module, "retrieval", lambda *_: {"ndcg@10": next(scores)})
    asked = replace(watched, patience=2, score=False)
    observation, encoder = train_encoder(Trial("nano-25k", Full(), asked, lr=1e-2, steps=100))
    assert observation.stopped == "no better ndcg@10 in 2 evaluations since step 5"
    assert observation.pairs == 15 * asked.batch_size
    monkeypatch.undo()
    kept = train_encoder(Trial("nano-25k", Full(), watched, lr=1e-2, steps=100))[1]
    assert any(not torch.equal(one, other) for one, other in zip(encoder.parameters(), kept.parameters(), strict=True))
    scores = iter([0.1, 0.5, 0.3, 0.2])
    monkeypatch.setattr(early_stopping_module, "retrieval", lambda *_: {"ndcg@10": next(scores)})
    again = train_encoder(Trial("nano-25k", Full(), replace(asked, patience=1), lr=1e-2, steps=100))[1]
    for one, other in zip(encoder.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_killed_watched_training_goes_on_as_if_it_had_not_been(watched, tmp_path, monkeypatch):
    trial = Trial("nano-25k", LoRA(4), replace(watched, patience=2), lr=1e-2, steps=20)
    whole = train_encoder(trial, tmp_path / "whole")
    monkeypatch.setattr("runner.training.train.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("runner.training.train._stopped", stop_at(12))
    with pytest.raises(KeyboardInterrupt):
        train(trial, tmp_path / "cut")
    monkeypatch.undo()
    resumed = train_encoder(trial, tmp_path / "cut")
    assert resumed[0].evaluations == whole[0].evaluations and resumed[0].loss == whole[0].loss
    for one, other in zip(whole[1].parameters(), resumed[1].parameters(), strict=True):
        assert torch.equal(one, other)


def stop_at(step: int):
    from runner.training import train as train_module

    real = train_module._stopped

    def stopped(run):
        if run.state.step == step:
            raise KeyboardInterrupt
        return real(run)

    return stopped


def test_no_pool_is_left_to_evaluate_on(training):
    asked = replace(training, pools=10**6, evaluate_every=5)
    with pytest.raises(ValueError, match="needs one more pool"):
        train(Trial("nano-25k", Full(), asked, lr=1e-2, steps=2))


def test_the_pool_that_decides_is_not_one_of_those_that_are_reported(watched):
    from runner.data.pairs import open_prepared, pools
    from runner.training.early_stopping import EarlyStopping
    from sweeps.models import find_model

    pairs = open_prepared(watched, find_model("nano-25k").source)
    reported = {int(i) for pool in pools(pairs, watched.pool_size, watched.pools) for i in pool}
    assert not reported & set(EarlyStopping(watched, "", pairs, [], None).pools[0].tolist())


def test_collapse_is_told_from_the_best_that_was_seen():
    assert not collapsed({"effective_rank": 3.0}, [])
    assert not collapsed({"effective_rank": 6.0}, [{"effective_rank": 3.0}, {"effective_rank": 10.0}])
    assert collapsed({"effective_rank": 4.9}, [{"effective_rank": 3.0}, {"effective_rank": 10.0}])


def test_looking_leaves_the_encoder_in_training(watched):
    from runner.data.pairs import open_prepared, pools
    from sweeps.models import find_model

    encoder = train_encoder(Trial("nano-25k", Full(), watched, lr=1e-2, steps=2))[1]
    pairs = open_prepared(watched, find_model("nano-25k").source)
    evaluate_pools(encoder, pairs, pools(pairs, watched.pool_size, 1), 512)
    assert encoder.training


def test_a_training_is_followed_in_tensorboard(watched, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from runner.cli import main
    from sweeps.experiment.recipe_file import write_recipe

    trial = Trial("nano-25k", LoRA(4), watched, lr=1e-2, steps=8)
    write_recipe(tmp_path / "recipe.toml", trial, {})
    out = tmp_path / "model"
    assert (
        main(["train", str(tmp_path / "recipe.toml"), "--out", str(out), "--track", "tensorboard", "--on", "cpu"]) == 0
    )
    seen = EventAccumulator(str(next(out.rglob("events*")).parent)).Reload()
    observation = read_record(Observation, out / "observation.json")
    assert [event.step for event in seen.Scalars("loss")] == list(range(1, 9))
    assert seen.Scalars("loss")[-1].value == pytest.approx(observation.curve[-1][2])
    assert [event.step for event in seen.Scalars("ndcg@10")] == [0, 5]
    assert seen.Scalars("end/loss")[-1].value == pytest.approx(observation.loss) and seen.Scalars("end/ndcg@10")


def test_a_tracker_that_is_not_installed_is_named(watched, tmp_path, monkeypatch, capsys):
    from runner.cli import main
    from sweeps.experiment.recipe_file import write_recipe

    monkeypatch.setitem(sys.modules, "wandb", None)
    write_recipe(tmp_path / "recipe.toml", Trial("nano-25k", LoRA(4), watched, lr=1e-2, steps=8), {})
    assert main(["train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "m"), "--track", "wandb"]) == 2
    assert "pip install wandb" in capsys.readouterr().err
