"""Means of repeated trainings: known losses come back as their mean, spread and distance from the lowest."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from analysis.repeats import main, repeats, text
from support.ladder import NANO
from support.made_sweep import LAWS_OF_THE_TESTS, observation, write_sweep
from sweeps.methods import Full
from sweeps.trial import Observation, Training

LOSSES = {24: (2.2, 2.4, 2.6), 256: (2.0, 2.0, 2.0)}


def _trials(size: int, **others: object) -> list[Observation]:
    training = Training(batch_size=size, **others)
    made = [
        observation(NANO[0], Full(), LAWS_OF_THE_TESTS[Full()], 1e12, training=training, seed=seed) for seed in range(3)
    ]
    return [replace(one, loss=loss) for one, loss in zip(made, LOSSES[size], strict=True)]


def test_seeds_become_a_mean_a_spread_and_a_distance_from_the_lowest(tmp_path, capsys):
    every = {size: _trials(size) for size in LOSSES}
    folders = [write_sweep(tmp_path / str(size), trials) for size, trials in every.items()]
    means = repeats(list(chain(*every.values()))).set_index("batch")
    assert means["seeds"].tolist() == [3, 3]
    assert means["loss"].tolist() == pytest.approx([2.4, 2.0])
    assert means["sd"].tolist() == pytest.approx([0.2, 0.0])
    assert means["regret"].tolist() == pytest.approx([0.2, 0.0])
    assert main([str(folder) for folder in folders]) == 0
    assert capsys.readouterr().out.rstrip() == text(list(chain(*every.values())))


def test_a_trial_of_two_folders_counts_once_and_a_failed_one_is_told():
    failed = replace(_trials(24)[0], status="failed", reason="out of memory", loss=None)
    trials = [*_trials(24)[1:], *_trials(24)[1:], failed]
    assert repeats(trials)["seeds"].tolist() == [2]
    assert text(trials).endswith("\nnot in the table: 1 failed")


@pytest.mark.parametrize(
    ("other", "named"),
    [({"temperature": 0.1}, "training.temperature"), ({"data_hash": "other"}, "the hash of their data")],
)
def test_losses_that_do_not_compare_are_not_averaged(other, named):
    with pytest.raises(ValueError, match=named):
        repeats([*_trials(24), *_trials(24, **other)])


@pytest.mark.parametrize("folder", ["none", "empty"])
def test_a_folder_without_a_trial_that_is_done_is_one_line(tmp_path, folder, capsys):
    failed = [replace(one, status="failed", reason="out of memory", loss=None) for one in _trials(24)]
    write_sweep(tmp_path / "empty", failed)
    assert main([str(tmp_path / folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
