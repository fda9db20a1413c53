"""Means of repeated trainings: known losses come back as their mean, spread and distance from the lowest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.repeats import main, repeats, text
from support.ladder import NANO
from support.made_sweep import LAWS_OF_THE_TESTS, observation, write_sweep
from sweeps.methods import Full
from sweeps.trial import Observation, Training

LOSSES = {24: (2.2, 2.4, 2.6), 256: (2.0, 2.0, 2.0)}


def _trials(size: int) -> list[Observation]:
    training = Training(batch_size=size)
    made = [
        observation(NANO[0], Full(), LAWS_OF_THE_TESTS[Full()], 1e12, training=training, seed=seed) for seed in range(3)
    ]
    return [replace(one, loss=loss) for one, loss in zip(made, LOSSES[size], strict=True)]


def test_seeds_become_a_mean_a_spread_and_a_distance_from_the_lowest(tmp_path, capsys):
    folders = [write_sweep(tmp_path / str(size), _trials(size)) for size in LOSSES]
    means = repeats(folders).set_index("batch")
    assert means["seeds"].tolist() == [3, 3]
    assert means["loss"].tolist() == pytest.approx([2.4, 2.0])
    assert means["sd"].tolist() == pytest.approx([0.2, 0.0])
    assert means["regret"].tolist() == pytest.approx([0.2, 0.0])
    assert main([str(folder) for folder in folders]) == 0
    assert capsys.readouterr().out.rstrip() == text(means.reset_index())


def test_a_folder_without_a_finished_trial_is_refused(tmp_path, capsys):
    failed = [replace(one, status="failed", reason="out of memory", loss=None) for one in _trials(24)]
    assert main([str(write_sweep(tmp_path / "none", failed))]) == 2
    assert "none: no trial has finished" in capsys.readouterr().err
