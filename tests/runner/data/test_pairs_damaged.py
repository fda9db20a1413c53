"""Caches of readings, mined pairs and tokens that are damaged are made anew, with a word, and give the same."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runner.data.pairs import Pairs, open_prepared, prepare
from support.damage import DAMAGES, damage, restore
from sweeps.machine.measured import cache_folder
from sweeps.models import find_model
from sweeps.trial import Training

SOURCE = find_model("nano-7k").source


@pytest.fixture
def training(training: Training, pairs_file: Path, tmp_path: Path) -> Training:
    """Of few pairs: they are read and tokenised a hundred times."""
    few = pairs_file.read_text(encoding="utf-8").splitlines(keepends=True)[:650]
    (tmp_path / "few.jsonl").write_text("".join(few), encoding="utf-8")
    return replace(training, data=str(tmp_path / "few.jsonl"))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RECIPE_PLANNER_CACHE", str(tmp_path / "cache"))
    return cache_folder()


def content(pairs: Pairs) -> list:
    return [pairs.query[3].tolist(), pairs.train.tolist(), pairs.held_out.tolist(), pairs.groups.tolist()]


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


@pytest.mark.slow
def test_each_file_of_the_cache_damaged_in_each_way_gives_the_same_with_a_word(training, cache, capsys):
    known = prepare(training, SOURCE)
    undisturbed = content(known.pairs)
    named = replace(training, data_hash=known.data_hash)
    made = files(cache)
    assert len(made) >= 12
    for number, path in enumerate(made):
        if path.name.startswith("problems-"):
            continue  # what was wrong with records; tested below
        kept = shutil.copytree(cache, cache.with_name("kept"))
        before = path.read_bytes()
        for seed in range(number, number + 4):
            how = damage(path, seed)
            same = path.is_file() and not path.is_symlink() and path.read_bytes() == before
            capsys.readouterr()
            read = prepare(named, SOURCE).pairs if seed % 2 else open_prepared(named, SOURCE)
            said = capsys.readouterr().err
            assert content(read) == undisturbed, (path.name, how)
            unread = path.name.startswith("read-") and not seed % 2
            gone = how == "gone" or "nowhere" in str(os.path.realpath(path))
            assert "is rebuilt" in said or same or unread or gone or path.name == "content.json", (path.name, how)
        shutil.rmtree(cache)
        shutil.move(kept, cache)


@pytest.mark.parametrize("name", ["problems", "read"])
@pytest.mark.parametrize("how", DAMAGES)
def test_what_a_reading_found_is_read_again(training, cache, capsys, name, how):
    import random

    known = prepare(training, SOURCE)
    (path,) = cache.glob(f"{name}-*.json")
    DAMAGES[how](path, random.Random(1))
    again = prepare(training, SOURCE)
    assert (again.data_hash, again.problems) == (known.data_hash, known.problems)
    assert open_prepared(replace(training, data_hash=known.data_hash), SOURCE).problems == known.pairs.problems


def test_tokens_of_other_ids_under_the_same_sizes_are_made_anew(training, cache, capsys):
    known = prepare(training, SOURCE)
    undisturbed = content(known.pairs)
    (path,) = cache.rglob("query.ids.npy")
    ids = np.load(path)
    np.save(path, ids[::-1].copy())
    assert content(open_prepared(replace(training, data_hash=known.data_hash), SOURCE)) == undisturbed
    assert "query.ids.npy is not what was written" in capsys.readouterr().err


def test_a_restored_file_is_what_it_was(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    for how in DAMAGES.values():
        import random

        how(path, random.Random(0))
        restore(path, b"x")
        assert path.read_bytes() == b"x"
