"""Relative paths hold beside the file that names them."""

from __future__ import annotations

import json
import os

import pytest

from sweeps.support.paths import FOLDER, MARKER, folder_of, located, named_in, relative_to


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The current folder, beside a project with a sweep file."""
    for name in ("project", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_a_path_is_looked_for_beside_the_file_then_here(elsewhere):
    project = elsewhere.parent / "project"
    (project / "pairs.jsonl").touch()
    for name in ("pairs.jsonl", "mine.jsonl"):
        (elsewhere / name).touch()
    with relative_to(project / "sweep.toml"):
        assert located("pairs.jsonl") == project / "pairs.jsonl"
        assert located("mine.jsonl").resolve() == elsewhere / "mine.jsonl"
        assert located(str(elsewhere / "pairs.jsonl")) == elsewhere / "pairs.jsonl"
        assert not located("none.jsonl").exists()
    assert located("pairs.jsonl").resolve() == elsewhere / "pairs.jsonl"


def test_the_copy_of_a_sweep_file_stands_for_the_file(elsewhere):
    copy = elsewhere.parent / "project" / "results" / "mine"
    copy.mkdir(parents=True)
    (copy / "observations.jsonl").touch()
    (elsewhere.parent / "project" / "pairs.jsonl").touch()
    with relative_to(copy / "sweep.toml"):
        assert located("pairs.jsonl") == elsewhere.parent / "project" / "pairs.jsonl"


def test_the_copy_in_any_folder_stands_for_the_file_that_was_run(elsewhere):
    project = elsewhere.parent / "project"
    (project / "pairs.jsonl").touch()
    (elsewhere / "out").mkdir()
    (elsewhere / "out" / "observations.jsonl").touch()
    copy = elsewhere / "out" / "sweep.toml"
    assert folder_of(copy) == elsewhere / "out"
    (elsewhere / "out" / MARKER).write_text(json.dumps({"sweep": "1", "file": str(project / "mine.toml")}))
    assert folder_of(copy) == project
    for other in ("", "mine.toml", str(elsewhere / "gone" / "mine.toml"), 3, None):
        (elsewhere / "out" / MARKER).write_text(json.dumps({"sweep": "1", "file": other}))
        assert folder_of(copy) == elsewhere / "out"


def test_what_was_set_before_is_set_again(elsewhere, monkeypatch):
    monkeypatch.setenv(FOLDER, "/as/it/was")
    with pytest.raises(KeyError), relative_to(elsewhere / "sweep.toml"):
        raise KeyError
    assert os.environ[FOLDER] == "/as/it/was"


@pytest.mark.parametrize("end", ["", "?query=Frage", "#train"])
def test_a_file_elsewhere_finds_what_lies_here(elsewhere, end):
    (elsewhere / "pairs.jsonl").touch()
    file = elsewhere.parent / "project" / "recipe.toml"
    name = named_in(file, f"pairs.jsonl{end}")
    assert name == f"../elsewhere/pairs.jsonl{end}"
    with relative_to(file):
        assert located(name.removesuffix(end)).resolve() == elsewhere / "pairs.jsonl"
    assert named_in(elsewhere / "recipe.toml", f"pairs.jsonl{end}") == f"pairs.jsonl{end}"


@pytest.mark.parametrize("name", ["python-env", "hf:owner/name#subset:split", "nosuch.jsonl", "nano-7k"])
def test_what_is_no_path_keeps_its_name(elsewhere, name):
    assert named_in(elsewhere.parent / "project" / "recipe.toml", name) == name


def test_an_absolute_path_is_kept(elsewhere):
    (elsewhere / "pairs.jsonl").touch()
    assert named_in(elsewhere.parent / "recipe.toml", f"{elsewhere}/pairs.jsonl") == f"{elsewhere}/pairs.jsonl"


def test_a_name_that_was_written_for_another_folder_is_looked_for_there_first(elsewhere):
    project = elsewhere.parent / "project"
    for path in (project / "pairs.jsonl", elsewhere / "pairs.jsonl", elsewhere / "mine.jsonl"):
        path.touch()
    assert named_in(elsewhere / "recipe.toml", "pairs.jsonl", project) == "../project/pairs.jsonl"
    assert named_in(project / "recipe.toml", "pairs.jsonl", project) == "pairs.jsonl"
    assert named_in(project / "recipe.toml", "mine.jsonl", project) == "../elsewhere/mine.jsonl"
    assert named_in(project / "recipe.toml", "python-env", project) == "python-env"
