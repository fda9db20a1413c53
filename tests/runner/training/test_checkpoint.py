"""A checkpoint keeps the whole state of a training, and those that the first version wrote still load."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runner.trainer import train
from runner.training.checkpoint import read_record, read_tensors, trained_parameters, write_tensors
from runner.training.early_stopping import BEST, EarlyStopping
from runner.training.engine import DEFAULTS
from runner.training.run import Counts, TrainingState, start
from runner.training.train import _resume
from sweeps.methods import BiasOnly
from sweeps.store.files import CHECKPOINT
from sweeps.trial import Trial

FIRST = Path(__file__).parents[2] / "records"  # written before the state of a training was a record of its own
FULL_STATE = TrainingState(
    key="a",
    counts=Counts(3, 40, 900, 5, 2),
    seconds=1.5,
    curve=[(1, 10, 2.5), (2, 20, 2.0)],
    start_loss=3.0,
    micro_tokens=512,
    caches_frozen_states=False,
    evaluations=[{"step": 2, "ndcg@10": 0.5}],
    stopped="no better ndcg@10",
    reused=Counts(1, 2, 3, 4, 5),
)


@pytest.mark.parametrize("state", [FULL_STATE, TrainingState("b")], ids=["full", "fresh"])
def test_a_state_comes_back_from_its_record(state):
    assert TrainingState.from_record(json.loads(json.dumps(state.to_record()))) == state


def test_a_state_that_trials_share_is_counted_as_reused():
    shared = FULL_STATE.as_shared("trunk")
    own = TrainingState.from_record(shared.to_record()).as_own("c")
    assert (shared.key, shared.reused) == ("trunk", None)
    assert (own.key, own.reused, own.caches_frozen_states) == ("c", FULL_STATE.counts, None)


@pytest.fixture
def resumed(training, tmp_path):
    """A trial in a folder with a checkpoint of the first version, as if it were its own; what that holds."""
    conditions = replace(training, learn_temperature=True, evaluate_every=3, patience=9)
    trial = Trial("nano-25k", BiasOnly(), conditions, lr=1e-2, steps=10)
    tensors = read_tensors(FIRST / "first-checkpoint.safetensors")
    record = read_record(FIRST / "first-checkpoint.safetensors") | {"key": trial.key}
    write_tensors(tmp_path / CHECKPOINT, tensors, record)
    shutil.copyfile(FIRST / "first-best-checkpoint.safetensors", tmp_path / BEST)
    return trial, tensors, record


def test_a_checkpoint_of_the_first_version_loads(resumed, tmp_path):
    trial, tensors, record = resumed
    run = start(trial, tmp_path, "cpu", DEFAULTS)
    _resume(run)
    assert run.state.to_record() == record | {"curve": [tuple(point) for point in record["curve"]]}
    parameters = trained_parameters(run.engine.encoder)
    assert {f"model.{name}" for name in parameters} == {name for name in tensors if name.startswith("model.")}
    assert all(torch.equal(value, tensors[f"model.{name}"]) for name, value in parameters.items())
    EarlyStopping(trial.training, run.model.source, run.pairs, run.state.evaluations, tmp_path).restore_best(
        run.engine.encoder
    )
    best = read_tensors(tmp_path / BEST)
    assert all(torch.equal(value, best[name]) for name, value in parameters.items())


def test_a_training_goes_on_from_a_checkpoint_of_the_first_version(resumed, tmp_path):
    trial, _, record = resumed
    observation = train(trial, tmp_path, "cpu")
    assert observation.status == "done"
    assert [list(point) for point in observation.curve[:7]] == record["curve"] and len(observation.curve) == 10
    assert list(observation.evaluations[:3]) == record["evaluations"] and observation.evaluations[3]["step"] == 9
