"""`embed bench`: how fast this machine trains, beside what its matrix products reach alone."""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity
from torch.profiler import profile as record
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from transformers import AutoConfig, AutoModel

from runner.data.pairs import Pairs, batch_indices, open_prepared
from runner.data.tokenizer import load_tokenizer
from runner.model.encoder import make_encoder, uses_bf16
from runner.training import allocator
from runner.training.engine import DEFAULTS, Engine, Options
from runner.training.grad_cache import StepCost, make_batch
from runner.training.measure import peak_memory, reset_peak_memory
from sweeps.data.readers import open_source, survey
from sweeps.flops import Work, exact_flops
from sweeps.machine.measured import MachineProfile, Reached, this_host
from sweeps.methods import Method, label_of
from sweeps.models import NANO, ModelSpec
from sweeps.support.progress import Progress
from sweeps.trial import Training, Trial

METHODS = ("full", "lora", "freeze", "bias")
MODELS = {"cpu": tuple(model.name for model in NANO), "cuda": ("nano-4.7m", "pythia-70m", "pythia-160m", "pythia-410m")}
BATCH = {"cpu": 64, "cuda": 1024}  # pairs
PASSES = 3  # at the least: a median of fewer is none
PROFILED = 5  # steps at most
BUSY = 0.3  # of the cores
RATE = 1e-6  # of learning: the steps are real, what they learn does not matter
PEAK_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
PEAK_SECONDS = 0.3
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SPECIAL_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}

Clock = Callable[[], float]


@dataclass(frozen=True)
class BenchSettings:
    """What is measured, and for how long."""

    models: Sequence[ModelSpec]
    """Backbones, each measured with every method."""
    methods: Sequence[Method]
    """Ways of tuning them."""
    training: Training
    """Conditions of the steps: data, batch size, precision."""
    device: torch.device
    """Where the steps run."""
    seconds: float
    """Seconds of steps and products together for each model and method, at the least."""
    clock: Clock = time.perf_counter
    """Tells seconds; on a busy machine the process's own clock tells more than the wall's."""
    options: Options = DEFAULTS
    """How steps are run."""


def measure_machine(settings: BenchSettings) -> tuple[MachineProfile, list[str]]:
    """Returns the profile of this machine, and which models cannot be tuned how. Downloads nothing.

    A model whose weights are not on this machine is measured with random ones. Raises ValueError when nothing can be
    measured.
    """
    refusals = {
        (model.name, method.label): method.refusal(model) for model in settings.models for method in settings.methods
    }
    skipped = [f"{model} with {method}: {reason}" for (model, method), reason in refusals.items() if reason]
    if len(skipped) == len(refusals):
        raise ValueError(f"nothing can be measured: {'; '.join(skipped) or 'no model or no method was named'}")
    load = os.getloadavg()[0]  # before the data is read, which keeps all cores busy
    training = replace(settings.training, data_hash=survey(open_source(settings.training.data)).data_hash)
    settings = replace(settings, training=training)
    precision = "bf16" if uses_bf16(training.precision, settings.device) else "fp32"
    peak_rates = peaks(settings.device, settings.clock)
    rows = _rows(settings, peak_rates[precision]["all"])
    host, cuda = this_host(), settings.device.type == "cuda"
    profile = MachineProfile(
        host=host,
        device=torch.cuda.get_device_name() if cuda else host.cpu,
        memory=torch.cuda.get_device_properties(0).total_memory if cuda else host.memory,
        threads=torch.get_num_threads(),
        precision=precision,
        torch=torch.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data=training.data,
        load=load,
        peaks=peak_rates,
        rows=tuple(rows),
        compiled=settings.options.compile,
    )
    return profile, skipped


def _rows(settings: BenchSettings, peak: float) -> list[Reached]:
    """Returns one row for every model and method that fit together. peak: FLOP/s."""
    expected = {
        (model, method): _expected(settings, model, method, peak)
        for model in sorted(settings.models, key=lambda model: model.params)
        for method in settings.methods
        if not method.refusal(model)
    }
    rows = []
    with Progress("measuring", sum(expected.values()), "s planned") as progress:
        for model in dict.fromkeys(model for model, _ in expected):
            with tempfile.TemporaryDirectory(prefix="embed-bench-") as folder:
                here, pairs, random = at_hand(model, settings.training, Path(folder))
                for method in settings.methods:
                    if (model, method) in expected:
                        rows.append(replace(measure(settings, here, method, pairs, peak), random=random))
                        note = f"{model.name} {method.label} {rows[-1].flops / 1e9:,.1f} GFLOP/s"
                        progress.advance(expected[model, method], note)
    return rows


def _expected(settings: BenchSettings, model: ModelSpec, method: Method, peak: float) -> float:
    """Returns the seconds that one row takes, if half of the peak is reached and products alone take as long."""
    pair = Work(1, 87, 5266, settings.training.batch_size)  # as `python-env` has them
    step = exact_flops(model, method, pair.times(settings.training.batch_size)) / (peak / 2)
    return 1.0 + max(settings.seconds, 2 * PASSES * step) + 3 * step


def at_hand(model: ModelSpec, training: Training, folder: Path) -> tuple[ModelSpec, Pairs, bool]:
    """Returns the model, texts for it, and whether random weights take its place, as it is not on this machine.

    Those are written to `folder`; their texts are those of the nano suite, real ones of real lengths.
    """
    try:
        load_tokenizer(model.source)
        AutoConfig.from_pretrained(model.source, trust_remote_code=False)
    except (OSError, ValueError):
        stand_in(model, folder)
        return replace(model, source=str(folder)), open_prepared(training, NANO[0].source), True
    return model, open_prepared(training, model.source), False


def stand_in(model: ModelSpec, folder: Path) -> None:
    """Write a model of this shape with random weights."""
    shape = {
        "hidden_size": model.width,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "intermediate_size": model.mlp_width,
        "vocab_size": max(model.vocab, NANO[0].vocab),
        "max_position_embeddings": model.context,
    }
    if model.architecture == "gpt_neox":
        del shape["num_key_value_heads"], shape["head_dim"]  # it has neither
    config = AutoConfig.for_model(model.architecture, **shape, **SPECIAL_TOKENS)
    AutoModel.from_config(config).save_pretrained(folder)


def measure(settings: BenchSettings, model: ModelSpec, method: Method, pairs: Pairs, peak: float) -> Reached:
    """Train a few steps, each on another batch, and do the products of one of them alone in between."""
    _forget()
    trial = Trial(model.name, method, settings.training, lr=RATE, steps=10**6)
    encoder = make_encoder(model, method, settings.training.pooling, settings.device, 0, settings.training.precision)
    steps = Steps(Engine(model, trial, encoder, settings.options), pairs)
    steps.take(settings.training.batch_size // 8 or 2)  # what happens once happens here
    with Products(encoder.parameters()) as products:
        recorded = steps.take().flops
    peak_bytes = peak_memory(settings.device)
    taken: list[tuple[Step, float]] = []
    alone: list[float] = []
    begun = settings.clock()
    while len(taken) < PASSES or settings.clock() - begun < settings.seconds:
        taken.append(_timed(steps.take, settings))
        alone.append(_timed(products.repeat, settings)[1])
    flops = statistics.median(step.flops / seconds for step, seconds in taken)
    return Reached(
        model=model.name,
        params=model.params,
        method={"name": method.name, **method.options},
        batch_size=settings.training.batch_size,
        steps=len(taken),
        pairs=statistics.median(step.pairs / seconds for step, seconds in taken),
        tokens=statistics.median(step.tokens / seconds for step, seconds in taken),
        flops=flops,
        mfu=flops / peak,
        products=flops / (recorded / statistics.median(alone)),
        overhead=overhead(steps, settings, statistics.median(seconds for _, seconds in taken)),
        peak_bytes=peak_bytes,
    )


def _forget() -> None:
    """Give the memory of the last row back, so that this one's peak is its own."""
    gc.collect()
    allocator.give_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    reset_peak_memory()


def _timed(work: Callable[[], Any], settings: BenchSettings) -> tuple[Any, float]:
    begun = settings.clock()
    result = work()
    _wait(settings.device)
    return result, settings.clock() - begun


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Step:
    """What one optimiser step did."""

    pairs: int
    """Text pairs in its batch."""
    tokens: int
    """Real tokens, without padding."""
    flops: float
    """FLOPs by the exact count."""


class Steps:
    """Optimiser steps as runner/training/train.py takes them, on one batch after another."""

    def __init__(self, engine: Engine, pairs: Pairs) -> None:
        self.engine, self.pairs = engine, pairs
        self.done = 0

    def take(self, batch_size: int = 0) -> Step:
        """Take the next step, of a full batch unless `batch_size` is given."""
        size = self.engine.trial.training.batch_size
        chosen = batch_indices(self.pairs.train, size, self.done, 0)[: batch_size or size]
        batch = make_batch(self.pairs, chosen, 0, self.engine.device)
        cost = self.engine.step(batch, RATE)
        self.done += 1
        return Step(len(chosen), int(batch.lengths.sum()), self._flops(batch.lengths.astype(np.int64), cost))

    def _flops(self, lengths: np.ndarray, cost: StepCost) -> float:
        tokens, pairs = int(lengths.sum()), len(lengths) // 2
        work = Work(pairs, tokens, int((lengths**2).sum()), pairs)
        recomputed, frozen = cost.recomputed_tokens / tokens, cost.frozen_tokens / tokens
        return exact_flops(self.engine.model, self.engine.trial.method, work, recomputed, frozen)


class Products(TorchDispatchMode):
    """Records the matrix products and attention of what runs inside it, and repeats them alone.

    Parameters are multiplied themselves; other operands are random numbers of the same shape, strides and type, one
    for all that are alike, so that they lie in the cache as well as they ever can.
    """

    def __init__(self, parameters: Any) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict]] = []
        self._kept = {p.untyped_storage().data_ptr(): p.untyped_storage() for p in parameters}
        self._operands: dict[tuple, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if is_product(func):
            named = {name: self._operand(each, name) for name, each in kwargs.items()}
            self.calls.append((func, tree_map(self._operand, args), named))
        return func(*args, **kwargs)

    def repeat(self) -> None:
        """Do all that was recorded once more, alone."""
        with torch.no_grad():
            for func, args, kwargs in self.calls:
                func(*args, **kwargs)

    def _operand(self, value: Any, role: str = "") -> Any:
        """Returns what stands for an operand. role: its name, if any: `out` must not be what is read."""
        if not isinstance(value, Tensor):
            return value
        if not value.is_floating_point() or value.untyped_storage().data_ptr() in self._kept:
            return value.detach()  # lengths of texts, states of random numbers: they decide what is done
        name = (tuple(value.shape), value.stride(), value.dtype, role)
        if name not in self._operands:
            size = 1 + sum((n - 1) * stride for n, stride in zip(value.shape, value.stride(), strict=True))
            flat = torch.randn(size, device=value.device, dtype=value.dtype)
            self._operands[name] = flat.as_strided(value.shape, value.stride())
        return self._operands[name]


def is_product(func: Any) -> bool:
    """Returns whether a torch operator multiplies matrices: the kinds that torch's own FLOP counter knows."""
    name = func.overloadpacket.__name__
    return name in ("mm", "addmm", "bmm", "baddbmm") or "attention" in name or "attn" in name


def overhead(steps: Steps, settings: BenchSettings, seconds: float) -> float:
    """Returns the share of a step's time outside torch's kernels, on one thread, the profiler's own time included.

    On a GPU: the share of the time that no kernel runs. seconds: of a step.
    """
    threads, cuda = torch.get_num_threads(), settings.device.type == "cuda"
    count = min(PROFILED, max(1, round(settings.seconds / 4 / seconds)))
    torch.set_num_threads(1)
    try:
        with record(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as recorded:
            begun = time.perf_counter()
            for _ in range(count):
                steps.take()
            _wait(settings.device)
            wall = time.perf_counter() - begun
    finally:
        torch.set_num_threads(threads)
    events = recorded.key_averages()
    if cuda:
        busy = sum(event.self_device_time_total for event in events if event.device_type == DeviceType.CUDA)
    else:
        busy = sum(event.self_cpu_time_total for event in events if event.key.startswith("aten::"))
    return 1 - busy / 1e6 / wall


def peaks(device: torch.device, clock: Clock = time.perf_counter) -> dict[str, dict[str, float]]:
    """Returns FLOP/s of square matrix products: of one core and of all threads, or of the GPU, in each precision."""
    if device.type == "cuda":
        return {name: {"all": matmul_peak(kind, device, clock)} for name, kind in TYPES.items()}
    threads, rates = torch.get_num_threads(), {}
    for name, kind in TYPES.items():
        torch.set_num_threads(1)
        try:
            core = matmul_peak(kind, device, clock)
        finally:
            torch.set_num_threads(threads)
        rates[name] = {"core": core, "all": max(core, matmul_peak(kind, device, clock)) if threads > 1 else core}
    return rates


def matmul_peak(kind: torch.dtype, device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Returns FLOP/s of the fastest product that was seen."""
    best = 0.0
    for size in PEAK_SIZES[device.type]:
        if best and 2 * size**3 / best > PEAK_SECONDS:
            break
        left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
        out, spent = left @ right, 0.0
        _wait(device)
        while spent < PEAK_SECONDS:
            begun = clock()
            torch.mm(left, right, out=out)
            _wait(device)
            seconds = clock() - begun
            best, spent = max(best, 2 * size**3 / seconds), spent + seconds
    return best


def report(profile: MachineProfile, skipped: Sequence[str]) -> str:
    """Returns the profile as a text for a terminal."""
    how = f"{profile.precision}{', blocks compiled' * profile.compiled}"
    lines = [
        f"{profile.device}, {profile.memory / 1e9:.1f} GB, {profile.threads} of {profile.host.cores} cores, "
        f"torch {profile.torch}",
        *(f"peak {name}   {_rates(profile.peaks[name])}" for name in profile.peaks),
        f"steps of {profile.rows[0].batch_size} pairs of {profile.data}, products in {how}",
        "",
        f"{'model':<14}{'method':<22}{'pairs/s':>10}{'tokens/s':>11}{'GFLOP/s':>10}"
        f"{'of peak':>9}{'of its products':>17}{'overhead':>10}{'memory':>10}",
    ]
    for row in profile.rows:
        lines.append(
            f"{row.model + '*' * row.random:<14}{label_of(row.method):<22}{row.pairs:>10,.0f}"
            f"{row.tokens:>11,.0f}{row.flops / 1e9:>10,.1f}{row.mfu:>9.0%}{row.products:>17.0%}{row.overhead:>10.1%}"
            f"{row.peak_bytes / 1e6:>7,.0f} MB"
        )
    if any(row.random for row in profile.rows):
        lines.append("* not on this machine: random weights of its shape, texts tokenised as for the nano suite")
    if profile.load > BUSY * profile.host.cores:
        lines.append(
            f"the machine was busy (load {profile.load:.1f}): these rates are too low, measure again when it is idle"
        )
    return "\n".join([*lines, *(f"not possible: {line}" for line in skipped)])


def _rates(rates: Mapping[str, float]) -> str:
    names = {"core": "of one core", "all": "of all together"}
    return ", ".join(f"{rate / 1e9:,.0f} GFLOP/s {names[name]}" for name, rate in rates.items())
