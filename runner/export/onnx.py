"""An exported model for ONNX runtimes: onnx/model.onnx beside its weights, as servers look for it."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sweeps.support.atomic import replacing
from sweeps.support.json_io import refuse_special

PLACE = Path("onnx") / "model.onnx"
TOLERANCE = 1e-4  # of the states, which are of the order of 1
INPUTS = ("input_ids", "attention_mask")


class States(nn.Module):
    """A backbone as a function of plain tensors."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """input_ids, attention_mask: [texts, tokens] -> states [texts, tokens, width]."""
        return self.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state


def to_onnx(folder: Path) -> float:
    """Write onnx/model.onnx (states of all tokens; pooling stays in its own file) for the model in `folder`.

    Returns how far its states are from torch's at most, on texts of other lengths than it was traced with. Raises
    ValueError when there is no merged model, there is such a file, or the two do not agree.
    """
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder}: holds no merged model (no config.json)")
    refuse_special(folder)
    if (folder / PLACE).exists():
        raise ValueError(f"{folder / PLACE}: exists already")
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise ValueError(f"{folder}: ONNX needs {error.name}; install recipe-planner[onnx]") from None
    from transformers import AutoModel

    # Eager attention: the other functions choose their kernel by the mask's content, which a graph cannot.
    backbone = AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", trust_remote_code=False
    )
    states = States(backbone).eval()
    place = folder / PLACE
    place.parent.mkdir(exist_ok=True)
    try:
        with replacing(place) as temporary:
            _trace(states, temporary)
            off = _difference(states, onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"]))
            if off > TOLERANCE:
                raise ValueError(f"{folder}: ONNX states differ from torch's by {off:.2g}; nothing was written")
    finally:
        if not any(place.parent.iterdir()):
            place.parent.rmdir()
    return off


def _trace(states: States, path: Path) -> None:
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            states,
            _texts(states, 2, 7),
            dynamo=True,
            verbose=False,
            input_names=list(INPUTS),
            output_names=["last_hidden_state"],
            dynamic_shapes=dict.fromkeys(INPUTS, axes),
        )
        program.save(path, include_initializers=True)


def _texts(states: States, count: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Returns the ids and the mask of `count` texts, each but the first shorter by one."""
    ids = torch.randint(states.backbone.config.vocab_size, (count, tokens), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(tokens) < tokens - torch.arange(count)[:, None]
    return ids, mask.long()


@torch.no_grad()
def _difference(states: States, session: Any) -> float:
    worst = 0.0
    for count, tokens in ((1, 3), (3, 11), (2, 1)):
        ids, mask = _texts(states, min(count, tokens), tokens)
        (onnx_states,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        real = mask.bool().numpy()
        worst = max(worst, float(np.abs(onnx_states[real] - states(ids, mask).numpy()[real]).max()))
    return worst
