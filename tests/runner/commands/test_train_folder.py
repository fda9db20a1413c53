"""`embed train --out`: nothing of somebody else's is touched, and a model is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.cli import main
from runner.commands import train_folder
from sweeps.experiment.recipe_file import write_recipe
from sweeps.methods import Full
from sweeps.store.files import CHECKPOINT
from sweeps.trial import Training, Trial

TRIAL = Trial("nano-7k", Full(), Training(), lr=1e-3, steps=10)


def fill(out: Path) -> None:
    """Leave what a model folder holds."""
    with train_folder.filling(out) as model:
        (model / "1_Pooling").mkdir()
        for name in ("README.md", "config.json", "model.safetensors", "observation.json", "1_Pooling/config.json"):
            (model / name).write_text("new")


def test_a_project_is_refused_and_stays_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    for name in ("README.md", "parts/0123456789abcdef.safetensors"):
        Path(name).write_text("mine")
    write_recipe(Path("recipe.toml"), TRIAL, {})
    assert main(["train", "recipe.toml", "--out", ".", "--on", "cpu"]) == 2
    assert ".: is not empty and holds no training to continue" in capsys.readouterr().err
    assert Path("README.md").read_text() == Path("parts/0123456789abcdef.safetensors").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "parts", "recipe.toml"]


def test_the_training_of_another_recipe_is_refused(tmp_path):
    train_folder.begin(tmp_path / "model", TRIAL)
    train_folder.begin(tmp_path / "model", TRIAL)  # its own goes on
    with pytest.raises(ValueError, match="training of another recipe"):
        train_folder.begin(tmp_path / "model", Trial("nano-7k", Full(), Training(), lr=2e-3, steps=10))


def test_one_that_was_killed_at_its_very_beginning_begins(tmp_path):
    (tmp_path / f".{train_folder.MARKER}.0123456789abcdef.tmp").write_text('{"k')
    train_folder.begin(tmp_path, TRIAL)
    (tmp_path / train_folder.MARKER).unlink()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        train_folder.begin(tmp_path, TRIAL)


@pytest.mark.parametrize("at", range(5))
def test_one_that_is_ended_while_it_writes_its_model_goes_on(tmp_path, monkeypatch, at):
    """It has no config.json, which would make it a model, and still all that a training goes on from."""
    out, replace, done = tmp_path / "model", os.replace, []

    def ended(source: Path, target: Path) -> None:
        if str(tmp_path / "model" / ".filling") in str(source):
            if len(done) == at:
                raise KeyboardInterrupt
            done.append(target)
        replace(source, target)

    train_folder.begin(out, TRIAL)
    (out / CHECKPOINT).write_text("a state")
    monkeypatch.setattr(os, "replace", ended)
    with pytest.raises(KeyboardInterrupt):
        fill(out)
    monkeypatch.undo()
    assert not (out / "config.json").exists() and (out / CHECKPOINT).exists() and len(done) == at
    train_folder.begin(out, TRIAL)
    fill(out)
    train_folder.tidy_up(out)
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == ["1_Pooling/config.json", "README.md", "config.json", "model.safetensors", "observation.json"]


def test_one_that_was_ended_after_its_model_is_tidied_up(tmp_path):
    out = tmp_path / "model"
    train_folder.begin(out, TRIAL)
    (out / CHECKPOINT).write_text("a state")
    fill(out)
    with pytest.raises(ValueError, match="already holds a model"):
        train_folder.begin(out, TRIAL)
    assert not (out / CHECKPOINT).exists() and not (out / train_folder.MARKER).exists()


def test_what_else_lies_beside_the_models_of_sources_stays(tmp_path):
    out = tmp_path / "model"
    train_folder.begin(out, TRIAL)
    (out / "parts").mkdir()
    for name in ("0123456789abcdef.safetensors", "notes.txt"):
        (out / "parts" / name).write_text("it")
    train_folder.tidy_up(out)
    assert [path.name for path in (out / "parts").iterdir()] == ["notes.txt"]
