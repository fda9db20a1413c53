"""The time that is left: one estimate, whoever asks."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from support.toy_stores import fill
from support.toy_sweeps import DATA, observe
from sweeps.commands.views import Standing
from sweeps.experiment.sweep_file import read_sweep
from sweeps.methods import Full
from sweeps.running.conductor import Conductor
from sweeps.running.display import Screen
from sweeps.running.estimate import Pace, speed
from sweeps.store.attempts import host_and_boot
from sweeps.store.folder import FolderStore
from sweeps.trial import Observation, Training, Trial

TRIALS = [Trial("nano-25k", Full(), Training(), lr=1e-3, steps=60 + i) for i in range(4)]
SEEN = [Observation(trial, "done", loss=1.0, flops=1e10, seconds=1.0, total_seconds=3.0) for trial in TRIALS]


def pace(tmp_path, hosts) -> Pace:
    """Of a sweep whose trials were trained on these hosts."""
    here = {each.key: [SimpleNamespace(host=host)] for each, host in zip(SEEN, hosts, strict=False)}
    return Pace(SimpleNamespace(directory=tmp_path, attempts=lambda key: here.get(key, [])))


def test_trials_of_this_machine_tell_the_speed_once_they_are_as_many_as_workers(tmp_path):
    here = host_and_boot()[0]
    known = pace(tmp_path, [here, here, "elsewhere"])
    assert "a guess" in known.speed(2).source
    known.take(SEEN)
    known.take([replace(SEEN[0], seconds=9.0)])  # what is known counts once
    assert known.speed(2).typical == pytest.approx(1e10) and "in 2 trials" in known.speed(2).source
    assert known.speed(2).rest == pytest.approx(2.0)


def test_small_batches_have_a_speed_of_their_own():
    small = [replace(trial, training=Training(batch_size=8)) for trial in TRIALS]
    slow = [replace(seen, trial=trial, seconds=4.0) for seen, trial in zip(SEEN, small, strict=True)]
    known = speed([*SEEN, *slow], 1)
    assert known.seconds(TRIALS[0], 1e12) == pytest.approx(known.rest + 100)
    assert known.seconds(small[0], 1e12) == pytest.approx(known.rest + 400)
    unseen = replace(TRIALS[0], training=Training(batch_size=16))
    assert known.seconds(TRIALS[0], 1e12) < known.seconds(unseen, 1e12) < known.seconds(small[0], 1e12)


def test_a_folder_of_observations_alone_tells_of_no_machine(tmp_path):
    store = FolderStore(tmp_path / "results" / "toy")
    fill(store, seeds=1)
    known = Pace(store)
    known.take(SEEN)  # trials of which the folder holds no attempts
    assert "a guess" in known.speed(1).source


@pytest.mark.parametrize("done", [0, 1, 4])
def test_run_and_status_say_the_same(tmp_path, done):
    store = FolderStore(tmp_path / "results" / "toy")
    fill(store, seeds=6, closed=False)
    for _ in range(done):
        store.finish(observe(store.claim().trial))
    looked = Standing(store).look()
    sweep = read_sweep(store.directory / "sweep.toml")
    run = Conductor(sweep, DATA, store, None, Screen("toy")).snapshot(looked.workers)
    assert run.waiting == looked.waiting == 6 - done
    assert run.eta == pytest.approx(looked.eta) and looked.eta > 0
    told = Pace(store)
    told.take(store.results())
    assert (f"in {done} trials" in told.speed(1).source) == (done > 0)
