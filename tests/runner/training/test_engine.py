"""How a step is run changes what it costs, never what it computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from runner.data.pairs import batch_indices, prepare
from runner.model.encoder import make_encoder
from runner.trainer import train
from runner.training import engine as engine_module
from runner.training.engine import DEFAULTS, Engine, Options, graph_bytes
from runner.training.frozen_states import FrozenStateCache
from runner.training.grad_cache import MemoryBudget, backward, make_batch
from support.backbones import examples_for
from sweeps.flops import exact_flops
from sweeps.methods import BiasOnly, FreezeBlocks, Full, LoRA
from sweeps.models import find_model
from sweeps.trial import Trial

NANO = find_model("nano-25k")
CPU = torch.device("cpu")
METHODS = [*examples_for(NANO), LoRA(4, token_table="adapter")]


@pytest.fixture(scope="module")
def prepared(training):
    return prepare(training, NANO.source)


@pytest.fixture(scope="module")
def conditions(training, prepared):
    return replace(training, data_hash=prepared.data_hash)


def engine(method, conditions, options=DEFAULTS, model=NANO, precision="auto"):
    trial = Trial(model.name, method, conditions, lr=1e-2, steps=10)
    return Engine(model, trial, make_encoder(model, method, "mean", CPU, 0, precision), options)


def losses(made, pairs, steps=4):
    found = []
    for step in range(steps):
        batch = make_batch(pairs, batch_indices(pairs.train, 16, step, 0), 0, CPU)
        found.append(made.step(batch, 1e-2).loss)
    return found


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.label)
@pytest.mark.parametrize(
    "options",
    [Options(micro_tokens=200), pytest.param(Options(recompute=True), marks=pytest.mark.slow)],
    ids=["small micro-batches", "recompute"],
)
def test_options_change_no_loss(method, options, conditions, prepared):
    plain = losses(engine(method, conditions), prepared.pairs)
    assert losses(engine(method, conditions, options), prepared.pairs) == pytest.approx(plain, abs=2e-4)


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_losses(conditions, prepared):
    plain = losses(engine(Full(), conditions), prepared.pairs, 3)
    assert losses(engine(Full(), conditions, Options(compile=True)), prepared.pairs, 3) == pytest.approx(
        plain, abs=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize(("method", "precision"), [(LoRA(8), "bf16"), (FreezeBlocks(0.5), "fp32")], ids=str)
def test_a_block_compiles_as_a_whole_and_once(method, precision, conditions, prepared, monkeypatch):
    compiled = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **given: compiled(self, backend="eager", **given))
    torch._dynamo.reset()
    counters.clear()
    made = engine(method, conditions, Options(compile=True, micro_tokens=400), precision=precision)
    found = losses(made, prepared.pairs, 3)
    assert found == pytest.approx(losses(engine(method, conditions, precision=precision), prepared.pairs, 3), rel=0.02)
    assert not counters["graph_break"] and not counters["unimplemented"]
    # Padded blocks: those that are trained, those that are frozen, and those of the probe of memory, or fewer.
    assert 1 <= counters["stats"]["unique_graphs"] <= 4


def test_bf16_products_give_nearly_the_same_first_loss(conditions, prepared):
    plain = losses(engine(Full(), conditions), prepared.pairs, 1)[0]
    bf16 = losses(engine(Full(), conditions, precision="bf16"), prepared.pairs, 1)[0]
    assert bf16 != plain and bf16 == pytest.approx(plain, rel=0.02)


def test_recomputed_blocks_are_counted(conditions, prepared):
    batch = make_batch(prepared.pairs, batch_indices(prepared.pairs.train, 16, 0, 0), 0, CPU)
    assert engine(Full(), conditions).step(batch, 1e-3).recomputed_tokens == 0
    made = engine(Full(), conditions, Options(recompute=True))
    runs = []
    made.encoder.backbone.layers[0].attention.register_forward_pre_hook(lambda *_: runs.append(1))
    passes = made.step(batch, 1e-3)
    assert passes.recomputed_tokens == batch.lengths.sum()
    once = engine(Full(), conditions)
    once.encoder.fused = False  # else no block of transformers' runs at all
    alone = []
    once.encoder.backbone.layers[0].attention.register_forward_pre_hook(lambda *_: alone.append(1))
    once.step(batch, 1e-3)
    assert len(runs) > len(alone)


@pytest.mark.parametrize("options", [DEFAULTS, Options(micro_tokens=200)], ids=["whole", "small micro-batches"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.label)
def test_every_trained_parameter_gets_a_gradient_in_a_step(method, options, conditions, prepared):
    made, sizes = engine(method, conditions, options), {}
    made.encoder.load_state_dict({name: value + 0.01 for name, value in made.encoder.state_dict().items()})
    trained = {name: p for name, p in made.encoder.named_parameters() if p.requires_grad}
    made.optimizer.register_step_pre_hook(
        lambda *_: sizes.update({name: float(p.grad.abs().max()) for name, p in trained.items()})
    )
    losses(made, prepared.pairs, 1)
    assert sizes.keys() == trained.keys() and min(sizes.values()) > 0


def test_a_parameter_that_nothing_trains_ends_the_training(conditions, prepared):
    made = engine(BiasOnly(), conditions)
    made.encoder.stray = nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="method bias trains stray, but it gets no gradient"):
        losses(made, prepared.pairs, 1)


@pytest.mark.parametrize("name", ["nano-25k", "nano-340k"])
def test_frozen_blocks_are_run_apart_and_give_the_same_vectors(name):
    model = find_model(name)
    whole = make_encoder(model, Full(), "last", CPU, 0)
    split = make_encoder(model, FreezeBlocks(0.5), "last", CPU, 0)
    assert whole.frozen == 0 and split.frozen == FreezeBlocks(0.5).frozen(model.layers) > 0
    texts = [np.arange(2, n) for n in (5, 9, 30)]
    torch.testing.assert_close(split.embed(texts), whole.embed(texts), rtol=1e-6, atol=1e-6)


def test_kept_states_of_frozen_blocks_give_the_same_gradients(conditions, prepared):
    encoder = make_encoder(NANO, FreezeBlocks(0.5), "mean", CPU, 0).double()
    batch = make_batch(prepared.pairs, batch_indices(prepared.pairs.train, 16, 0, 0), 0, CPU)
    cache = FrozenStateCache(encoder, prepared.pairs, 0, 512)

    def gradients(frozen_states, budget):
        encoder.zero_grad()
        cost = backward(encoder, batch.texts, lambda vectors: batch.loss(vectors, 0.05), budget, frozen_states)
        return cost, [p.grad.clone() for p in encoder.parameters() if p.grad is not None]

    def frozen_states(places):
        return cache.states(batch.hashes[places], batch.lengths[places])

    cost, plain = gradients(None, MemoryBudget(512, 10**9, 10**9))
    assert cost.frozen_tokens == batch.lengths.sum()
    for budget in (MemoryBudget(512, 10**9, 10**9), MemoryBudget(300, 0, 0)):
        cost, kept = gradients(frozen_states, budget)
        assert cost.frozen_tokens == 0
        for one, other in zip(plain, kept, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_several_epochs_run_the_frozen_blocks_once(conditions, prepared, monkeypatch):
    pairs = len(prepared.pairs.train)
    trial = Trial("nano-25k", FreezeBlocks(0.5), conditions, lr=1e-2, steps=3 * pairs // 16)
    kept = train(trial)
    monkeypatch.setattr(engine_module, "caching_pays", lambda *_: False)
    plain = train(trial)
    assert kept.loss == pytest.approx(plain.loss, abs=0.02)
    assert (kept.tokens, kept.pairs) == (plain.tokens, plain.pairs)
    saved = plain.flops - kept.flops
    shallow = replace(NANO, layers=FreezeBlocks(0.5).frozen(NANO.layers))
    frozen_forward = exact_flops(shallow, BiasOnly(), _work(plain)) / 2  # forward, and as much to differentiate
    assert 0.55 < saved / frozen_forward < 0.8  # two of three epochs, each text of the data once


def _work(observation):
    from sweeps.flops import Work

    return Work(observation.pairs, observation.tokens, observation.squares, 16)


def test_memory_of_a_graph_is_measured_and_grows_with_depth():
    texts = [np.arange(2, 40)] * 8
    shallow, deep = (make_encoder(find_model(name), Full(), "mean", CPU, 0) for name in ("nano-25k", "nano-340k"))
    assert graph_bytes(shallow, texts) < graph_bytes(deep, texts)
    frozen = make_encoder(find_model("nano-340k"), FreezeBlocks(0.75), "mean", CPU, 0)
    assert graph_bytes(frozen, texts) < 0.5 * graph_bytes(deep, texts)


def test_a_micro_batch_is_no_larger_than_half_of_the_memory_holds(conditions, prepared, monkeypatch):
    plain = losses(engine(Full(), conditions), prepared.pairs, 2)
    made = engine(Full(), conditions, Options(micro_tokens=1024))
    monkeypatch.setattr(engine_module, "graph_bytes", lambda *_: 1000)
    monkeypatch.setattr(engine_module, "free_memory", lambda _: 600_000)
    assert losses(made, prepared.pairs, 2) == pytest.approx(plain, abs=1e-5)
    assert made.micro_tokens == 256


@pytest.mark.parametrize(
    "said",
    ["[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: 9", "could not create a primitive"],
)
def test_when_memory_runs_out_smaller_micro_batches_go_on(conditions, prepared, monkeypatch, said):
    plain = losses(engine(Full(), conditions), prepared.pairs, 2)
    made = engine(Full(), conditions, Options(micro_tokens=1024))
    forward_trained = type(made.encoder).forward_trained

    def scarce(self, states, lengths):
        if states.shape[0] * states.shape[1] > 300:
            raise RuntimeError(said)
        return forward_trained(self, states, lengths)

    monkeypatch.setattr(engine_module, "graph_bytes", lambda *_: 1000)
    monkeypatch.setattr(type(made.encoder), "forward_trained", scarce)
    assert losses(made, prepared.pairs, 2) == pytest.approx(plain, abs=1e-5)
    assert made.micro_tokens == 256


def test_a_text_that_never_fits_is_an_error_that_says_what_to_do(conditions, prepared, monkeypatch):
    made = engine(Full(), conditions)
    monkeypatch.setattr(engine_module, "graph_bytes", lambda *_: 1000)

    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(type(made.encoder), "forward_trained", full)
    with pytest.raises(MemoryError, match=r"one text of \d+ tokens does not fit .* recompute"):
        losses(made, prepared.pairs, 1)


@pytest.mark.slow
def test_a_real_lack_of_memory_is_survived(tmp_path):
    """The kernel refuses memory beyond a limit that the second, larger step would need at once."""
    program = """
import json, resource, sys
import numpy as np, torch
from runner.training.grad_cache import Batch
from runner.model.encoder import make_encoder
from runner.training.engine import Engine, Options
from runner.training import engine as e
from sweeps.methods import Full
from sweeps.models import find_model
from sweeps.trial import Training, Trial
torch.set_num_threads(1)
model = find_model("nano-100k")
trial = Trial("nano-100k", Full(), Training(), 1e-3, 4)
encoder = make_encoder(model, Full(), "mean", torch.device("cpu"), 0)
made = Engine(model, trial, encoder, Options(micro_tokens=2**17))
made._token_bytes = 1
def batch(pairs):
    random = np.random.default_rng(0)
    texts = [random.integers(2, 4096, size=70) for _ in range(2 * pairs)]
    return Batch(texts, np.arange(2 * pairs), pairs, torch.arange(pairs)[None])
made.step(batch(8), 1e-3)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20, -1))
print(json.dumps([made.step(batch(400), 1e-3).loss, made.micro_tokens]))
"""
    # What is freed goes back to the kernel: kept in a heap, it would be no room for oneDNN's code.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    loss, micro = json.loads(done.stdout)
    assert np.isfinite(loss) and micro < 2**17


def test_hard_negatives_that_are_not_there_add_no_text(prepared):
    assert len(make_batch(prepared.pairs, np.arange(4), 2, CPU).texts) == 8


def test_the_loss_is_that_of_sentence_transformers(conditions, prepared):
    """On the same texts, which its own tokenizer call and collator cut and pad."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer = Transformer(NANO.source, max_seq_length=conditions.context, model_args={"dtype": torch.float32})
    model = SentenceTransformer(modules=[transformer, Pooling(NANO.width, "mean"), Normalize()], device="cpu")
    directions = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
    theirs = MultipleNegativesRankingLoss(model, scale=20.0, **directions)
    batch = make_batch(prepared.pairs, batch_indices(prepared.pairs.train, 16, 0, 0), 0, CPU)
    assert all(len(kind.unique()) == 16 for kind in batch.same_group_ids)
    tokenizer = model.tokenizer
    columns = [tokenizer.batch_decode([list(map(int, text)) for text in half]) for half in _halves(batch.texts)]
    for half, texts in zip(_halves(batch.texts), columns, strict=True):
        again = tokenizer(texts, truncation=True, max_length=conditions.context)["input_ids"]
        assert [list(map(int, text)) for text in half] == again
    loss = theirs([model.preprocess(column) for column in columns], None).item()
    ours = engine(Full(), conditions).step(batch, 1e-3).loss
    assert ours == pytest.approx(loss, abs=1e-4)


def _halves(texts):
    return texts[: len(texts) // 2], texts[len(texts) // 2 :]
