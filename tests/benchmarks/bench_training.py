"""Pairs per second beside Sentence Transformers' trainer: same model, texts, batch, loss and precision, in turn.

    python tests/benchmarks/bench_training.py              all rows, about 25 minutes on 2 quiet cores
    python tests/benchmarks/bench_training.py --rows full  rows whose name holds "full"

On a GPU where there is one (CUDA_VISIBLE_DEVICES= hides it): wider models, bf16, and "compiled" is ours with --compile.
On a CPU fp32, and "ranks" is ours with one rank a core, as torchrun starts it, and one thread a rank. All see the same
texts cut to the same tokens; a model that is not at hand has random weights. Ours runs as the worker runs it; theirs
with its in-batch loss (plain and gradient-cached) and peft for adapters, as its documentation has it. Each round runs a
few steps of every contender in one process, so a slow moment of the machine meets all of them; medians over all steps
are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import peft
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import PrinterCallback, TrainerCallback

from runner.bench import at_hand
from runner.data.pairs import Pairs, batch_indices, prepare
from runner.data.tokenizer import load_tokenizer
from runner.model.encoder import make_encoder
from runner.training import allocator
from runner.training.distributed import ALONE, Ranks, joined
from runner.training.engine import DEFAULTS, Engine, Options
from runner.training.grad_cache import make_batch
from sweeps.data.readers import read_pairs
from sweeps.methods import BiasOnly, FreezeBlocks, Full, LoRA, Method
from sweeps.models import NANO, ModelSpec, find_model
from sweeps.trial import Training, Trial

CLOCK = time.process_time if "--cpu-time" in sys.argv else time.perf_counter
ON = torch.device("cuda" if torch.cuda.is_available() else "cpu")
STEPS = {"cpu": 3, "cuda": 8}[ON.type]  # a round, the first of which is not counted
ROUNDS = 3
SCALE = 20.0
MINI_BATCH = {"cpu": 64, "cuda": 256}[ON.type]
SYMMETRIC = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
LOSSES = {
    "plain": lambda model: losses.MultipleNegativesRankingLoss(model, SCALE, **SYMMETRIC),
    "cached": lambda model: losses.CachedMultipleNegativesRankingLoss(
        model, SCALE, mini_batch_size=MINI_BATCH, **SYMMETRIC
    ),
}


@dataclass(frozen=True)
class Row:
    """One comparison."""

    name: str
    model: str
    method: Method
    batch: int
    losses: tuple[str, ...] = ("plain", "cached")
    epochs: int = 1


ROWS = {
    "cpu": [
        Row("full 4.7m x256", "nano-4.7m", Full(), 256),
        Row("lora 4.7m x256", "nano-4.7m", LoRA(8), 256),
        Row("freeze 4.7m x256", "nano-4.7m", FreezeBlocks(0.83), 256),
        Row("freeze 4.7m x256, 4 epochs", "nano-4.7m", FreezeBlocks(0.83), 256, epochs=4),
        Row("bias 4.7m x256", "nano-4.7m", BiasOnly(), 256),
        Row("full 4.7m x1024", "nano-4.7m", Full(), 1024, ("cached",)),
        Row("full 25k x64", "nano-25k", Full(), 64),
        Row("lora 25k x64", "nano-25k", LoRA(8), 64),
        Row("freeze 25k x64", "nano-25k", FreezeBlocks(0.5), 64),
        Row("full 100k x64", "nano-100k", Full(), 64),
        Row("full 340k x64", "nano-340k", Full(), 64),
    ],
    "cuda": [
        Row("full 4.7m x1024", "nano-4.7m", Full(), 1024),
        Row("lora 4.7m x1024", "nano-4.7m", LoRA(8), 1024),
        Row("full 410m x256", "pythia-410m", Full(), 256),
        Row("lora 410m x256", "pythia-410m", LoRA(8), 256),
        Row("freeze 410m x256", "pythia-410m", FreezeBlocks(0.83), 256),
        Row("full 410m x1024", "pythia-410m", Full(), 1024, ("cached",)),
    ],
}[ON.type]


class Timer(TrainerCallback):
    """Seconds from the end of one step to the end of the next, and the losses."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self._last: float | None = None

    def on_train_begin(self, args, state, control, **_):
        self._last = None

    def on_step_end(self, args, state, control, **_):
        now = CLOCK()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in (logs or {}):
            self.losses.append(logs["loss"])


@contextmanager
def opened(row: Row, training: Training) -> Iterator[tuple[ModelSpec, Pairs]]:
    """The model, or one of its shape with random weights, and its texts."""
    with tempfile.TemporaryDirectory() as folder:
        model, pairs, random = at_hand(find_model(row.model), training, Path(folder))
        if random:
            load_tokenizer(NANO[0].source).save_pretrained(folder)
        yield model, replace(pairs, train=pairs.train[: 8 * row.batch])


def st_model(model: ModelSpec, method: Method, context: int) -> SentenceTransformer:
    """The backbone as Sentence Transformers trains it, its weights in fp32."""
    transformer = Transformer(model.source, max_seq_length=context, model_args={"dtype": torch.float32})
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    made = SentenceTransformer(modules=[transformer, pooling, Normalize()], device=str(ON))
    tune(made, method)
    return made


def st_trainer(
    model: SentenceTransformer, kind: str, texts: list[tuple[str, str]], batch: int, steps: int, rate: float
):
    """Its trainer, with nothing switched on that costs time besides training."""
    arguments = SentenceTransformerTrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=batch,
        max_steps=steps,
        learning_rate=rate,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=ON.type == "cpu",
        bf16=ON.type == "cuda",
        dataloader_num_workers=4 if ON.type == "cuda" else 0,  # else the GPU waits for it to tokenise
    )
    data = Dataset.from_dict({"anchor": [a for a, _ in texts], "positive": [b for _, b in texts]})
    trainer = SentenceTransformerTrainer(model, args=arguments, train_dataset=data, loss=LOSSES[kind](model))
    trainer.remove_callback(PrinterCallback)
    return trainer


def make_theirs(trial: Trial, texts: list[tuple[str, str]]) -> tuple[SentenceTransformer, Callable[[], object]]:
    """A model and a function that trains one whole trial with the plain in-batch loss."""
    model = st_model(find_model(trial.model), trial.method, trial.training.context)
    trainer = st_trainer(model, "plain", texts, trial.training.batch_size, trial.steps, trial.lr)
    return model, trainer.train


def theirs(
    row: Row, spec: ModelSpec, texts: list[tuple[str, str]], kind: str, context: int
) -> tuple[Callable[[], None], Timer]:
    """A function that trains a round with Sentence Transformers, and its timer."""
    model, timer = st_model(spec, row.method, context), Timer()

    def one_round() -> None:
        trainer = st_trainer(model, kind, texts, row.batch, STEPS, 1e-5)
        trainer.add_callback(timer)
        trainer.train()

    return one_round, timer


def tune(model: SentenceTransformer, method: Method) -> None:
    """What `method` trains, by the means that Sentence Transformers offers."""
    backbone = model[0].auto_model
    if isinstance(method, LoRA):
        names = ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]
        model.add_adapter(peft.LoraConfig(r=method.rank, lora_alpha=method.alpha, target_modules=names))
    elif not isinstance(method, Full):
        method.apply(backbone)


def ours(
    row: Row, model: ModelSpec, pairs: Pairs, training: Training, ranks: Ranks = ALONE, options: Options = DEFAULTS
) -> tuple[Callable[[], None], list[float]]:
    """A function that trains a round with our engine, and the seconds of its steps."""
    trial = Trial(row.model, row.method, training, lr=1e-5, steps=10**6)
    engine = Engine(model, trial, make_encoder(model, row.method, "mean", ON, 0), options, ranks)
    seconds: list[float] = []
    step, ahead = 0, 0.0
    if row.epochs > 1:
        begun = CLOCK()
        engine.cache_frozen_states(pairs)
        ahead = (CLOCK() - begun) / 8 / row.epochs  # a step's part of it

    def one_round() -> None:
        nonlocal step
        for place in range(STEPS):
            begun = CLOCK()
            chosen = batch_indices(pairs.train, training.batch_size, step, 0)
            engine.step(make_batch(pairs, chosen, 0, engine.device), 1e-5)
            if ON.type == "cuda":
                torch.cuda.synchronize()
            if place:
                seconds.append(CLOCK() - begun + ahead)
            step += 1

    return one_round, seconds


def as_rank(row: Row, training: Training) -> None:
    """One of the processes that `with_ranks` starts; the first prints its median pairs per second."""
    training = replace(training, batch_size=row.batch)
    with joined("cpu") as ranks, opened(row, training) as (model, pairs):
        run, seconds = ours(row, model, pairs, training, ranks)
        for _ in range(ROUNDS):
            run()
        if ranks.rank == 0:
            print(row.batch / statistics.median(seconds))


def with_ranks(row: Row) -> float:
    """Pairs per second of one rank a core."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(os.cpu_count())]
    done = subprocess.run(
        [*launch, __file__, "--rows", row.name, "--as-rank"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def compare(row: Row, training: Training, texts: list[tuple[str, str]]) -> dict[str, float]:
    """Median pairs per second of every contender."""
    training = replace(training, batch_size=row.batch)
    with opened(row, training) as (model, pairs):
        contenders = {"ours": ours(row, model, pairs, training)}
        if ON.type == "cuda":
            contenders["compiled"] = ours(row, model, pairs, training, options=Options(compile=True))
        for kind in row.losses:
            run, timer = theirs(row, model, texts, kind, training.context)
            contenders[kind] = (run, timer.seconds)
        for _ in range(ROUNDS):
            for run, _seconds in contenders.values():
                run()
    rates = {name: row.batch / statistics.median(seconds) for name, (_, seconds) in contenders.items()}
    alone = CLOCK is time.process_time or ON.type == "cuda"
    return rates if alone else rates | {"ranks": with_ranks(row)}


def main() -> None:
    """The table; "ours over" takes the fastest of our ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="only rows whose name holds this")
    parser.add_argument("--cpu-time", action="store_true", help="one thread and its CPU seconds: for a busy machine")
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    wanted = arguments.rows
    allocator.keep_freed()  # as our commands do; theirs profit as well
    if arguments.cpu_time:
        torch.set_num_threads(1)
    training = Training(pool_size=64)
    prepared = prepare(training, find_model("nano-25k").source)
    training = replace(training, data_hash=prepared.data_hash)
    if arguments.as_rank:
        as_rank(next(row for row in ROWS if row.name == wanted), training)
        return
    found, _ = read_pairs(training.data)
    train = [(pair.query, pair.positive) for pair in found if not pair.held_out]
    order = np.random.default_rng(0).permutation(len(train))[: 1024 * STEPS * 2]
    texts = [train[i] for i in order]
    ways = ("ours", "ranks" if ON.type == "cpu" else "compiled")
    shown = (*ways, "plain", "cached")
    print(f"{'row':<28}{''.join(f'{name:>10}' for name in shown)}   ours over", flush=True)
    for row in ROWS:
        if wanted in row.name:
            rates = compare(row, training, texts)
            numbers = "".join(f"{rates[k]:>10.1f}" if k in rates else f"{'':>10}" for k in shown)
            best = max(rates[way] for way in ways if way in rates)
            ratios = "  ".join(f"{best / rates[kind]:.2f}x {kind}" for kind in row.losses)
            print(f"{row.name:<28}{numbers}   {ratios}", flush=True)


if __name__ == "__main__":
    Path("out").mkdir(exist_ok=True)
    main()
