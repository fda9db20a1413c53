"""A worker trains as it is told: with the tracker that `sweep run --track` names."""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import pytest

from runner.commands.worker import add_worker, trainer_of
from sweeps.methods import Full
from sweeps.trial import Trial
from sweeps.workers.base import LaunchOptions

STAY = SimpleNamespace(smaller=0, requested=lambda: False)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_worker(parser)
    return parser.parse_args(["--sweep", "unused", *words])


def test_a_trial_of_a_sweep_is_followed_as_a_training_by_itself_is(training, tmp_path):
    pytest.importorskip("tensorboard")
    trial = Trial("nano-25k", Full(), training, lr=1e-2, steps=3)
    trainer_of(arguments("--track", "tensorboard"), None)(trial, tmp_path / "followed", STAY)
    trainer_of(arguments(), None)(trial, tmp_path / "alone", STAY)
    assert list(tmp_path.glob("followed/**/events*")) and not list(tmp_path.glob("alone/**/events*"))


def test_a_tracker_that_is_missing_is_named_before_any_trial(monkeypatch):
    monkeypatch.setattr("runner.training.trackers.find_spec", lambda _: None)
    with pytest.raises(ValueError, match="the tracker trackio needs trackio: pip install trackio"):
        trainer_of(arguments("--track", "trackio"), None)


def test_the_command_that_starts_a_worker_passes_the_tracker_on():
    *start, flag, name = LaunchOptions().tracked_in("tensorboard").command
    assert (tuple(start), flag, name) == (LaunchOptions().tracked_in(None).command, "--track", "tensorboard")
    assert arguments(flag, name).track == "tensorboard"
