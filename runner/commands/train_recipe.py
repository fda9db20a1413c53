"""A recipe trained and its model written: what `embed train` and `runner.train` share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from runner.commands import train_folder
from runner.data.pairs import Prepared, fitting_pools, prepare
from runner.export.loaded import must_be_writable
from runner.export.sentence_transformers import export, must_have_adapter
from runner.libraries import quiet_libraries
from runner.trainer import train_encoder
from runner.training.device import device_of
from runner.training.distributed import ALONE, Ranks
from runner.training.engine import DEFAULTS, Options
from runner.training.trackers import tracked
from sweeps.experiment.prediction import Predicted, Prediction, read_prediction
from sweeps.experiment.recipe_file import read_recipe
from sweeps.models import find_model
from sweeps.support.atomic import write_text
from sweeps.support.checksum import sealed
from sweeps.support.paths import relative_to
from sweeps.support.progress import waiting
from sweeps.trial import Observation, Trial

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class HasTrial(Protocol):
    """What holds a trial, such as a Plan or a Recipe of the planner."""

    @property
    def trial(self) -> Trial:
        """What to train."""


def train(
    recipe: Path | str | Trial | HasTrial,
    out: Path | str | None = None,
    *,
    on: str | None = None,
    options: Options = DEFAULTS,
    adapter: bool = False,
) -> SentenceTransformer:
    """Train a recipe; returns the model, which `encode` and `save_pretrained` work on.

    recipe: its TOML file, a Trial, or what holds one: `planner.plan(...)`. out: folder that the model and its record,
    observation.json, are written to; a training that was interrupted goes on there. None keeps no file. on: one of
    runner.training.device.DEVICES, by default the GPU where there is one. options: how it is run, which changes no
    result beyond rounding. adapter: the adapter alone is written, not the merged model. Raises ValueError for what
    cannot be trained, and RuntimeError with the reason where the training diverged or failed.
    """
    quiet_libraries()
    device_of(on)  # what is wrong with it is told before anything is read
    from sentence_transformers import SentenceTransformer

    if out is None:
        with TemporaryDirectory() as folder:
            train(recipe, Path(folder) / "model", on=on, options=options, adapter=adapter)
            return SentenceTransformer(str(Path(folder) / "model"), device=device_of(on).type)
    if isinstance(recipe, (Path, str)):
        file = Path(recipe)
        with relative_to(file):
            done = train_into(
                Path(out), read_recipe(file), on=on, options=options, adapter=adapter, prediction=read_prediction(file)
            )
    else:
        trial = recipe if isinstance(recipe, Trial) else recipe.trial
        done = train_into(Path(out), trial, on=on, options=options, adapter=adapter)
    assert done  # alone, this is rank 0
    observation, _ = done
    if observation.status != "done":
        raise RuntimeError(f"{observation.status}: {observation.reason}")
    return SentenceTransformer(str(out), device=device_of(on).type)


def train_into(
    out: Path,
    trial: Trial,
    ranks: Ranks = ALONE,
    *,
    on: str | None = None,
    options: Options = DEFAULTS,
    adapter: bool = False,
    prediction: Prediction | None = None,
    track: str | None = None,
) -> tuple[Observation, Sequence[Predicted]] | None:
    """Train a trial and write its model to `out`; returns its observation, and what was predicted beside what was
    reached. None on every rank but 0.

    track: where every step is logged. The other arguments are those of `train`. Raises ValueError.
    """
    if adapter:
        must_have_adapter(trial)
    source = find_model(trial.model).source
    must_be_writable(source, trial.training)
    if ranks.rank == 0:
        train_folder.begin(out, trial)
    with waiting(f"reading {trial.training.data}"):
        prepared = ranks.run_on_zero_first(lambda: prepare(trial.training, source, judged=False))
    trial, notes = _fitted(trial, prepared)
    if ranks.rank == 0:
        for note in (*prepared.notes, *notes):
            print(f"embed: {note}", file=sys.stderr)
    with tracked(track if ranks.rank == 0 else None, trial, out) as log:
        observation, encoder = train_encoder(trial, out, on, False, options, ranks, log)
    if ranks.rank:
        return None
    reached = prediction.beside(observation) if prediction and observation.status == "done" else ()
    with train_folder.filling(out) as model, waiting("writing the model"):
        if observation.status == "done":
            export(encoder, observation, model, adapter, reached)
        write_text(model / "observation.json", sealed(observation.to_json(), indent=2) + "\n")
    train_folder.tidy_up(out)
    return observation, reached


def _fitted(trial: Trial, prepared: Prepared) -> tuple[Trial, list[str]]:
    """Returns the trial with the hash of its data and with pools that their held-out pairs fill, and what to say of
    that."""
    asked = trial.training
    size, pools = fitting_pools(prepared.pairs, asked)
    fitted = replace(asked, data_hash=prepared.data_hash, pool_size=size, pools=pools)
    if (size, pools) == (asked.pool_size, asked.pools):
        return replace(trial, training=fitted), []
    there, wanted = f"{pools} x {size} pairs", f"{asked.pools} x {asked.pool_size}"
    note = f"the held-out loss is measured in {there}, not {wanted}: {len(prepared.pairs.held_out):,} are held out"
    return replace(trial, training=fitted), [note]
