"""One trial, really trained: it learns, repeats to the bit, resumes to the bit, and records what it spent."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from analysis.tables.sweep_table import read_sweep
from runner.data.pairs import prepare
from runner.trainer import train
from runner.training import engine as engine_module
from runner.training import outcome
from runner.training import train as train_module
from support.backbones import examples_for
from support.waiting import wait_for
from sweeps.flops import Work, exact_flops, paper_flops
from sweeps.methods import FreezeBlocks, Full, LoRA
from sweeps.models import find_model
from sweeps.store.folder import FolderStore
from sweeps.store.trunks import Trunk, trunk_of
from sweeps.trial import Observation, Trial

NANO = find_model("nano-25k")


@pytest.fixture(scope="module")
def conditions(training):
    prepared = prepare(training, NANO.source)
    return replace(training, data_hash=prepared.data_hash)


# Of each method the first example, and what may lie below the blocks: an adapted or a trained token table.
TRIED = [*examples_for(NANO), LoRA(4, token_table="adapter"), FreezeBlocks(0.5, token_table="train")]


@pytest.mark.parametrize("method", TRIED, ids=lambda m: m.label)
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


def test_the_held_out_loss_may_have_a_temperature_of_its_own(conditions):
    trial = Trial("nano-25k", Full(), conditions, lr=1e-2, steps=4)
    alike = replace(trial, training=replace(conditions, loss_temperature=conditions.temperature))
    wider = replace(trial, training=replace(conditions, loss_temperature=10 * conditions.temperature))
    seen, same, other = train(trial), train(alike), train(wider)
    assert len({trial.key, alike.key, wider.key}) == 3
    assert seen.curve == same.curve == other.curve and seen.accuracy == same.accuracy == other.accuracy
    assert (same.loss, same.start_loss) == (seen.loss, seen.start_loss)
    # A flat softmax has the loss of chance.
    assert other.start_loss == pytest.approx(math.log(conditions.pool_size), rel=0.05) != seen.start_loss


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(conditions):
    trial = Trial("nano-25k", LoRA(4), conditions, lr=1e-2, steps=6)
    first, second = train(trial), train(trial)
    assert (first.loss, first.curve) == (second.loss, second.curve)
    assert train(replace(trial, seed=1)).loss != first.loss


@pytest.mark.parametrize("method", TRIED, ids=lambda m: m.label)
def test_an_interrupted_training_ends_with_the_same_bits(method, conditions, tmp_path, monkeypatch):
    trial = Trial("nano-25k", method, conditions, lr=1e-2, steps=12)
    whole = train(trial)
    monkeypatch.setattr(train_module, "CHECKPOINT_SECONDS", 0.0)
    step = train_module._step

    def interrupted(run):
        if run.state.step == 7:
            raise KeyboardInterrupt
        return step(run)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "_step", interrupted)
        train(trial, tmp_path)
    assert (tmp_path / "checkpoint.safetensors").exists()
    torch.manual_seed(99)
    resumed = train(trial, tmp_path)
    assert (resumed.loss, resumed.curve, resumed.tokens) == (whole.loss, whole.curve, whole.tokens)


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_bits(conditions, tmp_path):
    trial = Trial("nano-25k", Full(), conditions, lr=1e-2, steps=60)
    (tmp_path / "trial.json").write_text(json.dumps(trial.to_json()))
    program = (
        "import json, sys, pathlib\n"
        "from runner.trainer import train\nfrom runner.training import train as t\nfrom sweeps.trial import Trial\n"
        "t.CHECKPOINT_SECONDS = 0.0\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "trial = Trial.from_json(json.loads((folder / 'trial.json').read_text()))\n"
        "print(json.dumps(train(trial, folder).to_json()))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "checkpoint.safetensors").exists() or killed.poll() is not None)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert (tmp_path / "checkpoint.safetensors").exists()
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    resumed = Observation.from_json(json.loads(finished.stdout))
    undisturbed = train(trial)
    assert (resumed.loss, resumed.curve) == (undisturbed.loss, undisturbed.curve)


def test_a_checkpoint_of_another_trial_is_refused(conditions, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "CHECKPOINT_SECONDS", 0.0)
    trial = Trial("nano-25k", Full(), conditions, lr=1e-2, steps=3)
    monkeypatch.setattr(train_module, "observe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(trial, tmp_path)
    with pytest.raises(ValueError, match=f"is a checkpoint of .{trial.key}., not of"):
        train(replace(trial, lr=2e-2), tmp_path)


def test_a_diverged_trial_is_an_observation_with_its_reason(conditions):
    observation = train(Trial("nano-25k", Full(), conditions, lr=1e6, steps=8))
    assert observation.status == "diverged"
    assert "loss" in observation.reason
    assert observation.flops > 0


def test_every_method_starts_from_the_same_loss(conditions):
    starts = []
    for method in TRIED:
        outcome._start_losses.clear()
        starts.append(train(Trial("nano-25k", method, conditions, lr=1e-3, steps=1)).start_loss)
    assert max(starts) == pytest.approx(min(starts), rel=1e-6)  # by two ways to run a block


def test_a_second_forward_is_counted(conditions, monkeypatch):
    trial = Trial("nano-25k", Full(), conditions, lr=1e-2, steps=4)
    kept = train(trial)
    monkeypatch.setattr(engine_module, "SHARE", {"cpu": 0.0, "cuda": 0.0})
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


LADDER = (12, 24, 36)  # steps


def sweep_of(folder, trials):
    """The store of a sweep that wants these trials, as a worker finds it."""
    store = FolderStore(folder)
    store.trunks.share(trials)
    store.add(trials)
    return store


@pytest.mark.slow
@pytest.mark.parametrize("method", [Full(), LoRA(4)], ids=lambda m: m.name)
def test_branches_of_one_trunk_end_with_the_bits_of_trials_trained_alone(method, conditions, tmp_path):
    shared = replace(conditions, warmup_steps=4)
    trials = [Trial("nano-25k", method, shared, lr=1e-2, steps=steps) for steps in LADDER]
    store = sweep_of(tmp_path, trials)
    alone = [train(trial) for trial in trials]
    branched = [train(trial, store.folder(trial.key)) for trial in trials]
    assert [_without_costs(seen) for seen in branched] == [_without_costs(seen) for seen in alone]
    small, middle, large = trials
    # The last leaves nothing: nobody trains further.
    assert store.trunks.steps() == {small.trunk: [small.cooldown_start, middle.cooldown_start]}
    spent = [seen.spent_flops for seen in branched]
    stretches = [small.steps, middle.steps - small.cooldown_start, large.steps - middle.cooldown_start]
    each = [seen.flops / seen.trial.steps for seen in branched]
    assert spent == pytest.approx([steps * one for steps, one in zip(stretches, each, strict=True)], rel=0.1)
    assert branched[0].reused_flops == 0 and all(seen.reused_flops == 0 for seen in alone)
    assert all(seen.seconds < seen.total_seconds for seen in branched)

    (tmp_path / "observations.jsonl").write_text("".join(json.dumps(seen.to_json()) + "\n" for seen in branched))
    table = read_sweep(tmp_path, min_steps=1)
    assert len(table.rows) == 3 and len(set(table.of([method.label]).run)) == 1  # resampled together


def _without_costs(seen):
    return replace(seen, seconds=0.0, total_seconds=0.0, peak_bytes=0, reused_flops=0.0)


@pytest.mark.slow
def test_a_branch_of_several_epochs_keeps_the_frozen_states_though_its_trunk_did_not(conditions, tmp_path):
    shared = replace(conditions, warmup_steps=4)
    small, large = (Trial("nano-25k", FreezeBlocks(0.5), shared, lr=1e-2, steps=steps) for steps in (12, 140))
    store = sweep_of(tmp_path, [small, large])
    alone = train(large)
    train(small, store.folder(small.key))
    branched = train(large, store.folder(large.key))
    assert small.pairs < alone.data_pairs < large.pairs
    assert branched.loss == pytest.approx(alone.loss, abs=0.02)  # rounding, for the states were cut otherwise
    again = exact_flops(NANO, large.method, Work(branched.pairs, branched.tokens, branched.squares, 16))
    assert alone.flops < branched.flops < again  # frozen blocks: once for every text, and for the trunk's


def test_a_branch_killed_and_resumed_ends_with_the_same_bits_and_costs(conditions, tmp_path, monkeypatch):
    shared = replace(conditions, warmup_steps=4)
    small, large = (Trial("nano-25k", Full(), shared, lr=1e-2, steps=steps) for steps in (12, 24))
    store = sweep_of(tmp_path, [small, large])
    train(small, store.folder(small.key))
    whole = train(large, store.folder(large.key))
    monkeypatch.setattr(train_module, "CHECKPOINT_SECONDS", 0.0)
    step = train_module._step

    def interrupted(run):
        if run.state.step == large.cooldown_start + 2:
            raise KeyboardInterrupt
        return step(run)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "_step", interrupted)
        train(large, store.folder(large.key))
    store.trunks.share([])  # the trunk is not needed any more
    resumed = train(large, store.folder(large.key))
    assert _without_costs(resumed) == _without_costs(whole)
    assert resumed.reused_flops == whole.reused_flops > 0


def test_a_state_of_another_trunk_is_refused_and_without_a_damaged_one_training_begins_anew(conditions, tmp_path):
    shared = replace(conditions, warmup_steps=4)
    small, large = (Trial("nano-25k", Full(), shared, lr=1e-2, steps=steps) for steps in (12, 24))
    other = replace(large, seed=1)
    store = sweep_of(tmp_path, [small, large, other])
    train(small, store.folder(small.key))
    state = trunk_of(store.folder(large.key), large).newest()
    store.trunks.directory.joinpath(other.trunk).mkdir()
    store.trunks.directory.joinpath(other.trunk, state.name).write_bytes(state.read_bytes())
    with pytest.raises(ValueError, match=f"is a checkpoint of .{small.trunk}., not of {other.trunk}"):
        train(other, store.folder(other.key))
    state.write_bytes(state.read_bytes()[:-100])
    begun = train(large, store.folder(large.key))
    assert begun.status == "done" and begun.reused_flops == 0


def test_a_state_deleted_while_it_was_looked_for_is_looked_for_anew(conditions, tmp_path, monkeypatch):
    shared = replace(conditions, warmup_steps=4)
    small, large = (Trial("nano-25k", Full(), shared, lr=1e-2, steps=steps) for steps in (12, 24))
    store = sweep_of(tmp_path, [small, large])
    train(small, store.folder(small.key))
    newest, deleted = Trunk.newest, [store.trunks.directory / large.trunk / "5.safetensors"]
    monkeypatch.setattr(Trunk, "newest", lambda trunk: deleted.pop() if deleted else newest(trunk))
    assert train(large, store.folder(large.key)).reused_flops > 0 and not deleted


def test_a_trial_that_would_never_be_warm_is_refused(conditions):
    with pytest.raises(ValueError, match=r"training\.warmup_steps is 9; the trial has 9 steps"):
        train(Trial("nano-25k", Full(), replace(conditions, warmup_steps=9), lr=1e-3, steps=9))
