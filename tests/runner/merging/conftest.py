"""Two models for all tests of merging."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from support.tuned_models import tuned


@pytest.fixture(scope="package")
def tasks(training, pairs_file, tmp_path_factory):
    """Two tasks that pull apart: documents as they are, and queries and documents written backwards."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    turned = [{**row, "query": row["query"][::-1], "positive": row["positive"][::-1]} for row in rows]
    for name, content in (("plain", rows), ("turned", turned), ("both", rows[::2] + turned[1::2])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    models = [
        tuned(replace(training, data=str(folder / f"{name}.jsonl")), folder / name, steps=40)
        for name in ("plain", "turned")
    ]
    return folder, models
