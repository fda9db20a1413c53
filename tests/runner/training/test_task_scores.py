"""Tasks scored in a trial: the scores are those of the exported model, and the first task decides when to stop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runner.cli import main
from runner.evaluation.evaluate import evaluate
from runner.export.sentence_transformers import export
from runner.trainer import train, train_encoder
from support.retrieval_sets import write_retrieval
from sweeps.methods import Full, LoRA
from sweeps.trial import Trial


@pytest.fixture
def tasks(pairs_file, tmp_path) -> list[str]:
    """Similarity and retrieval over real texts: a query is as like a document as they have words in common."""
    rows = [json.loads(line) for line in pairs_file.read_text().splitlines()][:60]
    sts = tmp_path / "alike.jsonl"
    with sts.open("w") as file:
        for i, row in enumerate(rows):
            other = rows[(i * 7) % len(rows)]["positive"]
            score = len(set(row["query"].split()) & set(other.split()))
            file.write(json.dumps({"sentence1": row["query"], "sentence2": other, "score": score}) + "\n")
    corpus = [{"_id": f"d{i}", "text": row["positive"]} for i, row in enumerate(rows)]
    queries = [{"_id": f"q{i}", "text": row["query"]} for i, row in enumerate(rows)]
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(len(rows)))
    folder = write_retrieval(tmp_path / "mine", corpus, queries, "query-id\tcorpus-id\tscore\n" + judged)
    return [f"retrieval:{folder}", f"sts:{sts}"]


@pytest.mark.parametrize("more", [{}, {"pooling": "last", "query_prompt": "find: ", "document_prompt": "code: "}])
def test_a_trial_scores_what_its_exported_model_scores(training, tasks, tmp_path, more):
    scored = replace(training, tasks=tasks, **more)
    observation, encoder = train_encoder(Trial("nano-25k", LoRA(4), scored, lr=1e-2, steps=8))
    export(encoder, observation, tmp_path / "model")
    found = evaluate(str(tmp_path / "model"), tasks)
    known = [score.values[score.main] for score in found]
    assert list(observation.scores) == ["mine-test ndcg@10", "alike spearman"]
    assert list(observation.scores.values()) == pytest.approx(known, abs=1e-4)
    assert 0 < known[0] <= 1


def test_scoring_changes_no_loss(training, tasks):
    trial = Trial("nano-25k", Full(), training, lr=1e-2, steps=8)
    scored = replace(trial, training=replace(training, tasks=tasks, evaluate_every=4))
    assert train(scored).loss == train(trial).loss and scored.key != trial.key


def test_the_first_task_of_ones_own_ends_a_training_and_no_further_pool_is_needed(training, tasks, monkeypatch):
    """On the user's own queries, corpus and judgements: a score that rises, then falls."""
    falling = iter([0.1, 0.5, 0.3, 0.2, 0.1])
    from runner.training import early_stopping

    def made_up(*_, **__):
        return {"mine-test ndcg@10": next(falling), "alike spearman": 0.0}

    monkeypatch.setattr(early_stopping, "task_scores", made_up)
    watched = replace(training, tasks=tasks, evaluate_every=5, patience=2, pools=10**6)  # all that is held out
    seen = train(Trial("nano-25k", Full(), watched, lr=1e-2, steps=40))
    assert seen.stopped == "no better mine-test ndcg@10 in 2 evaluations since step 5"
    assert [each["mine-test ndcg@10"] for each in seen.evaluations] == [0.1, 0.5, 0.3, 0.2]


def test_a_task_of_mteb_is_scored_while_training(training, tasks, monkeypatch):
    pytest.importorskip("mteb")
    import torch

    from runner.tasks.kinds import _for_mteb

    class Model:
        def encode(self, texts):
            return torch.ones(len(texts), 2)

        encode_query = encode_document = encode

    assert _for_mteb(Model()).encode([{"text": ["a", "b"]}], task_metadata=None).shape == (2, 2)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["sideways:x"], "training.tasks: task 'sideways:x' is not KIND:WHERE; known kinds: sts, retrieval"),
        (["retrieval:"], "training.tasks: task 'retrieval:' is incomplete"),
        (["code-search:x"], "takes no file"),
        (["sts:a/x.jsonl#test", "sts:b/x.jsonl.gz#test"], "training.tasks names 'x-test spearman' twice"),
    ],
)
def test_a_task_that_cannot_be_is_refused_before_anything_is_read(training, names, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        replace(training, tasks=names)


SWEEP = """
models = ["nano-25k"]
budgets = [1e11]
tasks = ["retrieval:{folder}"]

[training]
data = "{data}"
batch_size = 16
context = 48
pool_size = 32
pools = 1

[[methods]]
name = "full"
lr = 1e-2
"""


def test_a_task_that_is_not_there_is_said_before_a_sweep_begins(training, tmp_path, capsys):
    from sweeps.experiment.sweep_file import read_sweep

    file = tmp_path / "sweep.toml"
    file.write_text(SWEEP.format(folder=tmp_path / "nosuch", data=Path(training.data)))
    assert read_sweep(file).training.tasks == (f"retrieval:{tmp_path / 'nosuch'}",)
    assert main(["prepare", str(file)]) == 2
    assert "nosuch: no such folder" in capsys.readouterr().err
    file.write_text(file.read_text().replace("[training]", '[training]\ntasks = ["code-search"]'))
    with pytest.raises(ValueError, match=r"tasks and training\.tasks are the same key"):
        read_sweep(file)
