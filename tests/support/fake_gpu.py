"""Steps as a GPU would take them, on fake CUDA tensors: they have a shape, a type and a device, and no numbers.

    python tests/support/fake_gpu.py LIBRARY      prints a JSON line for each case; LIBRARY: made of fake_gpu.cpp

torch refuses an operator whose arguments lie on two devices, and one whose result's shape has to be read back.
"""

from __future__ import annotations

import ctypes
import json
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

folder = Path(find_spec("torch").origin).parent / "lib"
for library in ("libtorch_global_deps.so", "libc10.so", "libtorch_cpu.so"):
    ctypes.CDLL(str(folder / library), ctypes.RTLD_GLOBAL)
gpu = ctypes.CDLL(sys.argv[1])  # before torch has looked which devices there are

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from runner.model import varlen as varlen_module  # noqa: E402
from runner.model.adapted_table import adapt_table  # noqa: E402
from runner.model.encoder import Encoder, decoder  # noqa: E402
from runner.model.folded_lora import fold  # noqa: E402
from runner.model.varlen import send, varlen  # noqa: E402
from runner.training import engine as engine_module  # noqa: E402
from runner.training.engine import Engine, Options  # noqa: E402
from runner.training.grad_cache import Batch, embed_all  # noqa: E402
from support.backbones import OF_ARCHITECTURE, examples_for, tiny  # noqa: E402
from sweeps.methods import Full, LoRA, Method  # noqa: E402
from sweeps.models import ARCHITECTURES, find_model  # noqa: E402
from sweeps.trial import Training, Trial  # noqa: E402

GPU = torch.device("cuda")
PAIRS = 16
WAYS = {
    "packed": {"bf16": True, "pack": True},
    "padded, bf16": {"bf16": True},
    "padded, fp32": {"bf16": False},
    "both ways": {"bf16": True, "bidirectional": True},
}


def fake_on_gpu(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """The module with fake tensors on the GPU."""
    for each in module.modules():
        for name, tensor in each.named_parameters(recurse=False):
            fake = mode.from_tensor(tensor.detach()).to(GPU)
            setattr(each, name, nn.Parameter(fake, requires_grad=tensor.requires_grad))
        for name, tensor in each.named_buffers(recurse=False):
            setattr(each, name, mode.from_tensor(tensor).to(GPU))
    return module


@contextmanager
def reads():
    """Counts what is read back from the GPU, and gives 1 for it."""
    counted, item = [], torch.Tensor.item
    torch.Tensor.item = lambda tensor: counted.append(tensor.device.type) or 1.0
    try:
        yield counted
    finally:
        torch.Tensor.item = item


def step(architecture: str, method: Method, way: dict, options: Options) -> dict:
    """One optimiser step and one pass over a pool; how often they had to wait for the GPU."""
    backbone = method.apply(tiny(architecture))
    if method.foldable:
        fold(backbone)
    adapt_table(backbone)
    if way.get("bidirectional"):
        decoder(backbone).config.is_causal = False
    sizes = np.random.default_rng(0).integers(1, 70, size=2 * PAIRS)
    texts = [np.random.default_rng(size).integers(2, 90, size=size) for size in sizes]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        encoder = Encoder(fake_on_gpu(backbone, mode), "mean", **way)
        trial = Trial("nano-25k", method, Training(batch_size=PAIRS), lr=1e-3, steps=10)
        engine = Engine(OF_ARCHITECTURE[architecture], trial, encoder, options)
        same_group_ids = send(np.arange(PAIRS)[None].repeat(3, 0), GPU)
        with reads() as counted:
            engine.step(Batch(texts, np.arange(2 * PAIRS), PAIRS, same_group_ids), 1e-3)
            vectors = embed_all(encoder, texts, 512)
    assert vectors.device.type == "cuda" and vectors.shape == (2 * PAIRS, 32)
    return {"read": len(counted)}


def kernel(query, key, value, starts, *rest):
    """The kernel's terms, which no fake of it knows."""
    assert {query.dtype, key.dtype, value.dtype} == {torch.bfloat16}, (query.dtype, key.dtype, value.dtype)
    assert query.shape == key.shape == value.shape and starts.dtype == torch.int32
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    return varlen(query, key, value, starts, *rest)


def main() -> None:
    gpu.begin()
    torch.Tensor.pin_memory = lambda tensor: tensor  # needs a driver
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.cuda.is_bf16_supported = lambda: True
    engine_module.free_memory = lambda device: 10**11
    varlen_module.varlen = kernel
    cases = [(name, Full(), "packed", Options()) for name in ARCHITECTURES]
    cases += [("gpt_neox", method, "packed", Options()) for method in examples_for(find_model("nano-25k"))]
    cases += [("gemma3_text", LoRA(rank=4, token_table="adapter"), "packed", Options())]
    cases += [("gpt_neox", LoRA(rank=4), way, Options()) for way in list(WAYS)[1:]]
    cases += [("gpt_neox", Full(), "packed", Options(recompute=True))]
    for architecture, method, way, options in cases:
        name = f"{architecture}, {method.label}, {way}{', recompute' * options.recompute}"
        try:
            found = step(architecture, method, WAYS[way], options)
        except Exception as error:  # all cases are told about, not only the first that fails
            found = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps({"case": name, **found}), flush=True)


if __name__ == "__main__":
    main()
