"""The cores and GPUs that a process may use."""

from __future__ import annotations

from sweeps.machine.cores import available_cores, gpus, trials_at_once


def test_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-ab,")
    assert gpus() == ["2", "GPU-ab"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus() == []


def test_several_workers_may_share_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert (trials_at_once(), trials_at_once(slots=3)) == (2, 6)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert trials_at_once(slots=3) == len(available_cores())
