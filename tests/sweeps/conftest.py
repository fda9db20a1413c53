"""What the tests of sweeps share: stores of toy sweeps in folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.toy_stores import fill
from support.toy_sweeps import SWEEP, toy_main
from sweeps.store.folder import FolderStore
from sweeps.store.identity import mark
from sweeps.trial import Trial

pytest.register_assert_rewrite("support.store_truths")  # it holds tests


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory) -> Path:
    """A folder with toy.toml and its finished sweep, results/toy; nobody changes it."""
    folder, before = tmp_path_factory.mktemp("finished"), Path.cwd()
    os.chdir(folder)
    try:
        Path("toy.toml").write_text(SWEEP)
        assert toy_main(["run", "toy.toml"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def finished(finished_once, tmp_path, monkeypatch) -> Path:
    """The working folder, with toy.toml and results/toy as after `sweep run toy.toml`."""
    monkeypatch.chdir(shutil.copytree(finished_once, tmp_path, dirs_exist_ok=True))
    mark(Path("results/toy"), Path("toy.toml"))
    return tmp_path


@pytest.fixture
def new_store(tmp_path):
    """Makes the store of a sweep of so many seeds, all its trials wanted; see support.toy_stores.fill."""

    def make(seeds: int, closed: bool = True, **options) -> tuple[FolderStore, list[Trial]]:
        store = FolderStore(tmp_path / "sweep")
        return store, fill(store, seeds, closed, **options)

    return make
