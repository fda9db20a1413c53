"""Opening a sweep: what cannot be is said before anything takes long."""

from __future__ import annotations

import sys

import pytest

from support.toy_sweeps import SWEEP
from sweeps.commands import conduct


def test_a_store_that_cannot_be_opened_is_said_before_the_data_are_prepared(tmp_path, monkeypatch):
    (tmp_path / "toy.toml").write_text(SWEEP)
    monkeypatch.setitem(sys.modules, "obstore", None)  # as where it is not installed
    monkeypatch.setattr(conduct, "prepare", lambda file: pytest.fail("the data were prepared"))
    with pytest.raises(ValueError, match=r"obstore is not installed; pip install 'recipe-planner\[s3\]'"):
        conduct.opened(tmp_path / "toy.toml", tmp_path / "toy", url="s3://bucket/prefix")
