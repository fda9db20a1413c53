"""The records that everything is made of say what each of their fields is: unit, range, what it changes."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDS = [
    ("sweeps/trial.py", "Training"),
    ("sweeps/trial.py", "Trial"),
    ("sweeps/trial.py", "Observation"),
    ("sweeps/machine/cluster_file.py", "ResourceClass"),
    ("sweeps/machine/cluster_file.py", "ClusterProfile"),
    ("sweeps/machine/measured.py", "Reached"),
    ("sweeps/machine/measured.py", "MachineProfile"),
    ("sweeps/models.py", "Architecture"),
    ("sweeps/models.py", "ModelSpec"),
    ("sweeps/experiment/sweep.py", "Sweep"),
    ("sweeps/experiment/sources.py", "Data"),
    ("sweeps/experiment/grid.py", "Cell"),
    ("sweeps/search/learning_rates.py", "RateSearch"),
    ("sweeps/running/display.py", "Snapshot"),
    ("sweeps/running/dry_run.py", "Throughput"),
    ("planner/answer.py", "Recipe"),
    ("runner/bench.py", "BenchSettings"),
    ("runner/merging/per_source.py", "SourceModel"),
    ("runner/merging/rules.py", "Rule"),
    ("runner/merging/self_positioning.py", "Position"),
    ("runner/merging/self_positioning.py", "PositionSearch"),
    ("runner/merging/weights.py", "Weights"),
    ("runner/training/engine.py", "Options"),
    ("runner/training/grad_cache.py", "Batch"),
    ("runner/training/outcome.py", "Outcome"),
    ("runner/training/run.py", "Counts"),
    ("runner/training/run.py", "Run"),
    ("runner/training/run.py", "TrainingState"),
]


def unexplained(body: list[ast.stmt]) -> list[str]:
    """Fields of a class without a sentence under them."""
    names = []
    for statement, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            told = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and below.value.value
            if not (isinstance(told, str) and told.strip().endswith(".")):
                names.append(statement.target.id)
    return names


@pytest.mark.parametrize(("file", "name"), RECORDS, ids=[name for _, name in RECORDS])
def test_every_field_is_explained(file, name):
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    (record,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    assert sum(isinstance(statement, ast.AnnAssign) for statement in record.body) > 3
    assert unexplained(record.body) == []


def test_a_field_without_a_sentence_would_be_seen():
    lines = ['a: int = 1\n"""Of a."""', "b: str", 'c: str\n"""no sentence"""', "d: float\n3"]
    assert unexplained(ast.parse("\n".join(lines)).body) == ["b", "c", "d"]
