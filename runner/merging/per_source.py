"""A trial with `training.merge`: a model is trained on each source, and what is judged is their merge.

The parts are trained by runner/training/train.py, one after the other, on the batches that joint training would
draw, and kept as files until no trial of the sweep needs them. Self Positioning searches with training pairs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runner.data.pairs import Pairs
from runner.export.sentence_transformers import whole_backbone
from runner.merging.rules import Rule, combine, merged_tensors
from runner.merging.self_positioning import Found, Search, Space, position
from runner.merging.weights import Weights, open_file, weights_of
from runner.model.encoder import Encoder, make_encoder
from runner.training import checkpoint, train
from sweeps.flops import Work, exact_flops, paper_flops
from sweeps.methods import Full
from sweeps.models import find_model
from sweeps.store.folder import CHECKPOINT, parts_folder
from sweeps.trial import PROBED_PAIRS, SEARCHED, Observation, Training, Trial

# Of the sum of task vectors, where nothing tells a better one: Ilharco et al. 2023, as Yadav et al. 2023, section 5.
SCALES = {"task-arithmetic": 0.4}
PROBED = 1000  # training pairs of each source, at most, that the search draws from
KEPT_STEPS = 50  # of the search's path, in the record


@dataclass(frozen=True)
class Part:
    """A model of one source. seen: what training it left; path: its weights; reused: another trial had trained it."""

    seen: Observation
    path: Path
    reused: bool


def train_parts(run: train.Run, folder: Path | None, quiet: bool) -> str:
    """Train what is missing of the parts and let the run's encoder be their merge; why there is none, or nothing."""
    trial, made = run.trial, []
    with _kept_in(folder) as place:
        for source, part in enumerate(trial.parts):
            made.append(_part(run, source, part, folder, place, quiet))
            if made[-1].seen.status != "done":
                _take(run, made)
                return f"the model of {part.training.data}: {made[-1].seen.reason}"
        _take(run, made)
        _merge(run, [open_file(part.path) for part in made], quiet)
    return ""


@contextmanager
def _kept_in(folder: Path | None) -> Iterator[Path]:
    """Where the parts are kept: beside the trial, or for as long as this takes."""
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    else:
        yield parts_folder(folder)


def _part(run: train.Run, source: int, trial: Trial, folder: Path | None, place: Path, quiet: bool) -> Part:
    path, begun = place / f"{trial.key}.safetensors", time.monotonic()
    missing = not path.exists()
    if missing:
        _drop_stale(run.trial, trial, folder)
        share = train.Share(run.pairs.of(source), sum(part.steps for part in run.trial.parts[:source]))
        on = run.engine.device.type
        seen, encoder = train.train_encoder(trial, folder, on, quiet, run.engine.options, share=share)
        if seen.status != "done":
            return Part(seen, path, reused=False)
        tensors = dict(whole_backbone(encoder, trial).named_parameters())
        checkpoint.write_tensors(
            path,
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            {"by": run.trial.key, "observation": seen.to_json()},
        )
    record = checkpoint.read_record(path)
    seen = Observation.from_json(record["observation"])
    run.elsewhere += seen.total_seconds - (time.monotonic() - begun)
    return Part(seen, path, reused=not missing and record["by"] != run.trial.key)


def _drop_stale(whole: Trial, part: Trial, folder: Path | None) -> None:
    """The checkpoint of a part that is trained by now is no use to the next."""
    path = folder and folder / CHECKPOINT
    if path and checkpoint.key_of(path) in {other.key for other in whole.parts if other.key != part.key}:
        path.unlink()


def _take(run: train.Run, parts: list[Part]) -> None:
    """Let the parts' figures be the run's own. merged: `alone` has the held-out loss of each on its own source."""
    every, curve, steps, tokens = [part.seen for part in parts], [], 0, 0
    for seen in every:
        curve += [(steps + step, tokens + read, loss) for step, read, loss in seen.curve]
        steps, tokens = steps + seen.pairs // seen.trial.training.batch_size, tokens + seen.tokens
    run.record |= {"step": steps, "tokens": tokens, "squares": sum(seen.squares for seen in every)}
    run.record["seconds"] = sum(seen.seconds for seen in every)
    run.known |= {
        "flops": sum(seen.flops for seen in every),
        "paper_flops": sum(seen.paper_flops for seen in every),
        "reused_flops": sum(part.seen.flops for part in parts if part.reused),
        "trainable": every[0].trainable,
        "curve": tuple(curve),
        "merged": {"alone": {seen.trial.training.data: seen.loss for seen in every}},
    }


def _merge(run: train.Run, parts: list[Weights], quiet: bool) -> None:
    """Let the run's encoder be the merge of the parts, and tell how it is made."""
    trial, begun = run.trial, time.monotonic()
    run.engine.encoder = encoder = _whole_encoder(trial, run.engine.device)
    base = weights_of({name: tensor.clone() for name, tensor in encoder.backbone.named_parameters()}, trial.model)
    if trial.training.merge == SEARCHED:
        asked = search_of(trial.training, trial.seed)
        probe, leave = probe_of(run.pairs, asked.batch), run.engine.options.leave
        found = position(Space(base, parts, encoder), probe, asked, quiet, leave)
        factors = torch.tensor(found.factors, dtype=torch.float64)
        told = _tell(run, found, asked)
        _stand(encoder, lambda name: combine(base, parts, factors, name))
    else:
        tensor, given = merged_tensors(base, parts, rule_of(trial.training))
        told = {} if given is None else {"factors": given}
        _stand(encoder, tensor)
    run.record["seconds"] += time.monotonic() - begun
    run.known["merged"] |= told


@torch.no_grad()
def _stand(encoder: Encoder, tensor: Callable[[str], Tensor]) -> None:
    """Give the encoder the weights that `tensor` has by their names."""
    for name, parameter in encoder.backbone.named_parameters():
        parameter.copy_(tensor(name))


def _whole_encoder(trial: Trial, device: torch.device) -> Encoder:
    """The pretrained encoder as a whole, whatever the method adds to it."""
    training, model = trial.training, find_model(trial.model)
    precision, both_ways = training.precision, training.bidirectional
    return make_encoder(model, Full(), training.pooling, device, trial.seed, precision, bidirectional=both_ways)


def rule_of(training: Training) -> Rule:
    """The rule of a trial: each task vector counts as its source does, 1 in the mean."""
    weights = [weight for _, weight in training.sources]
    mean = sum(weights) / len(weights)
    return Rule(training.merge, tuple(weight / mean for weight in weights), SCALES.get(training.merge, 1.0))


def search_of(training: Training, seed: int) -> Search:
    """The search of a trial: with the loss that its parts were trained with."""
    return Search(
        steps=training.search_steps,
        batch=PROBED_PAIRS,
        rate=training.search_rate,
        temperature=training.temperature,
        negatives=training.hard_negatives,
        seed=seed,
    )


def probe_of(pairs: Pairs, batch: int) -> Pairs:
    """As many training pairs of each source, spread over all of it. Raises ValueError when they make no batch."""
    count = min(PROBED, *map(len, pairs.trained))
    if count * len(pairs.trained) < batch:
        raise ValueError(f"a source has {count} pairs to train on; the search wants {batch} of all together")
    chosen = [train[np.linspace(0, len(train) - 1, count).astype(int)] for train in pairs.trained]
    return replace(pairs, train=np.concatenate(chosen))


def _tell(run: train.Run, found: Found, asked: Search) -> dict[str, Any]:
    """The search for `Observation.merged`: its FLOPs, which count as the trial's, tokens, and where it went.

    path: scale, weights and probe loss, of at most about KEPT_STEPS steps.
    """
    work = Work(asked.steps * asked.batch, found.tokens, found.squares, asked.batch)
    flops = exact_flops(run.model, Full(), work)
    run.known["flops"] += flops
    run.known["paper_flops"] += paper_flops(run.model, Full(), work)
    every = max(1, asked.steps // KEPT_STEPS)
    search = {"flops": flops, "weights": found.weights, "scale": found.scale, "tokens": found.tokens}
    return {"factors": found.factors, "search": {**search, "path": found.path[::every]}}
