"""What a merged folder says of itself: its parents, what each counts for, and the probe set of a search."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.export.model_card import base_of, licence_words, metadata, snippet
from sweeps.experiment.model_hash import model_hash
from sweeps.support.json_io import read_json

RECORD = "merge.json"
CARD = "README.md"


def merge_record(
    method: str, base: Path, models: Sequence[Path], factors: Sequence[float] | None, **more: Any
) -> dict[str, Any]:
    """Returns the record of a merge. factors: of the models' task vectors, None for a rule that has none.

    more: settings of the rule or of the search, its probe set among them; what is None is left out.
    """
    parents = [
        {"model": model.name, "path": str(model.resolve()), "hash": model_hash(str(model)), **_tuned_on(model)}
        | ({} if factors is None else {"factor": factor})
        for model, factor in zip(models, factors or [0.0] * len(models), strict=True)
    ]
    known = {name: value for name, value in more.items() if value is not None}
    return {"method": method, "base": str(base), "parents": parents, **known}


def _tuned_on(model: Path) -> dict[str, str]:
    """Returns what a parent was trained on, where its observation says so."""
    try:
        training = read_json(model / "observation.json")["trial"]["training"]
        return {"data": str(training["data"]), "data_hash": str(training["data_hash"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def merge_files(record: Mapping[str, Any], base: str) -> dict[str, str]:
    """Returns the files that tell of a merge, by name. base: the name of the base model."""
    return {RECORD: json.dumps(record, indent=2) + "\n", CARD: _card(record, base)}


def _card(record: Mapping[str, Any], name: str) -> str:
    base, parents = base_of(name), record["parents"]
    lines = ["| parent | task vector times | trained on | hash |", "|---|---|---|---|"]
    for parent in parents:
        factor = f"{parent['factor']:.4g}" if "factor" in parent else "by sign and size"
        lines.append(f"| {parent['model']} | {factor} | {parent.get('data', 'not known')} | {parent['hash']} |")
    settings = {
        key: value for key, value in record.items() if key not in ("method", "base", "parents") and value is not None
    }
    parts = [
        metadata(base, ["merge", record["method"]]),
        f"# {' and '.join(parent['model'] for parent in parents)}, merged by {record['method']}",
        licence_words(base, name) + " A merge is bound by the licences of all its parents.",
        snippet(),
        "## Parents\n\n" + "\n".join(lines),
        *(
            ["## Settings\n\n" + "\n".join(f"- {key}: {_said(value)}" for key, value in settings.items())]
            * bool(settings)
        ),
        f"The whole record is in {RECORD}.",
    ]
    return "\n\n".join(parts) + "\n"


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_said, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
