"""`on` names a device that is here, or the reason why not."""

from __future__ import annotations

import pytest
import torch

from runner.training.device import DEVICES, device_of


@pytest.fixture
def machine(monkeypatch):
    """Makes torch see GPUs of so and so built torch, or none."""

    def make(gpus: bool, hip: str | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
        monkeypatch.setattr(torch.version, "hip", hip)

    return make


@pytest.mark.parametrize(
    ("gpus", "hip", "devices"),
    [
        (False, None, {None: "cpu", "cpu": "cpu"}),
        (True, None, {None: "cuda", "cpu": "cpu", "cuda": "cuda"}),
        (True, "7.0", {None: "cuda", "cpu": "cpu", "cuda": "cuda", "rocm": "cuda"}),
    ],
    ids=["no GPU", "NVIDIA", "AMD"],
)
def test_a_device_that_is_here_is_taken_and_any_other_refused(gpus, hip, devices, machine):
    machine(gpus, hip)
    for on in (None, *DEVICES):
        if on in devices:
            assert device_of(on).type == devices[on]
        else:
            with pytest.raises(ValueError, match=f"`on` is '{on}': "):
                device_of(on)


def test_an_unknown_device_is_told_what_is_known():
    with pytest.raises(ValueError, match="`on` is 'tpu'; known: cpu, cuda, rocm, mps"):
        device_of("tpu")
