"""What the tests of the dashboard and of its study share: a sweep of which some trials failed."""

from __future__ import annotations

import pytest

from support.sweep_process import partly_failed
from sweeps.store.folder import FolderStore


@pytest.fixture
def store(tmp_path, monkeypatch) -> FolderStore:
    monkeypatch.chdir(tmp_path)
    return partly_failed()
