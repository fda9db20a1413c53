"""One trial, really trained: it learns, repeats to the bit, resumes to the bit, and records what it spent."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from runner import train as train_module
from runner.engine import Engine
from runner.pairs import prepare
from runner.train import train
from sweeps.flops import Work, exact_flops, paper_flops
from sweeps.methods import BiasOnly, FreezeBlocks, Full, LoRA
from sweeps.models import find_model
from sweeps.trial import Observation, Trial

NANO = find_model("nano-25k")


@pytest.fixture(scope="module")
def conditions(training):
    prepared = prepare(training, NANO.source)
    return replace(training, data_hash=prepared.data_hash)


@pytest.mark.parametrize("method", [Full(), LoRA(8), FreezeBlocks(0.5), BiasOnly()], ids=lambda m: m.name)
def test_training_lowers_the_held_out_loss_and_counts_what_it_spent(method, conditions):
    trial = Trial("nano-25k", method, conditions, lr=1e-2, steps=25)
    observation = train(trial)
    assert observation.status == "done", observation.reason
    assert observation.loss < observation.start_loss - 0.3
    assert observation.pairs == 25 * 16 and observation.data_pairs > 400
    assert observation.trainable == method.trainable(NANO)
    work = Work(observation.pairs, observation.tokens, observation.squares, 16)
    assert observation.flops == exact_flops(NANO, method, work)
    assert observation.paper_flops == paper_flops(NANO, method, work)
    assert observation.curve[-1][:2] == (25, observation.tokens)
    assert observation.peak_bytes > 50e6 and observation.seconds > 0
    assert Observation.from_json(json.loads(json.dumps(observation.to_json()))) == observation


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(conditions):
    trial = Trial("nano-25k", LoRA(4), conditions, lr=1e-2, steps=6)
    first, second = train(trial), train(trial)
    assert (first.loss, first.curve) == (second.loss, second.curve)
    assert train(replace(trial, seed=1)).loss != first.loss


@pytest.mark.parametrize("method", [Full(), LoRA(4)], ids=lambda m: m.name)
def test_an_interrupted_training_ends_with_the_same_bits(method, conditions, tmp_path, monkeypatch):
    trial = Trial("nano-25k", method, conditions, lr=1e-2, steps=12)
    whole = train(trial)
    monkeypatch.setattr(train_module, "CHECKPOINT_SECONDS", 0.0)
    step = train_module._step

    def interrupted(run):
        if run.record["step"] == 7:
            raise KeyboardInterrupt
        return step(run)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "_step", interrupted)
        train(trial, tmp_path)
    assert (tmp_path / "checkpoint.safetensors").exists()
    torch.manual_seed(99)
    resumed = train(trial, tmp_path)
    assert (resumed.loss, resumed.curve, resumed.tokens) == (whole.loss, whole.curve, whole.tokens)


def test_a_killed_training_ends_with_the_same_bits(conditions, tmp_path):
    trial = Trial("nano-25k", Full(), conditions, lr=1e-2, steps=60)
    (tmp_path / "trial.json").write_text(json.dumps(trial.to_json()))
    program = (
        "import json, sys, pathlib\n"
        "from runner import train as t\nfrom sweeps.trial import Trial\n"
        "t.CHECKPOINT_SECONDS = 0.0\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "trial = Trial.from_json(json.loads((folder / 'trial.json').read_text()))\n"
        "print(json.dumps(t.train(trial, folder).to_json()))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert (tmp_path / "checkpoint.safetensors").exists()
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    resumed = Observation.from_json(json.loads(finished.stdout))
    undisturbed = Observation.from_json(
        json.loads(subprocess.run([*command[:3], str(_fresh(tmp_path))], capture_output=True, text=True).stdout)
    )
    assert (resumed.loss, resumed.curve) == (undisturbed.loss, undisturbed.curve)


def _fresh(folder):
    other = folder / "fresh"
    other.mkdir()
    (other / "trial.json").write_text((folder / "trial.json").read_text())
    return other


def test_a_checkpoint_of_another_trial_is_refused(conditions, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "CHECKPOINT_SECONDS", 0.0)
    trial = Trial("nano-25k", Full(), conditions, lr=1e-2, steps=3)
    monkeypatch.setattr(train_module, "_observe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(trial, tmp_path)
    with pytest.raises(ValueError, match=f"is a checkpoint of {trial.key}, not of"):
        train(replace(trial, lr=2e-2), tmp_path)


def test_a_diverged_trial_is_an_observation_with_its_reason(conditions):
    observation = train(Trial("nano-25k", Full(), conditions, lr=1e6, steps=8))
    assert observation.status == "diverged"
    assert "loss" in observation.reason
    assert observation.flops > 0


def test_every_method_starts_from_the_same_loss(conditions):
    starts = []
    for method in (Full(), LoRA(8), FreezeBlocks(0.5), BiasOnly()):
        train_module._start_losses.clear()
        starts.append(train(Trial("nano-25k", method, conditions, lr=1e-3, steps=1)).start_loss)
    assert len(set(starts)) == 1


def test_a_second_forward_is_counted(conditions, monkeypatch):
    trial = Trial("nano-25k", Full(), conditions, lr=1e-2, steps=4)
    kept = train(trial)
    monkeypatch.setattr(Engine, "_kept_tokens", lambda engine: 0)
    cached = train(trial)
    assert cached.loss == pytest.approx(kept.loss, abs=1e-5)
    assert 1.2 < cached.flops / kept.flops < 1.4  # one forward of three products more, similarity aside


def test_a_context_beyond_the_model_is_refused(conditions):
    with pytest.raises(ValueError, match=r"training\.context is 4000; nano-25k reads 256"):
        train(Trial("nano-25k", Full(), replace(conditions, context=4000), lr=1e-3, steps=1))


def test_start_loss_is_near_or_above_chance(conditions):
    observation = train(Trial("nano-25k", Full(), conditions, lr=1e-12, steps=1))
    assert observation.loss == pytest.approx(observation.start_loss, abs=1e-3)
    assert observation.start_loss > math.log(conditions.pool_size) - 2
