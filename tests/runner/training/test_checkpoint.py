"""A checkpoint keeps the whole state of a training, and those that the first version wrote still load."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runner.trainer import train
from runner.training.checkpoint import Damaged, key_of, read_record, read_tensors, trained_parameters, write_tensors
from runner.training.early_stopping import BEST, EarlyStopping
from runner.training.engine import DEFAULTS
from runner.training.run import Counts, TrainingState, start
from runner.training.train import _resume
from sweeps.methods import BiasOnly, Full
from sweeps.store.files import CHECKPOINT
from sweeps.trial import Observation, Trial

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
    assert run.state.to_record() == record | {
        "curve": [tuple(point) for point in record["curve"]],
        "data": run.state.data,  # of which it knew nothing
    }
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


@pytest.fixture(scope="module")
def stopped(training, tmp_path_factory) -> tuple[Trial, Path, Observation]:
    """A trial of ten steps, a folder with its checkpoint after four, and what it leaves when nothing happens."""
    trial = Trial("nano-7k", Full(), training, lr=2e-3, steps=10)
    folder, asked = tmp_path_factory.mktemp("stopped"), []
    options = replace(DEFAULTS, stop_requested=lambda: asked.append(0) or len(asked) == 4)
    with pytest.raises(SystemExit):
        train(trial, folder, "cpu", options=options)
    return trial, folder / CHECKPOINT, train(trial, None, "cpu")


def rewritten(path: Path, out: Path, change=None, record=None) -> None:
    """The checkpoint with other tensors or another record; with checksums of those, as one who knows them would."""
    tensors, known = read_tensors(path), read_record(path)
    changed = {**tensors, **(change(tensors) if change else {})}
    write_tensors(out, {name: value.contiguous() for name, value in changed.items()}, {**known, **(record or {})})


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


CHANGES = {
    "a step beyond the end": {"record": {"step": 3072}},
    "a negative step": {"record": {"step": -1}},
    "a step that is text": {"record": {"step": "4"}},
    "tokens that no steps have": {"record": {"tokens": 10**15}},
    "negative tokens": {"record": {"tokens": -5}},
    "a curve that is text": {"record": {"curve": "x"}},
    "a curve of other steps": {"record": {"curve": [[1, 1, 1.0]] * 40}},
    "a time that is no number": {"record": {"seconds": float("nan")}},
    "other data": {"record": {"data": "3 pairs, 00000000"}},
    "a tensor of another shape": {"change": lambda tensors: {n: v[:1] for n, v in tensors.items() if v.dim() == 2}},
    "a shape that would be spread": {"change": lambda tensors: {n: v[:1] for n, v in tensors.items() if v.dim() == 1}},
    "another type": {"change": lambda tensors: {n: v.double() for n, v in tensors.items() if n.startswith("model.")}},
    "one more": {"change": lambda tensors: {"model.more": torch.zeros(3)}},
    "moments of another shape": {
        "change": lambda tensors: {n: v[..., :1] for n, v in tensors.items() if "exp_avg" in n}
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_cannot_be_gone_on_from_is_said_and_the_training_begins_anew(stopped, tmp_path, capsys, name):
    trial, path, undisturbed = stopped
    rewritten(path, tmp_path / CHECKPOINT, **CHANGES[name])
    seen = train(trial, tmp_path, "cpu")
    said = capsys.readouterr().err
    assert (
        f"{tmp_path / CHECKPOINT}: cannot be continued from: " in said
        and said.count("; the training starts again\n") == 1
    )
    assert (seen.loss, seen.flops, seen.tokens) == (undisturbed.loss, undisturbed.flops, undisturbed.tokens)
    assert (tmp_path / f"damaged-{CHECKPOINT}").exists()


def test_no_flipped_byte_is_gone_on_from(stopped, tmp_path, capsys):
    """Of every part of the file: the length of its head, names, record, weights, moments, random state."""
    trial, path, undisturbed = stopped
    content = path.read_bytes()
    key_of(path)
    for at in [*range(9), *range(9, len(content), len(content) // 60), len(content) - 1]:
        (tmp_path / CHECKPOINT).write_bytes(flipped(content, at))
        with pytest.raises(Damaged, match=CHECKPOINT):
            read_record(tmp_path / CHECKPOINT)
    seen = train(trial, tmp_path, "cpu")
    assert "the training starts again" in capsys.readouterr().err and seen.loss == undisturbed.loss


@pytest.mark.parametrize("how", ["", "half", "text", "folder", "pipe"])
def test_what_is_no_checkpoint_is_said_and_the_training_begins_anew(stopped, tmp_path, capsys, how):
    trial, path, undisturbed = stopped
    place = tmp_path / CHECKPOINT
    if how == "folder":
        place.mkdir()
    elif how == "pipe":
        os.mkfifo(place)
    else:
        place.write_bytes({"": b"", "half": path.read_bytes()[:5000], "text": b"text" * 100}[how])
    assert train(trial, tmp_path, "cpu").loss == undisturbed.loss
    assert "the training starts again" in capsys.readouterr().err


def test_an_undamaged_checkpoint_is_gone_on_from_without_a_word(stopped, tmp_path, capsys):
    trial, path, undisturbed = stopped
    rewritten(path, tmp_path / CHECKPOINT)
    assert train(trial, tmp_path, "cpu").loss == undisturbed.loss
    assert "anew" not in capsys.readouterr().err


def test_the_checkpoint_of_another_training_is_refused_and_kept(stopped, tmp_path):
    trial, path, _ = stopped
    shutil.copy(path, tmp_path)
    with pytest.raises(ValueError, match="is a checkpoint of"):
        train(replace(trial, seed=1), tmp_path, "cpu")
    assert (tmp_path / CHECKPOINT).read_bytes() == path.read_bytes()
