"""train(trial) -> Observation: one contrastive training, from the pretrained backbone to the held-out loss."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runner.data.pairs import Pairs, draw, open_prepared, pools, pools_by_source
from runner.model.encoder import Encoder, count_trainable, make_encoder
from runner.training import checkpoint
from runner.training.distributed import ALONE, Ranks, fingerprint
from runner.training.early_stopping import Watch, look
from runner.training.engine import DEFAULTS, Engine, Options
from runner.training.fsdp import gather_into, shard
from runner.training.grad_cache import held_out, make_batch
from runner.training.measure import environment, peak_memory, reset_peak_memory
from runner.training.schedule import rate_factor
from runner.training.trackers import Log
from sweeps.flops import Work, exact_flops, paper_flops
from sweeps.models import ModelSpec, find_model
from sweeps.store.folder import CHECKPOINT, Trunk, report, trunk_of
from sweeps.support.progress import Progress
from sweeps.trial import Observation, Training, Trial, failure, parts_of
from sweeps.workers.loop import TERMINATED

CHECKPOINT_SECONDS = 60.0
REPORT_SECONDS = 1.0
CURVE_POINTS = 50
COUNTED = ("step", "tokens", "squares", "again", "entered")  # what the FLOPs follow from; see contrastive.StepCost


@dataclass(frozen=True)
class Share:
    """What a training that is one of several takes of their data, and the steps that were before it."""

    pairs: Pairs
    before: int


@dataclass
class Run:
    """A training under way: everything that `step` needs, and what it has counted so far.

    known: of its observation, what does not follow from the counts. elsewhere: seconds that it took before this call.
    """

    trial: Trial
    model: ModelSpec
    pairs: Pairs
    engine: Engine
    record: dict
    trunk: Trunk | None = None
    watch: Watch | None = None
    log: Log | None = None
    share: Share | None = None
    known: dict[str, Any] = field(default_factory=dict)
    elsewhere: float = 0.0


def train(
    trial: Trial,
    folder: Path | None = None,
    on: str | None = None,
    quiet: bool = True,
    options: Options = DEFAULTS,
) -> Observation:
    """The observation of `trial`; never raises for what training does, only for what cannot be started.

    folder: where the checkpoint is kept and looked for; in a sweep's, what other trials left of their common trunk is
    used too. on: "cpu" or "cuda", by default the GPU where there is one.
    """
    return train_encoder(trial, folder, on, quiet, options)[0]


def train_encoder(
    trial: Trial,
    folder: Path | None = None,
    on: str | None = None,
    quiet: bool = True,
    options: Options = DEFAULTS,
    ranks: Ranks = ALONE,
    log: Log | None = None,
    share: Share | None = None,
) -> tuple[Observation, Encoder]:
    """As `train`, and the tuned encoder. The checkpoint stays: only whoever has kept the observation may drop it.

    ranks: who train it together, on one file system. Only rank 0 writes; a sharded encoder is whole on rank 0 only.
    log: is told the figures of every step and evaluation. share: what it takes of the data of a trial that it is a part
    of.
    """
    started = time.monotonic()
    reset_peak_memory()
    run = _start(trial, torch.device(on or ("cuda" if torch.cuda.is_available() else "cpu")), options, ranks, share)
    run.log, run.share = log, share
    run.trunk = trunk_of(folder, trial) if folder and ranks.count == 1 else None
    merging = bool(trial.training.merge)  # then its parts are trained, and have the checkpoints
    if folder and not merging and ranks.broadcast_from_zero((folder / CHECKPOINT).exists()):
        run.record = checkpoint.load(folder / CHECKPOINT, trial.key, run.engine.encoder, run.engine.optimizer)
    elif run.trunk:
        _take_trunk(run, run.trunk)
    kept = run.record.get("micro_tokens", run.engine.micro_tokens)
    run.engine.micro_tokens = min(kept, run.engine.micro_tokens) if options.smaller else kept
    if trial.training.evaluate_every:
        run.watch = Watch(trial.training, run.pairs, run.record.setdefault("evaluations", []), folder)
    if not merging:
        _keep_prefix(run)
    before = run.record["seconds"]
    chosen = pools(run.pairs, trial.training.pool_size, trial.training.pools)
    if "start_loss" not in run.record:
        run.record["start_loss"] = _start_loss(run, chosen)
    reason = _parts(run, folder, quiet) if merging else _all_steps(run, folder, quiet)
    if run.watch and trial.training.patience and not reason:
        run.watch.restore_best(run.engine.encoder)
    loss, accuracy = _held_out(run, chosen) if not reason else (math.nan, math.nan)
    if not reason:
        reason = _why_diverged(loss, run.record["start_loss"], math.log(trial.training.pool_size))
    if math.isfinite(loss):  # also of one that is said to have diverged
        run.record["scores"] = _scores(run, chosen)
    observation = _observe(run, reason, loss, accuracy, before + run.elsewhere + time.monotonic() - started)
    return observation, _whole(run)


def _parts(run: Run, folder: Path | None, quiet: bool) -> str:
    from runner.merging.per_source import train_parts  # only here: it trains them with this module

    return train_parts(run, folder, quiet)


def _start(trial: Trial, device: torch.device, options: Options, ranks: Ranks, share: Share | None) -> Run:
    model = find_model(trial.model)
    if trial.training.context > model.context:
        raise ValueError(f"training.context is {trial.training.context}; {model.name} reads {model.context} tokens")
    if trial.training.warmup_steps >= trial.branch:
        raise ValueError(f"training.warmup_steps is {trial.training.warmup_steps}; the trial has {trial.steps} steps")
    if ranks.sharded and trial.method.bits:
        raise ValueError(f"{trial.method.name} keeps the backbone in {trial.method.bits} bits, which cannot be sharded")
    for name in ("learn_temperature", "patience"):
        if ranks.sharded and getattr(trial.training, name):
            raise ValueError(f"training.{name} is {getattr(trial.training, name)!r}, which sharded ranks cannot do")
    if trial.training.merge:
        _check_merge(trial, ranks)
    pairs = share.pairs if share else ranks.run_on_zero_first(lambda: open_prepared(trial.training, model.source))
    encoder = _encoder(trial, device, torch.device("cpu") if ranks.sharded else device)
    if ranks.count > 1:
        key = int(trial.key, 16) >> 1
        ranks.must_agree({"recipe": key, "training pairs": len(pairs.train), "weights": fingerprint(encoder)})
    if ranks.sharded:
        shard(encoder, device, ranks.count)
    record = {"key": trial.key, "curve": [], "seconds": 0.0, **dict.fromkeys(COUNTED, 0)}
    return Run(trial, model, pairs, Engine(model, trial, encoder, options, ranks), record)


def _check_merge(trial: Trial, ranks: Ranks) -> None:
    merge = trial.training.merge
    if trial.method.bits:
        raise ValueError(
            f"training.merge is {merge!r}; {trial.method.name} keeps the backbone in bits: not to be merged"
        )
    if ranks.count > 1:
        raise ValueError(f"training.merge is {merge!r}; such a trial is trained by one process, not {ranks.count}")
    if fewest := [part.training.data for part in trial.parts if part.steps < 1]:
        raise ValueError(f"training.merge is {merge!r}; of {trial.steps} steps {fewest[0]!r} gets none")


def _encoder(trial: Trial, device: torch.device, home: torch.device) -> Encoder:
    training = trial.training
    model = find_model(trial.model)
    precision, both_ways = training.precision, training.bidirectional
    made = make_encoder(model, trial.method, training.pooling, device, trial.seed, precision, home, both_ways)
    if training.learn_temperature:
        made.learn_temperature(training.temperature)
    return made


def _whole(run: Run) -> Encoder:
    """The encoder; on rank 0 of sharded ranks one that lies on the CPU."""
    ranks, encoder = run.engine.ranks, run.engine.encoder
    if not ranks.sharded:
        return encoder
    plain = _encoder(run.trial, encoder.device, torch.device("cpu")) if ranks.rank == 0 else None
    gather_into(plain, encoder)
    return plain or encoder


def _take_trunk(run: Run, trunk: Trunk) -> None:
    """Go on from the furthest state that another trial left on this one's way, where there is one."""
    while state := trunk.newest():
        try:
            record = checkpoint.load(state, run.trial.trunk, run.engine.encoder, run.engine.optimizer)
        except FileNotFoundError:  # deleted since, for there is a further one
            continue
        run.record = record | {"key": run.trial.key, "reused": {name: record[name] for name in COUNTED}}
        if not record["prefix"]:  # this training may have more epochs, so that it pays now
            del run.record["prefix"]
        return


def _leave_trunk(run: Run, trunk: Trunk) -> None:
    """Where the cooldown begins, leave the state to trials that train further at the full rate."""
    if run.record["step"] == trunk.branch and not trunk.own.exists() and trunk.wanted():
        record = {name: value for name, value in run.record.items() if name != "reused"} | {"key": run.trial.trunk}
        checkpoint.save(trunk.own, run.engine.encoder, run.engine.optimizer, record)


def _keep_prefix(run: Run) -> None:
    """Decided once, for a resumed training must go on alike."""
    if "prefix" not in run.record:
        run.record["prefix"] = run.engine.caching_pays(run.pairs)
        run.record["entered"] += run.engine.cache_frozen_states(run.pairs) if run.record["prefix"] else 0
    elif run.record["prefix"]:
        run.engine.cache_frozen_states(run.pairs)


def _all_steps(run: Run, folder: Path | None, quiet: bool) -> str:
    """Train to the last step; returns why it ended early, or nothing."""
    saved = reported = begun = time.monotonic()
    before, ranks = run.record["seconds"], run.engine.ranks
    with Progress(run.trial.model, run.trial.steps, "steps", done=run.record["step"]) as progress:
        while run.record["step"] < run.trial.steps:
            if _stopped(run):
                return ""
            loss = _step(run)
            run.record["step"] += 1
            run.record["seconds"] = before + time.monotonic() - begun
            if not math.isfinite(loss):
                return f"training loss is {loss} at step {run.record['step']} of {run.trial.steps}"
            run.record["curve"].append([run.record["step"], run.record["tokens"], loss])
            if run.log:
                run.log(run.record["step"], {"loss": loss, "tokens": run.record["tokens"]})
            if run.trunk:
                _leave_trunk(run, run.trunk)
            leave = ranks.broadcast_from_zero(run.engine.options.leave())
            if folder and (leave or ranks.broadcast_from_zero(time.monotonic() - saved > CHECKPOINT_SECONDS)):
                checkpoint.save(folder / CHECKPOINT, run.engine.encoder, run.engine.optimizer, run.record, ranks)
                saved = time.monotonic()
            if leave:
                raise SystemExit(TERMINATED)
            if folder and ranks.rank == 0 and time.monotonic() - reported > REPORT_SECONDS:
                report(folder, (run.share.before if run.share else 0) + run.record["step"], loss)
                reported = time.monotonic()
            if not quiet:
                progress.advance(note=f"loss {loss:.3f}")
        _stopped(run)
    return ""


def _stopped(run: Run) -> bool:
    """Evaluate where it is time to; whether the training ends here."""
    watch, step = run.watch, run.record["step"]
    if watch and watch.due(step):
        engine = run.engine
        said = watch.look(step, engine.encoder, 4 * engine.micro_tokens, run.trial.key, engine.ranks)
        run.record["stopped"] = said if step < run.trial.steps else ""
        if run.log:
            run.log(step, watch.seen[-1])
    return bool(run.record.get("stopped"))


def _scores(run: Run, chosen: list[np.ndarray]) -> dict[str, float]:
    """Retrieval and health where they are asked for; of several sources the held-out loss of each."""
    training, scores = run.trial.training, {}
    if training.score:
        scores |= look(run.engine.encoder, run.pairs, chosen, 4 * run.engine.micro_tokens, run.engine.ranks)
    parts = parts_of(training.data)
    if len(parts) > 1:
        made = pools_by_source(run.pairs, training.pool_size, training.pools)
        scores |= {f"loss {name}": _held_out(run, mine)[0] for (name, _), mine in zip(parts, made, strict=True)}
    return scores


def _step(run: Run) -> float:
    """One optimiser step; returns its training loss."""
    training, step = run.trial.training, run.record["step"]
    factor = rate_factor(
        training.schedule, step, run.trial.steps, training.warmup, training.cooldown, training.warmup_steps
    )
    chosen = draw(run.pairs, training, step, run.trial.seed)
    batch = make_batch(run.pairs, chosen, training.hard_negatives, run.engine.device)
    spent = run.engine.step(batch, run.trial.lr * factor)
    run.record["tokens"] += int(batch.lengths.sum())
    run.record["squares"] += int((batch.lengths.astype(np.int64) ** 2).sum())
    run.record["again"] += spent.recomputed_tokens
    run.record["entered"] += spent.frozen_tokens
    run.record["micro_tokens"] = run.engine.micro_tokens
    return spent.loss


_start_losses: dict[tuple[str, Training, str], float] = {}


def _start_loss(run: Run, chosen: list[np.ndarray]) -> float:
    """Held-out loss before training: every method starts from the same vectors, so a worker measures it once."""
    name = (run.model.source, run.trial.training, run.engine.device.type)
    if name not in _start_losses:
        _start_losses[name] = _held_out(run, chosen)[0]
    return _start_losses[name]


def _held_out(run: Run, chosen: list[np.ndarray]) -> tuple[float, float]:
    engine = run.engine
    engine.encoder.eval()
    temperature, tokens = run.trial.training.temperature, 4 * engine.micro_tokens
    found = held_out(engine.encoder, run.pairs, chosen, temperature, tokens, engine.ranks)
    engine.encoder.train()
    return found


def _why_diverged(loss: float, start: float, chance: float) -> str:
    if not math.isfinite(loss):
        return f"held-out loss is {loss}"
    if loss > max(start, chance):
        return f"held-out loss ended at {loss:.3f}, above its start ({start:.3f}) and above chance ({chance:.3f})"
    return ""


def _observe(run: Run, reason: str, loss: float, accuracy: float, total_seconds: float) -> Observation:
    record = run.record
    work = _work(run, record)
    every = max(1, run.trial.steps // CURVE_POINTS)
    known = {
        "loss": loss if math.isfinite(loss) else None,
        "accuracy": accuracy if math.isfinite(accuracy) else None,
        "start_loss": record["start_loss"],
        "flops": _flops(run, record),
        "reused_flops": _flops(run, record["reused"]) if "reused" in record else 0.0,
        "paper_flops": paper_flops(run.model, run.trial.method, work),
        "params": run.model.params,
        "trainable": count_trainable(run.engine.encoder),
        "tokens": record["tokens"],
        "squares": record["squares"],
        "pairs": work.pairs,
        "data_pairs": len(run.pairs.train),
        "seconds": round(record["seconds"], 3),
        "total_seconds": round(total_seconds, 3),
        "peak_bytes": peak_memory(run.engine.device),
        "curve": tuple(tuple(p) for p in record["curve"] if p[0] % every == 0 or p[0] == run.trial.steps),
        "scores": record.get("scores", {}),
        "evaluations": tuple(record.get("evaluations", ())),
        "stopped": record.get("stopped", ""),
        "environment": environment(run.engine.device, run.trial.training.precision, run.engine.ranks.count),
    } | run.known
    return failure(run.trial, reason, "diverged" if reason else "done", **known)


def _work(run: Run, counted: dict) -> Work:
    batch_size = run.trial.training.batch_size
    return Work(counted["step"] * batch_size, counted["tokens"], counted["squares"], batch_size)


def _flops(run: Run, counted: dict) -> float:
    again, entered = (counted[name] / max(1, counted["tokens"]) for name in ("again", "entered"))
    return exact_flops(run.model, run.trial.method, _work(run, counted), second_forward=again, entered=entered)
