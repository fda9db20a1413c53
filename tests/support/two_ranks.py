"""What two processes find when they train together and when each trains alone; test_distributed.py starts them."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.tensor import DTensor

from runner.data.pairs import Pairs, batch_indices, open_prepared
from runner.export.sentence_transformers import export
from runner.model.encoder import Encoder, make_encoder
from runner.trainer import train_encoder
from runner.training import outcome
from runner.training import train as train_module
from runner.training.distributed import ALONE, Ranks, fingerprint
from runner.training.engine import Engine, Options
from runner.training.frozen_states import FrozenStateCache
from runner.training.fsdp import full_tensor, shard
from runner.training.grad_cache import Batch, MemoryBudget, backward, make_batch
from support.backbones import examples_for
from sweeps.methods import FreezeBlocks, Full, LoRA
from sweeps.models import find_model
from sweeps.trial import Observation, Training, Trial

NANO = find_model("nano-25k")
CPU = torch.device("cpu")
METHODS = {method.name: method for method in examples_for(NANO)} | {"lora+table": LoRA(4, token_table="adapter")}
NEGATIVES = {"in-batch": 0, "hard": 5}
# All graphs kept, none, and those of some micro-batches.
BUDGETS = {
    "kept": MemoryBudget(96, 10**9, 10**9),
    "cached": MemoryBudget(96, 0, 0),
    "partly": MemoryBudget(96, 150, 75),
}
SETTINGS = [(name, pooling, negatives) for name in METHODS for pooling in ("mean", "last") for negatives in NEGATIVES]
IN_FP32 = (("mean", "in-batch"), ("last", "hard"))  # float64 shows more, of all
STEPS = 6


@cache
def tuned(method, pooling: str) -> Encoder:
    """An encoder that is no longer the pretrained one: an untrained adapter hides wrong gradients."""
    encoder = make_encoder(NANO, method, pooling, CPU, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.01 * torch.randn_like(parameter) * parameter.requires_grad
    return encoder


def encoder_for(method, pooling: str, kind: torch.dtype, ranks: Ranks) -> Encoder:
    encoder = copy.deepcopy(tuned(method, pooling)).to(kind)
    if ranks.sharded:
        shard(encoder, CPU, ranks.count)
    return encoder


def gradients(method, pooling: str, negatives: str, budget: MemoryBudget, kind: torch.dtype, ranks: Ranks) -> tuple:
    """The loss, and the gradient of every parameter, added up."""
    random = np.random.default_rng(0)
    texts = [random.integers(2, 4096, size=n) for n in random.integers(3, 30, size=14 + NEGATIVES[negatives])]
    same_group_ids = torch.tensor([[0, 1, 2, 3, 4, 2, 6]])
    batch = Batch(texts, np.arange(len(texts)), 7, same_group_ids)
    encoder = encoder_for(method, pooling, kind, ranks)
    cost = backward(encoder, texts, lambda vectors: batch.loss(vectors, 0.05), budget, None, ranks)
    found = {name: full_tensor(p.grad) for name, p in encoder.named_parameters() if p.grad is not None}
    if not ranks.sharded:
        ranks.all_reduce_sum_(list(found.values()))
    return cost.loss, found


def gradient_errors(ranks: Ranks) -> dict:
    """By setting, precision and kind of ranks: how far from a single process, relative.

    worst: of any parameter's gradient, to its norm or a millionth of the whole gradient's. all: of the whole gradient.
    """
    errors = {}
    for index, (method, pooling, negatives) in enumerate(SETTINGS):
        for kind in (torch.float64, torch.float32) if (pooling, negatives) in IN_FP32 else (torch.float64,):
            chosen = list(BUDGETS)[index % len(BUDGETS)]
            setting = (METHODS[method], pooling, negatives, BUDGETS[chosen], kind)
            one = gradients(*setting, ALONE)
            size = torch.cat([value.flatten() for value in one[1].values()]).norm()
            for name, together in (("data", ranks), ("sharded", replace(ranks, sharded=True))):
                two = gradients(*setting, together)
                apart = {key: (two[1][key] - value).norm() for key, value in one[1].items()}
                errors[" ".join((method, pooling, negatives, str(kind)[6:], name))] = {
                    "parameters": [sorted(one[1]) == sorted(two[1]), len(one[1])],
                    "loss": abs(two[0] - one[0]) / one[0],
                    "worst": max((apart[key] / max(one[1][key].norm(), 1e-6 * size)).item() for key in apart),
                    "all": (torch.stack(list(apart.values())).norm() / size).item(),
                }
    return errors


def temperatures(ranks: Ranks) -> list[float]:
    """The gradient of a learnt temperature, alone and together."""
    found = []
    for these in (ALONE, ranks):
        encoder = encoder_for(Full(), "mean", torch.float64, these)
        encoder.learn_temperature(0.1)
        random = np.random.default_rng(0)
        texts = [random.integers(2, 4096, size=n) for n in random.integers(3, 30, size=14)]
        batch = Batch(texts, np.arange(14), 7, torch.arange(7)[None])
        backward(
            encoder, texts, lambda v, e=encoder, b=batch: b.loss(v, e.temperature(0.1)), BUDGETS["kept"], None, these
        )
        these.all_reduce_sum_([encoder.logit_scale.grad])
        found.append(encoder.logit_scale.grad.item())
    return found


def seen(observation: Observation) -> dict:
    """What does not depend on the clock."""
    wanted = (
        "status",
        "reason",
        "loss",
        "accuracy",
        "start_loss",
        "flops",
        "tokens",
        "squares",
        "curve",
        "environment",
    )
    content = observation.to_json()
    return {name: content[name] for name in wanted}


def short(trial: Trial, method, steps: int = STEPS) -> Trial:
    outcome._start_losses.clear()  # which a process measures once
    return replace(trial, method=method, steps=steps)


def trainings(ranks: Ranks, trial: Trial) -> dict:
    """Whole trainings: alone, together, and together in parts."""
    found = {}
    for method in METHODS:
        for name, these in (("alone", ALONE), ("data", ranks), ("sharded", replace(ranks, sharded=True))):
            observation, encoder = train_encoder(short(trial, METHODS[method]), on="cpu", ranks=these)
            found[f"{method} {name}"] = seen(observation)
            if these.rank == 0 or not these.sharded:
                prints = torch.tensor([float(p.detach().double().norm()) for p in encoder.parameters()])
                found[f"{method} {name}"]["weights"] = prints.tolist()
                found[f"{method} {name}"]["bits"] = bits_alike(ranks, encoder) if name == "data" else True
    return found


def bits_alike(ranks: Ranks, encoder: Encoder) -> bool:
    try:
        ranks.must_agree({"weights": fingerprint(encoder)})
    except ValueError:
        return False
    return True


def epochs(ranks: Ranks, trial: Trial) -> dict:
    """Frozen blocks over several epochs, whose states are kept."""
    longer = replace(short(trial, FreezeBlocks(0.5)), training=replace(trial.training, batch_size=256))
    return {
        name: seen(train_encoder(longer, on="cpu", ranks=these)[0])
        for name, these in (("alone", ALONE), ("data", ranks))
    }


def options(ranks: Ranks, trial: Trial) -> dict:
    """Ways of running a step, together, beside a plain training alone."""
    found = {"alone": seen(train_encoder(short(trial, Full()), on="cpu")[0])}
    for name, chosen, sharded in (
        ("small", Options(micro_tokens=200), False),
        ("recompute", Options(recompute=True), False),
        ("small, sharded", Options(micro_tokens=200), True),
        ("recompute, sharded", Options(recompute=True), True),
    ):
        these = replace(ranks, sharded=sharded)
        found[name] = seen(train_encoder(short(trial, Full()), on="cpu", options=chosen, ranks=these)[0])
    return found


def states(ranks: Ranks, pairs: Pairs) -> list[float]:
    """Largest difference of kept states, over data of even and odd numbers of texts."""
    encoder = make_encoder(NANO, FreezeBlocks(0.5), "mean", CPU, seed=0).double()
    apart = []
    for count in (10, 11, 12, 13):
        few = replace(pairs, train=pairs.train[:count])
        one, two = (FrozenStateCache(encoder, few, 0, 100, these)._states for these in (ALONE, ranks))
        apart.append((one - two).abs().max().item())
    return apart


def exchanges(ranks: Ranks, trial: Trial, pairs: Pairs) -> dict:
    """How often one step of many micro-batches asks for what."""
    encoder = make_encoder(NANO, Full(), "mean", CPU, seed=0)
    engine = Engine(NANO, short(trial, Full()), encoder, Options(micro_tokens=100), ranks)
    batch = make_batch(pairs, batch_indices(pairs.train, 16, 0, 0), 0, CPU)
    counts = {"gathers": 0, "sums of gradients": 0}
    gather, reduce = dist.all_gather, dist.all_reduce

    def counted_gather(*given, **named):
        counts["gathers"] += 1
        return gather(*given, **named)

    def counted_reduce(tensor, *given, **named):
        counts["sums of gradients"] += tensor.is_floating_point()
        return reduce(tensor, *given, **named)

    dist.all_gather, dist.all_reduce = counted_gather, counted_reduce
    passes = []
    forward_trained = Encoder.forward_trained
    Encoder.forward_trained = lambda self, *given: passes.append(1) or forward_trained(self, *given)
    try:
        engine.step(batch, 1e-3)
    finally:
        dist.all_gather, dist.all_reduce, Encoder.forward_trained = gather, reduce, forward_trained
    return {**counts, "passes": len(passes)}


def scarce(ranks: Ranks, trial: Trial, pairs: Pairs) -> dict:
    """Losses and micro-batches when memory runs out on rank 1 only."""
    batch = make_batch(pairs, batch_indices(pairs.train, 16, 0, 0), 0, CPU)

    def two_losses(these: Ranks, most: float) -> list:
        forward_trained = Encoder.forward_trained

        def limited(self, states, lengths):
            if states.shape[0] * states.shape[1] > most:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")
            return forward_trained(self, states, lengths)

        encoder = make_encoder(NANO, Full(), "mean", CPU, seed=0)
        engine = Engine(NANO, short(trial, Full()), encoder, Options(micro_tokens=1024), these)
        engine._token_bytes = 1000
        Encoder.forward_trained = limited
        try:
            return [engine.step(batch, 1e-3).loss, engine.step(batch, 1e-3).loss, engine.micro_tokens]
        finally:
            Encoder.forward_trained = forward_trained

    most = 300 if ranks.rank == 1 else float("inf")
    return {"plenty": two_losses(ALONE, float("inf")), "scarce": two_losses(ranks, most)}


def interruptions(ranks: Ranks, trial: Trial, folder: Path) -> dict:
    """A training begun by one kind of ranks, interrupted, and finished by another."""
    kinds = {"alone": ALONE, "data": ranks, "sharded": replace(ranks, sharded=True)}
    found = {}
    step = train_module._step

    def interrupted(run):
        if run.state.step == 3:
            raise KeyboardInterrupt
        return step(run)

    trial = short(trial, Full())
    found["whole"] = {name: seen(train_encoder(trial, on="cpu", ranks=kinds[name])[0]) for name in ("data", "sharded")}
    train_module.CHECKPOINT_SECONDS = 0.0
    for first, second in (("data", "data"), ("sharded", "sharded"), ("sharded", "alone"), ("alone", "sharded")):
        place = folder / f"{first}-{second}"
        ranks.wait()
        train_module._step = interrupted
        try:
            if first != "alone" or ranks.rank == 0:
                train_encoder(trial, place, "cpu", ranks=kinds[first])
        except KeyboardInterrupt:
            pass
        train_module._step = step
        ranks.wait()
        if second != "alone" or ranks.rank == 0:
            found[f"{first}-{second}"] = seen(train_encoder(trial, place, "cpu", ranks=kinds[second])[0])
    train_module.CHECKPOINT_SECONDS = 60.0
    return found


def exported(ranks: Ranks, trial: Trial, folder: Path) -> list[list[float]]:
    """Vectors of one text by a sharded model as it was trained, and after its export."""
    observation, encoder = train_encoder(short(trial, LoRA(4)), on="cpu", ranks=replace(ranks, sharded=True))
    if ranks.rank:
        return []
    text = np.arange(5, 25)
    with torch.no_grad():
        trained = encoder.embed([text])[0].tolist()
        export(encoder, observation, folder / "model")
        again = (
            make_encoder(replace(NANO, source=str(folder / "model")), Full(), "mean", CPU, 0).embed([text])[0].tolist()
        )
        start = make_encoder(NANO, Full(), "mean", CPU, 0).embed([text])[0].tolist()
    return [trained, again, start]


def memory(ranks: Ranks, pairs: Pairs) -> dict:
    """Bytes on this rank after a step: of weights, gradients and moments, and of the weights' copies in its graph."""
    found = {}
    weights = {linear.weights for linear in NANO.linears}
    batch = make_batch(pairs, batch_indices(pairs.train, 16, 0, 0), 0, CPU)
    conditions = Training(batch_size=16, precision="bf16")
    for method in (Full(), LoRA(4)):
        for name, these in (("data", ranks), ("sharded", replace(ranks, sharded=True))):
            encoder = make_encoder(NANO, method, "mean", CPU, 0, "bf16")
            encoder.fused = False  # as on a GPU
            if these.sharded:
                shard(encoder, CPU, ranks.count)
            engine = Engine(NANO, Trial(NANO.name, method, conditions, 1e-3, 2), encoder, ranks=these)
            engine.step(batch, 1e-3)
            moments = [value for state in engine.optimizer.state.values() for value in state.values() if value.dim()]
            held = [*encoder.parameters(), *engine.trained, *moments]  # gradients are as large as what they are of
            copies: dict[int, int] = {}

            def keep(tensor: torch.Tensor, copies=copies) -> torch.Tensor:
                if tensor.dtype is torch.bfloat16 and tensor.numel() in weights:
                    copies[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
                return tensor

            with saved_tensors_hooks(keep, lambda tensor: tensor):
                vectors = encoder.embed(batch.texts[:3])
            found[f"{method.name} {name}"] = {
                "state": sum(local(tensor).numel() * tensor.element_size() for tensor in held),
                "copies": sum(copies.values()),
            }
            del vectors
    return found


def local(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def disagreement(ranks: Ranks) -> str:
    try:
        ranks.must_agree({"age": 7, "height": ranks.rank})
    except ValueError as error:
        return str(error)
    return ""


def main(ranks: Ranks, folder: Path) -> None:
    """All cases of one pair of processes. Reads FOLDER/trial.json; rank 0 writes FOLDER/found.json."""
    torch.set_num_threads(1)
    trial = Trial.from_json(json.loads((folder / "trial.json").read_text()))
    pairs = open_prepared(trial.training, NANO.source)
    found = {
        "gradients": gradient_errors(ranks),
        "temperatures": temperatures(ranks),
        "trainings": trainings(ranks, trial),
        "epochs": epochs(ranks, trial),
        "options": options(ranks, trial),
        "states": states(ranks, pairs),
        "exchanges": exchanges(ranks, trial, pairs),
        "scarce": scarce(ranks, trial, pairs),
        "interruptions": interruptions(ranks, trial, folder),
        "long": seen(train_encoder(short(trial, Full(), 40), on="cpu", ranks=ranks)[0]),
        "exported": exported(ranks, trial, folder),
        "memory": memory(ranks, pairs),
        "disagreement": disagreement(ranks),
    }
    if ranks.rank == 0:
        (folder / "found.json").write_text(json.dumps(found, indent=1))
