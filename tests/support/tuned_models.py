"""Models tuned from the smallest backbone, as folders; and their tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from runner.export.sentence_transformers import export
from runner.trainer import train_encoder
from sweeps.methods import Full
from sweeps.models import find_model
from sweeps.trial import Trial

NANO = find_model("nano-25k")
BASE = Path(NANO.source)


def tuned(training, folder: Path, method=None, steps: int = 12, seed: int = 0, adapter: bool = False) -> Path:
    trial = Trial(NANO.name, method or Full(), training, lr=1e-2, steps=steps, seed=seed)
    observation, encoder = train_encoder(trial)
    encoder.eval()
    export(encoder, observation, folder, adapter)
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = tensors(one), tensors(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
