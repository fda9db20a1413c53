"""What the tests of sweeps share: stores of toy sweeps in folders."""

from __future__ import annotations

import pytest

from support.toy_stores import fill
from sweeps.store.folder import FolderStore
from sweeps.trial import Trial

pytest.register_assert_rewrite("support.store_truths")  # it holds tests


@pytest.fixture
def new_store(tmp_path):
    """Makes the store of a sweep of so many seeds, all its trials wanted; see support.toy_stores.fill."""

    def make(seeds: int, closed: bool = True, **options) -> tuple[FolderStore, list[Trial]]:
        store = FolderStore(tmp_path / "sweep")
        return store, fill(store, seeds, closed, **options)

    return make
