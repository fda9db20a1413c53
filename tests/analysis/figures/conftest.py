"""What the tests of the figures share: a fitted sweep of three methods, and pictures that are quick to write."""

from __future__ import annotations

import pytest

from analysis.figures import files
from analysis.tables.table import Table
from planner.law_book import LawBook
from support.pictures import METHODS, fitted, grid


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """No test looks at the pixels of a PNG, and writing those of print takes most of the time."""
    monkeypatch.setattr(files, "DPI", 40)


@pytest.fixture(scope="session")
def swept(tmp_path_factory) -> tuple[Table, LawBook]:
    return fitted(tmp_path_factory.mktemp("sweep"), grid(METHODS[:3]), profile="alpha,beta")
