"""Memory of training: its parts, and what transformers' blocks are counted to keep, move and start."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from runner.model import varlen
from runner.model.encoder import Encoder, decoder
from support.backbones import OF_ARCHITECTURE, UNGROUPED, build
from sweeps.memory import QUANTIZED_BYTES, micro_tokens, training_memory
from sweeps.methods import METHODS, Full, LoRA
from sweeps.models import ARCHITECTURES, ModelSpec, find_model

# Operations that move nothing: views, and memory that is only taken.
FREE = {"view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select", "unsqueeze", "squeeze"}
FREE |= {"alias", "detach", "as_strided", "split", "split_with_sizes", "unbind", "empty", "empty_like", "new_empty"}
PRODUCTS = {"mm", "addmm", "bmm"}
SHAPE = {"layers": 2, "width": 128, "heads": 8, "kv_heads": 8, "head_dim": 16, "mlp_width": 384, "vocab": 100}
LAYERS, TOKENS = (1, 2), (128, 256)
QUICK = ("gpt_neox", "qwen3", "gemma3_text")


class Operations(TorchDispatchMode):
    """Counts what torch starts, and the bytes that it reads and writes outside products."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.moved = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = kwargs or {}
        out = function(*args, **given)
        name = function.overloadpacket.__name__
        if name not in FREE:
            self.kernels += 1
            tensors = [t for t in tree_leaves((args, given, out)) if isinstance(t, torch.Tensor)]
            sizes = (min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in tensors)
            self.moved += 0 if name in PRODUCTS else sum(sizes)
        return out


def step(model: ModelSpec, tokens: int, bf16: bool = True) -> tuple[int, int, int]:
    """Kernels of forward and backward, the bytes that they move, and those that the graph keeps besides the weights.

    As on a GPU, packed; the kernel of its attention alone is another's.
    """
    torch.manual_seed(0)
    encoder = Encoder(build(model, "cpu").float(), "mean", bf16, pack=True)
    ids, where = encoder.pad([np.arange(tokens // 4) % 90] * 4)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    encoder(ids, where).sum().backward()  # the first one makes the gradients
    with Operations() as seen:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            vectors = encoder(ids, where)
        vectors.backward(torch.ones_like(vectors))
    own = {parameter.untyped_storage()._cdata for parameter in encoder.parameters()}
    return seen.kernels, seen.moved, sum(size for key, size in kept.items() if key not in own)


def dense(query, key, value, *_):
    query, key, value = (each.transpose(0, 1)[None] for each in (query, key, value))
    return scaled_dot_product_attention(query, key, value, is_causal=True)[0].transpose(0, 1)


@pytest.fixture
def counted(monkeypatch):
    """What one block more takes: kernels; bytes moved and kept for a token; bytes kept whatever the tokens."""
    monkeypatch.setattr(varlen, "varlen", dense)

    def count(model: ModelSpec) -> tuple[float, float, float, float]:
        found = {(layers, n): np.array(step(replace(model, layers=layers), n)) for layers in LAYERS for n in TOKENS}
        fewer, more = ((found[LAYERS[1], n] - found[LAYERS[0], n]) / (LAYERS[1] - LAYERS[0]) for n in TOKENS)
        per_token = (more - fewer) / (TOKENS[1] - TOKENS[0])
        return fewer[0], per_token[1], per_token[2], (fewer - per_token * TOKENS[0])[2]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield count


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in ARCHITECTURES
        if name != "falcon"  # it does not run packed
    ],
)
@pytest.mark.parametrize("shape", [{}, {"mlp_width": 512, "heads": 16, "kv_heads": 4}], ids=["square", "grouped"])
def test_what_a_block_moves_keeps_and_starts_is_what_torch_does(name, shape, counted):
    if name in UNGROUPED and shape:
        shape = {"mlp_width": 512}  # its heads are as wide as the block, and not shared
    model = replace(OF_ARCHITECTURE[name], source="", **{**SHAPE, **shape})
    kernels, moved, kept, casts = counted(model)
    said = model.family.elementwise
    assert said.kernels == pytest.approx(kernels, rel=0.1)
    assert np.dot(said.moved, model.units) == pytest.approx(moved, rel=0.05)
    assert np.dot(said.kept, model.units) == pytest.approx(kept, rel=0.05)
    assert casts == pytest.approx(2 * model.block_weights, rel=0.1)  # autocast's copies


def test_memory_holds_weights_gradients_and_moments():
    model = find_model("pythia-410m")
    total = model.params + model.embedding_params
    memory = training_memory(model, Full())
    assert memory.state == memory.fixed() == 16 * total
    for kind in METHODS.values():
        memory = training_memory(model, kind())
        assert QUANTIZED_BYTES * total < memory.state <= 16 * total
        assert memory.peak(1024) > memory.fixed()


def test_a_frozen_token_table_has_no_gradient_and_no_moments():
    model = find_model("pythia-14m")
    table, adapter = model.embedding_params, 32 * (model.vocab + model.width)
    states = {
        method.label: training_memory(model, method).state
        for method in (Full(), Full(token_table="freeze"), LoRA(32), LoRA(32, token_table="adapter"))
    }
    full, frozen, lora, adapted = states.values()
    assert full - frozen == 12 * table
    assert adapted - lora == 16 * adapter


def test_adapters_are_folded_beside_the_weights_unless_the_model_is_shared_out():
    model = find_model("qwen3-4b")
    memory = training_memory(model, LoRA(32), mixed=True)
    weights = 4 * model.layers * model.block_weights
    assert memory.folded == weights
    assert memory.fixed() - memory.fixed(shards=8) == pytest.approx(
        weights + 7 / 8 * memory.state - memory.gathered, rel=1e-9
    )
    assert memory.fixed(shards=8) > memory.working >= 0.5 * weights  # each chip has all of these


def test_a_graph_takes_half_as_much_in_16_bits():
    model = find_model("pythia-410m")
    fp32, mixed = (training_memory(model, Full(), mixed) for mixed in (False, True))
    casts = 2 * model.layers * model.block_weights
    assert mixed.token - casts / micro_tokens(model, "cuda") == pytest.approx(fp32.token / 2)


def test_recomputed_blocks_keep_their_inputs_and_one_block_more():
    model = find_model("qwen3-14b")
    kept, less = (training_memory(model, Full(), mixed=True, recompute=recompute) for recompute in (False, True))
    assert less.token == 4 * model.layers * model.width < kept.token / 10
    assert less.working < kept.working / 5 and less.state == kept.state


@pytest.mark.parametrize("name", ["gpt_neox", "qwen3", "llama"])
def test_a_recomputed_block_keeps_its_input_in_fp32_and_nothing_else(name, monkeypatch):
    monkeypatch.setattr(varlen, "varlen", dense)
    model = replace(OF_ARCHITECTURE[name], source="", **SHAPE)
    encoder = Encoder(build(model, "cpu").float(), "mean", bf16=True, pack=True)
    encoder.train()
    encoder.recompute()
    given: list[int] = []
    for block in decoder(encoder.backbone).layers:
        again = block._gradient_checkpointing_func

        def keep(function, *inputs, again=again, **options):
            given.append(sum(each.nbytes for each in inputs if isinstance(each, torch.Tensor)))
            return again(function, *inputs, **options)

        monkeypatch.setattr(block, "_gradient_checkpointing_func", keep)
    encoder.embed([np.arange(40) % 90] * 4)
    said = training_memory(model, Full(), mixed=True, recompute=True)
    assert sum(given) == 160 * said.token
