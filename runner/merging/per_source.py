"""A trial with `training.merge`: a model is trained on each source, and what is judged is their merge.

The models are trained by runner/training/train.py, one after the other, on the batches that joint training would
draw, and kept as files until no trial of the sweep needs them. Self Positioning searches with training pairs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runner.data.pairs import Pairs
from runner.export.sentence_transformers import whole_backbone
from runner.merging.rules import Rule, combine, merged_tensors
from runner.merging.self_positioning import MergedEncoder, Position, PositionSearch, find_position
from runner.merging.weights import Weights, open_file, weights_of
from runner.model.encoder import Encoder, make_encoder
from runner.training import checkpoint
from runner.training.distributed import ALONE, Ranks
from runner.training.engine import DEFAULTS, Options
from runner.training.measure import reset_peak_memory
from runner.training.outcome import judge, measure_start_loss, observe
from runner.training.run import Counts, Run, Share, start
from runner.training.train import train_model
from sweeps.flops import Work, exact_flops, paper_flops
from sweeps.methods import Full
from sweeps.models import ModelSpec, find_model
from sweeps.store.files import CHECKPOINT
from sweeps.store.trunks import parts_folder
from sweeps.trial import PROBED_PAIRS, SEARCHED, Observation, Training, Trial

# Of the sum of task vectors, where nothing tells a better one: Ilharco et al. 2023, as Yadav et al. 2023, section 5.
SCALES = {"task-arithmetic": 0.4}
PROBED = 1000  # training pairs of each source, at most, that the search draws from
KEPT_STEPS = 50  # of the search's path, in the record


@dataclass(frozen=True)
class SourceModel:
    """A model that was trained on one source."""

    observation: Observation
    """What its training left."""
    path: Path
    """The file of its weights; it is not there when the training diverged."""
    reused: bool = False
    """Whether another trial had trained it."""
    seconds_elsewhere: float = 0.0
    """Seconds of its training that were spent before this call, or by another trial."""


def train_and_merge(
    trial: Trial,
    folder: Path | None = None,
    on: str | None = None,
    quiet: bool = True,
    options: Options = DEFAULTS,
    ranks: Ranks = ALONE,
) -> tuple[Observation, Encoder]:
    """Returns the observation of a trial that merges models of its sources, and the merge; see runner/trainer.py."""
    started = time.monotonic()
    reset_peak_memory()
    _check(trial, ranks)
    run = start(trial, folder, on, options, ranks)
    measure_start_loss(run)
    with _kept_in(folder) as place:
        models = _train_models(run, place, quiet)
        known = _take_totals(run, models)
        diverged = _why_diverged(models[-1])
        if not diverged:
            known = _merge(run, [open_file(model.path) for model in models], known, quiet)
    outcome = judge(run, diverged)
    elsewhere = sum(model.seconds_elsewhere for model in models)
    return observe(run, outcome, elsewhere + time.monotonic() - started, **known), run.engine.encoder


def _check(trial: Trial, ranks: Ranks) -> None:
    merge = trial.training.merge
    if trial.method.bits:
        raise ValueError(
            f"training.merge is {merge!r}; {trial.method.name} keeps the backbone in few bits, which cannot be merged"
        )
    if ranks.count > 1:
        raise ValueError(f"training.merge is {merge!r}; such a trial is trained by one process, not {ranks.count}")
    if fewest := [part.training.data for part in trial.parts if part.steps < 1]:
        raise ValueError(f"training.merge is {merge!r}; of {trial.steps} steps {fewest[0]!r} gets none")


@contextmanager
def _kept_in(folder: Path | None) -> Iterator[Path]:
    """Yields where the models are kept: beside the trial, or for as long as this takes."""
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    else:
        yield parts_folder(folder)


def _train_models(run: Run, place: Path, quiet: bool) -> list[SourceModel]:
    """Train what is missing of the models; the last one is the first that diverged, if any did."""
    models: list[SourceModel] = []
    for source, part in enumerate(run.trial.parts):
        models.append(_source_model(run, source, part, place, quiet))
        if _why_diverged(models[-1]):
            break
    return models


def _why_diverged(model: SourceModel) -> str:
    """Returns why there is no merge with this model, or nothing."""
    observation = model.observation
    if observation.status == "done":
        return ""
    return f"the model of {observation.trial.training.data}: {observation.reason}"


def _source_model(run: Run, source: int, part: Trial, place: Path, quiet: bool) -> SourceModel:
    """Returns the model of one source, trained now unless it is there. part: its training, as a trial."""
    path, begun = place / f"{part.key}.safetensors", time.monotonic()
    missing = _missing(path)
    if missing:
        _drop_stale(run, part)
        share = Share(run.pairs.of(source), sum(other.steps for other in run.trial.parts[:source]))
        device = run.engine.device.type
        observation, encoder = train_model(part, run.folder, device, quiet, run.engine.options, share=share)
        if observation.status != "done":
            return SourceModel(observation, path)
        tensors = dict(whole_backbone(encoder, part).named_parameters())
        checkpoint.write_tensors(
            path,
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            {"by": run.trial.key, "observation": observation.to_json()},
        )
    record = checkpoint.read_record(path)
    observation = Observation.from_json(record["observation"])
    reused = not missing and record["by"] != run.trial.key
    return SourceModel(observation, path, reused, observation.total_seconds - (time.monotonic() - begun))


def _missing(path: Path) -> bool:
    """Whether a model has to be trained; one whose file is damaged is set aside, with that said."""
    try:
        Observation.from_json(checkpoint.read_record(path)["observation"])
    except FileNotFoundError:
        return True
    except (ValueError, KeyError) as error:
        print(f"{error}; the model is trained again", file=sys.stderr, flush=True)
        path.unlink()
        return True
    return False


def _drop_stale(run: Run, part: Trial) -> None:
    """Delete the checkpoint of a model that is trained by now: it is of no use to the next."""
    path = run.folder and run.folder / CHECKPOINT
    with suppress(checkpoint.Damaged):  # told when it is to be continued
        if path and checkpoint.key_of(path) in {other.key for other in run.trial.parts if other.key != part.key}:
            path.unlink()


def _take_totals(run: Run, models: Sequence[SourceModel]) -> dict[str, Any]:
    """Let the sums over the models be the run's counts; returns what else its observation tells.

    merged: `alone` has the held-out loss of each model on its own source.
    """
    observations = [model.observation for model in models]
    curve: list[tuple[int, int, float]] = []
    steps = tokens = 0
    for each in observations:
        curve += [(steps + step, tokens + tokens_so_far, loss) for step, tokens_so_far, loss in each.curve]
        steps, tokens = steps + each.pairs // each.trial.training.batch_size, tokens + each.tokens
    run.state.counts = Counts(steps, tokens, sum(each.squares for each in observations))
    run.state.seconds = sum(each.seconds for each in observations)
    return {
        "flops": sum(each.flops for each in observations),
        "paper_flops": sum(each.paper_flops for each in observations),
        "reused_flops": sum(model.observation.flops for model in models if model.reused),
        "trainable": observations[0].trainable,
        "curve": tuple(curve),
        "merged": {"alone": {each.trial.training.data: each.loss for each in observations}},
    }


def _merge(run: Run, models: Sequence[Weights], known: Mapping[str, Any], quiet: bool) -> dict[str, Any]:
    """Let the run's encoder be the merge of the models; returns what is known of it, the search included."""
    trial, begun = run.trial, time.monotonic()
    run.engine.encoder = encoder = _whole_encoder(trial, run.engine.device)
    base = weights_of({name: tensor.clone() for name, tensor in encoder.backbone.named_parameters()}, trial.model)
    if trial.training.merge == SEARCHED:
        known = _search(run, MergedEncoder(base, models, encoder), known, quiet)
    else:
        tensor, factors = merged_tensors(base, models, rule_of(trial.training))
        _set_weights(encoder, tensor)
        known = _with_merged(known, {} if factors is None else {"factors": factors})
    run.state.seconds += time.monotonic() - begun
    return known


def _with_merged(known: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is known, with these facts in `Observation.merged`."""
    return {**known, "merged": {**known["merged"], **facts}}


def _search(run: Run, merged: MergedEncoder, known: Mapping[str, Any], quiet: bool) -> dict[str, Any]:
    """Merge by Self Positioning; returns what is known, with the search: its FLOPs count as the trial's.

    path: scale, weights and probe loss, of at most about KEPT_STEPS steps.
    """
    search = search_of(run.trial.training, run.trial.seed)
    probe, stop_requested = probe_of(run.pairs, search.batch), run.engine.options.stop_requested
    position = find_position(merged, probe, search, quiet, stop_requested)
    factors = torch.tensor(position.factors, dtype=torch.float64)
    _set_weights(merged.encoder, lambda name: combine(merged.base, merged.models, factors, name))
    flops, paper = search_cost(run.model, search, position)
    facts = {"flops": flops, "weights": position.weights, "scale": position.scale, "tokens": position.tokens}
    facts["path"] = position.path[:: max(1, search.steps // KEPT_STEPS)]
    known = {**known, "flops": known["flops"] + flops, "paper_flops": known["paper_flops"] + paper}
    return _with_merged(known, {"factors": position.factors, "search": facts})


def search_cost(model: ModelSpec, search: PositionSearch, position: Position) -> tuple[float, float]:
    """Returns the FLOPs of a search, by the exact and by the paper's count."""
    work = Work(search.steps * search.batch, position.tokens, position.sum_sq_lengths, search.batch)
    return exact_flops(model, Full(), work), paper_flops(model, Full(), work)


@torch.no_grad()
def _set_weights(encoder: Encoder, tensor: Callable[[str], Tensor]) -> None:
    """Give the encoder the weights that `tensor` has by their names."""
    for name, parameter in encoder.backbone.named_parameters():
        parameter.copy_(tensor(name))


def _whole_encoder(trial: Trial, device: torch.device) -> Encoder:
    """Returns the pretrained encoder as a whole, whatever the method adds to it."""
    training, model = trial.training, find_model(trial.model)
    precision, both_ways = training.precision, training.bidirectional
    return make_encoder(model, Full(), training.pooling, device, trial.seed, precision, bidirectional=both_ways)


def rule_of(training: Training) -> Rule:
    """Returns the rule of a trial: each task vector counts as its source does, 1 in the mean."""
    weights = [weight for _, weight in training.sources]
    mean = sum(weights) / len(weights)
    return Rule(training.merge, tuple(weight / mean for weight in weights), SCALES.get(training.merge, 1.0))


def search_of(training: Training, seed: int) -> PositionSearch:
    """Returns the search of a trial: with the loss that its models were trained with."""
    return PositionSearch(
        steps=training.search_steps,
        batch=PROBED_PAIRS,
        rate=training.search_rate,
        temperature=training.temperature,
        negatives=training.hard_negatives,
        seed=seed,
    )


def probe_of(pairs: Pairs, batch: int) -> Pairs:
    """Returns as many training pairs of each source, spread over it. Raises ValueError when they make no batch."""
    count = min(PROBED, *map(len, pairs.trained))
    if count * len(pairs.trained) < batch:
        raise ValueError(f"a source has {count} training pairs; the search needs {batch} of all together")
    chosen = [train[np.linspace(0, len(train) - 1, count).astype(int)] for train in pairs.trained]
    return replace(pairs, train=np.concatenate(chosen))
