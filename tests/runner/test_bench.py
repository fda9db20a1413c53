"""`embed bench`: it times the products that the exact count counts, and the planner can read what it leaves."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from runner import bench
from runner.bench import BenchSettings, Products, measure_machine, stand_in
from runner.cli import main
from runner.model.encoder import decoder, make_encoder
from runner.training import engine as engine_module
from runner.training.engine import Engine
from runner.training.grad_cache import Batch
from support.backbones import examples_for
from sweeps.flops import Work, exact_flops
from sweeps.machine.hardware import read_machine
from sweeps.machine.measured import MachineProfile, profile_path, this_host
from sweeps.methods import BiasOnly, Full, LoRA
from sweeps.models import find_model, read_model
from sweeps.trial import Training, Trial

CPU = torch.device("cpu")
NANO = find_model("nano-340k")
LENGTH, PAIRS = 24, 12


def engine(method):
    trial = Trial(NANO.name, method, Training(batch_size=PAIRS), lr=1e-6, steps=10)
    return Engine(NANO, trial, make_encoder(NANO, method, "mean", CPU, 0))


def batch_without_padding():
    random = np.random.default_rng(0)
    texts = list(random.integers(2, 4096, size=(2 * PAIRS, LENGTH)))
    return Batch(texts, np.arange(2 * PAIRS), PAIRS, torch.arange(PAIRS)[None])


@pytest.mark.parametrize("method", examples_for(NANO), ids=lambda method: method.name)
@pytest.mark.parametrize("share", [0.25, 0.0], ids=["once", "twice"])
def test_the_products_that_are_timed_are_those_that_are_counted(method, share, monkeypatch):
    monkeypatch.setattr(engine_module, "SHARE", {"cpu": share})
    made = engine(method)
    if not made.encoder.fused:  # torch's counter does not know the kernel of attention that a CPU has
        decoder(made.encoder.backbone).set_attn_implementation("eager")
    batch = batch_without_padding()
    made.step(batch, 1e-6)  # the memory of a graph is measured in the first
    with Products(made.encoder.parameters()) as products:
        cost = made.step(batch, 1e-6)
    work = Work(PAIRS, 2 * PAIRS * LENGTH, 2 * PAIRS * LENGTH**2, PAIRS)
    assert cost.recomputed_tokens == (0 if share else work.tokens)
    counted = exact_flops(NANO, method, work, cost.recomputed_tokens / work.tokens, cost.frozen_tokens / work.tokens)
    assert flops_of(products) == pytest.approx(counted, rel=0.001)


def flops_of(products):
    """By torch's own counter."""
    with FlopCounterMode(display=False) as counter:
        products.repeat()
    return counter.get_total_flops()


def test_repeating_the_products_trains_nothing():
    made = engine(Full())
    with Products(made.encoder.parameters()) as products:
        made.step(batch_without_padding(), 1e-6)
    before = [parameter.clone() for parameter in made.encoder.parameters()]
    products.repeat()
    assert all(torch.equal(one, other) for one, other in zip(before, made.encoder.parameters(), strict=True))
    assert len({args[0].data_ptr() for _, args, _ in products.calls}) < len(products.calls)  # operands are shared


@pytest.mark.parametrize("name", ["pythia-14m", "qwen3-0.6b", "smollm2-135m", "gemma3-270m", "olmo2-1b"])
def test_a_stand_in_has_the_shape_it_stands_for(name, tmp_path):
    model = replace(find_model(name), width=32, heads=2, kv_heads=2, head_dim=16, mlp_width=48, layers=2, vocab=5000)
    stand_in(model, tmp_path)
    assert replace(read_model(tmp_path), name=name, source=model.source, tied=model.tied) == model
    encoder = make_encoder(replace(model, source=str(tmp_path)), Full(), "mean", CPU, 0)
    table = encoder.table.weight.numel()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == model.params + table


@pytest.fixture(autouse=True)
def brief_peaks(monkeypatch):
    """A tenth of the time for the peak of products, which no test here is about."""
    monkeypatch.setattr(bench, "PEAK_SECONDS", bench.PEAK_SECONDS / 10)


@pytest.fixture
def asked(training):
    conditions = replace(training, batch_size=8, pool_size=2)
    return BenchSettings([find_model("nano-25k")], [Full()], conditions, CPU, seconds=0.0, clock=time.process_time)


@pytest.mark.slow
def test_rates_are_of_one_and_the_same_training(asked, training):
    from runner.data.pairs import prepare

    made, skipped = measure_machine(replace(asked, methods=[Full(), LoRA(4)]))
    assert not skipped and [row.method["name"] for row in made.rows] == ["full", "lora"]
    tokens, sum_sq_lengths = prepare(training, asked.models[0].source).pairs.mean_pair(0)
    for row, method in zip(made.rows, [Full(), LoRA(4)], strict=True):
        assert row.tokens / row.pairs == pytest.approx(tokens, rel=0.3)  # 3 batches of 8 pairs
        each = exact_flops(asked.models[0], method, Work(8, 8 * tokens, 8 * sum_sq_lengths, 8)) / (8 * tokens)
        assert row.flops / row.tokens == pytest.approx(each, rel=0.3)
        assert row.mfu == row.flops / made.peak and 0 < row.mfu < 1
        assert 0 < row.products < 1.2 and 0 < row.overhead < 1
        assert row.peak_bytes > 50e6 and row.params == asked.models[0].params and not row.random
    assert made.host == this_host() and made.threads == torch.get_num_threads()


def test_a_model_that_is_not_here_is_measured_with_random_weights(asked, tmp_path):
    absent = replace(find_model("nano-25k"), name="absent", source=str(tmp_path / "absent"))
    (row,) = measure_machine(replace(asked, models=[absent]))[0].rows
    assert row.random and row.model == "absent" and row.flops > 0


def test_what_cannot_be_tuned_is_named(asked):
    bare = replace(find_model("smollm2-135m"), width=32, heads=2, kv_heads=2, head_dim=16, mlp_width=48, layers=2)
    bare = replace(bare, vocab=4096, source="")
    made, skipped = measure_machine(replace(asked, models=[bare], methods=[Full(), BiasOnly()]))
    assert [row.method["name"] for row in made.rows] == ["full"]
    assert skipped == ["smollm2-135m with bias: smollm2-135m (llama) has no bias vectors"]
    with pytest.raises(ValueError, match="nothing can be measured: smollm2-135m with bias"):
        measure_machine(replace(asked, models=[bare], methods=[BiasOnly()]))


@pytest.mark.slow
def test_the_number_of_threads_is_left_as_it_was(asked):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert measure_machine(asked)[0].threads == 2 == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def test_the_command_leaves_a_profile_that_the_planner_finds(pairs_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RECIPE_PLANNER_CACHE", str(tmp_path))
    for name in ("HF_HUB_OFFLINE", "KINETO_LOG_LEVEL"):
        monkeypatch.setenv(name, "")  # so that what the command sets is taken back
    given = ["--model", "nano-25k", "--methods", "full", "--data", str(pairs_file), "--batch", "8", "--seconds", "0"]
    assert main(["bench", *given, "--on", "cpu", "--json"]) == 0
    said = capsys.readouterr()
    assert str(profile_path()) in said.err
    made = MachineProfile.from_json(json.loads(said.out))
    assert read_machine("this").profile == made
    assert read_machine("this").rate_of(find_model("nano-25k"), Full()) == pytest.approx(made.rows[0].flops)
    elsewhere = tmp_path / "mine.json"
    assert main(["bench", *given, "--on", "cpu", "--out", str(elsewhere)]) == 0
    assert "nano-25k" in capsys.readouterr().out and elsewhere.exists()
    assert read_machine("this").profile == made


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--methods", "full,foo"], "name is 'foo'; known: full"),
        (["--model", "nano-25"], "model is 'nano-25'"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_line(arguments, sentence, monkeypatch, capsys):
    for name in ("HF_HUB_OFFLINE", "KINETO_LOG_LEVEL"):
        monkeypatch.setenv(name, "")
    assert main(["bench", *arguments]) == 2
    assert sentence in capsys.readouterr().err
