"""One contrastive training of one model, from the pretrained backbone to its observation."""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from runner.data.pairs import draw
from runner.model.encoder import Encoder
from runner.tasks.score import BrokenVectors
from runner.training import checkpoint
from runner.training.distributed import ALONE, Ranks
from runner.training.early_stopping import BEST, EarlyStopping
from runner.training.engine import DEFAULTS, Options
from runner.training.fsdp import gather_into
from runner.training.grad_cache import make_batch
from runner.training.measure import reset_peak_memory
from runner.training.outcome import judge, measure_start_loss, observe
from runner.training.run import Run, Share, TrainingState, build_encoder, start
from runner.training.schedule import rate_factor
from runner.training.trackers import Log
from sweeps.store.files import CHECKPOINT, report
from sweeps.store.trunks import Trunk, trunk_of
from sweeps.support.atomic import append_text, set_aside
from sweeps.support.progress import Progress, waiting
from sweeps.trial import Observation, Trial
from sweeps.workers.stop_requests import TERMINATED

CHECKPOINT_SECONDS = 60.0
REPORT_SECONDS = 1.0


def train_model(
    trial: Trial,
    folder: Path | None = None,
    on: str | None = None,
    quiet: bool = True,
    options: Options = DEFAULTS,
    ranks: Ranks = ALONE,
    log: Log | None = None,
    share: Share | None = None,
) -> tuple[Observation, Encoder]:
    """Returns the observation of a trial that trains one model, and the tuned encoder; see runner/trainer.py.

    share: what it takes of the data of a trial that it is a part of.
    """
    started = time.monotonic()
    reset_peak_memory()
    with waiting("preparing the training", quiet):
        run = start(trial, folder, on, options, ranks, share)
        run.log = log
        _resume(run)
        if trial.training.evaluate_every:
            run.early_stopping = EarlyStopping(
                trial.training, run.model.source, run.pairs, run.state.evaluations, folder
            )
        _cache_frozen_states(run)
    seconds_before = run.state.seconds
    with waiting("measuring the loss before training", quiet):
        measure_start_loss(run)
    with waiting("training", quiet):
        try:
            diverged = _all_steps(run, quiet)
        except BrokenVectors as error:
            diverged = f"{error}, at step {run.state.step} of {trial.steps}"
    if run.early_stopping and trial.training.patience and not diverged:
        run.early_stopping.restore_best(run.engine.encoder)
    with waiting("evaluating", quiet):
        outcome = judge(run, diverged)
    if run.log and math.isfinite(outcome.loss):
        run.log(
            run.state.step, {f"end/{name}": value for name, value in {"loss": outcome.loss, **outcome.scores}.items()}
        )
    observation = observe(run, outcome, seconds_before + time.monotonic() - started)
    return observation, _gathered(run)


def _resume(run: Run) -> None:
    """Go on from the training's own checkpoint, or else from a state that trials of its trunk left."""
    folder, engine = run.folder, run.engine
    run.trunk = trunk_of(folder, run.trial) if folder and engine.ranks.count == 1 else None
    if folder and engine.ranks.broadcast_from_zero((folder / CHECKPOINT).exists()):
        _take_own_state(run, folder)
    elif run.trunk:
        _take_shared_state(run, run.trunk)
    kept = run.state.micro_tokens or engine.micro_tokens
    engine.micro_tokens = min(kept, engine.micro_tokens) if engine.options.smaller else kept


def _take_own_state(run: Run, folder: Path) -> None:
    """Go on from the training's own checkpoint; begin anew, and say so, where that cannot be."""
    try:
        run.state = _load(run, folder / CHECKPOINT, run.trial.key, run.trial.steps)
    except checkpoint.Damaged as error:
        run.engine.ranks.wait()  # all have read it
        if run.engine.ranks.rank == 0:
            _say(folder, f"{error}; the training starts again")
            set_aside(folder / CHECKPOINT)


def _say(folder: Path, sentence: str) -> None:
    """Tell what happened on stderr, and in the trial's log where there is one."""
    print(sentence, file=sys.stderr, flush=True)
    if (folder / "trial.json").exists():
        with suppress(OSError):
            append_text(folder / "log.txt", f"{sentence}\n")


def _load(run: Run, path: Path, key: str, last: int) -> TrainingState:
    """Returns the state in a file, with the engine brought to it. last: the last step that it may be at."""

    def check(record: dict[str, Any]) -> None:
        state = TrainingState.from_record(record)
        training, counts = run.trial.training, state.counts
        texts = counts.step * training.batch_size * (2 + training.hard_negatives)
        if counts.step > last:
            raise ValueError(f"it is at step {counts.step} of {last}")
        if counts.tokens > texts * training.context or len(state.curve) > counts.step:
            raise ValueError(f"{counts.step} steps are not {counts.tokens} tokens and {len(state.curve)} losses")
        if state.data and state.data != run.state.data:
            raise ValueError(f"the data changed: they were {state.data}, and are {run.state.data} now")
        if training.patience and state.evaluations:
            checkpoint.read_record(path.with_name(BEST))

    record = checkpoint.load(path, key, run.engine.encoder, run.engine.optimizer, check)
    return replace(TrainingState.from_record(record), data=run.state.data)


def _take_shared_state(run: Run, trunk: Trunk) -> None:
    """Go on from the furthest state that another trial left on this one's way, where there is one."""
    while path := trunk.newest():
        try:
            state = _load(run, path, run.trial.trunk, trunk.cooldown_start)
            if path != trunk.state(state.step):
                raise checkpoint.Damaged(f"{path}: is at step {state.step}, not at that of its name")
            run.state = state.as_own(run.trial.key)
        except FileNotFoundError:  # deleted since, for there is a further one
            continue
        except checkpoint.Damaged as error:
            if run.folder:
                _say(run.folder, f"{error}; it is deleted")
            path.unlink(missing_ok=True)
            continue
        return


def _leave_shared_state(run: Run, trunk: Trunk) -> None:
    """Where the cooldown begins, leave the state to trials that train further at the full rate."""
    if run.state.step == trunk.cooldown_start and not trunk.own.exists() and trunk.wanted():
        record = run.state.as_shared(run.trial.trunk).to_record()
        checkpoint.save(trunk.own, run.engine.encoder, run.engine.optimizer, record)


def _cache_frozen_states(run: Run) -> None:
    """Compute the states after the frozen blocks once, where that is faster. A resumed training keeps the decision."""
    state, engine = run.state, run.engine
    undecided = state.caches_frozen_states is None
    if undecided:
        state.caches_frozen_states = engine.caching_pays(run.pairs)
    if state.caches_frozen_states:
        tokens = engine.cache_frozen_states(run.pairs)
        state.counts = state.counts.with_frozen(tokens if undecided else 0)


def _all_steps(run: Run, quiet: bool) -> str:
    """Train to the last step; returns why it diverged, or nothing. Raises BrokenVectors where an evaluation says it."""
    state, folder, ranks = run.state, run.folder, run.engine.ranks
    saved = reported = begun = time.monotonic()
    seconds_before = state.seconds
    with Progress(run.trial.model, run.trial.steps, "steps", done=state.step) as progress:
        while state.step < run.trial.steps and not _stopped(run):
            loss = _step(run)
            state.seconds = seconds_before + time.monotonic() - begun
            if not math.isfinite(loss):
                return f"training loss is {loss} at step {state.step} of {run.trial.steps}"
            _note(run, loss)
            stop = ranks.broadcast_from_zero(run.engine.options.stop_requested())
            if folder and (stop or ranks.broadcast_from_zero(time.monotonic() - saved > CHECKPOINT_SECONDS)):
                _save(run, folder / CHECKPOINT)
                saved = time.monotonic()
            if stop:
                raise SystemExit(TERMINATED)
            if folder and ranks.rank == 0 and time.monotonic() - reported > REPORT_SECONDS:
                report(folder, run.steps_before + state.step, loss)
                reported = time.monotonic()
            if not quiet:
                progress.advance(note=f"loss {loss:.3f}")
        _stopped(run)
    return ""


def _stopped(run: Run) -> bool:
    """Evaluate where it is time to; returns whether the training ends here."""
    early_stopping, state, engine = run.early_stopping, run.state, run.engine
    if early_stopping and early_stopping.due(state.step):
        tokens = 4 * engine.micro_tokens
        reason = early_stopping.evaluate(state.step, engine.encoder, tokens, run.trial.key, engine.ranks)
        state.stopped = reason if state.step < run.trial.steps else ""
        if run.log:
            run.log(state.step, state.evaluations[-1])
    return bool(state.stopped)


def _step(run: Run) -> float:
    """Take one optimiser step; returns its training loss."""
    training, step, engine = run.trial.training, run.state.step, run.engine
    factor = rate_factor(
        training.schedule, step, run.trial.steps, training.warmup, training.cooldown, training.warmup_steps
    )
    chosen = draw(run.pairs, training, step, run.trial.seed)
    batch = make_batch(run.pairs, chosen, training.hard_negatives, engine.device)
    cost = engine.step(batch, run.trial.lr * factor)
    run.state.counts = run.state.counts.after(batch, cost)
    run.state.micro_tokens = engine.micro_tokens
    return cost.loss


def _note(run: Run, loss: float) -> None:
    """Put the step that was taken into the curve, the log, and what trials share."""
    counts = run.state.counts
    run.state.curve.append((counts.step, counts.tokens, loss))
    if run.log:
        run.log(counts.step, {"loss": loss, "tokens": counts.tokens})
    if run.trunk:
        _leave_shared_state(run, run.trunk)


def _save(run: Run, path: Path) -> None:
    checkpoint.save(path, run.engine.encoder, run.engine.optimizer, run.state.to_record(), run.engine.ranks)


def _gathered(run: Run) -> Encoder:
    """Returns the encoder; on rank 0 of sharded ranks one that is whole and lies on the CPU."""
    ranks, encoder = run.engine.ranks, run.engine.encoder
    if not ranks.sharded:
        return encoder
    plain = build_encoder(run.trial, encoder.device, torch.device("cpu")) if ranks.rank == 0 else None
    gather_into(plain, encoder)
    return plain or encoder
