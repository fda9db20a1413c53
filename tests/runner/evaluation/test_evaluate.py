"""Scores of whole models, as a user asks for them; on the shared evaluation sets where those are at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runner.cli import main
from runner.evaluation.evaluate import evaluate, load_model
from runner.export.sentence_transformers import export
from runner.tasks.kinds import score_mteb
from runner.trainer import train_encoder
from support.retrieval_sets import PAIRS, lines, write_retrieval
from sweeps.data.readers import open_source
from sweeps.methods import LoRA
from sweeps.trial import Trial

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared evaluation sets are not here")


@pytest.fixture(scope="module")
def model(training, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    observation, encoder = train_encoder(Trial("nano-25k", LoRA(4), replace(training, score=True), lr=1e-2, steps=10))
    export(encoder, observation, folder)
    return str(folder)


@pytest.fixture
def sets(tmp_path) -> Path:
    (tmp_path / "sts.jsonl").write_text(lines(PAIRS))
    write_retrieval(tmp_path / "set")
    return tmp_path


def test_scores_are_printed_and_written(model, sets, capsys, pairs_file, monkeypatch):
    # All sources of the machine take a minute to read.
    monkeypatch.setattr(
        "runner.tasks.files.open_source", lambda name: open_source({"python-env": str(pairs_file)}[name])
    )
    tasks = [f"sts:{sets / 'sts.jsonl'}", str(sets / "set"), "code-search"]
    assert main(["evaluate", model, "--tasks", *tasks, "--out", str(sets / "scores.json")]) == 0
    printed = capsys.readouterr().out
    assert "spearman" in printed and "2 queries, 2 documents" in printed and "code-search" in printed
    written = json.loads((sets / "scores.json").read_text())["scores"]
    assert [score["kind"] for score in written] == ["sts", "retrieval", "retrieval"]
    assert -1 <= written[0]["values"]["spearman"] <= 1
    assert {"ndcg@10", "mrr@10", "recall@100", "accuracy@1", "accuracy@5", "accuracy@20"} <= set(written[1]["values"])
    assert 0 < written[2]["values"]["ndcg@10"] < 1
    assert main(["evaluate", model, "--tasks", tasks[0], "--out", str(sets / "scores.json")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.slow
def test_an_adapter_alone_and_what_was_saved_again_are_models_too(training, sets, tmp_path, monkeypatch, capsys):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("transformers.integrations.peft.check_peft_version", lambda **_: None)
    observation, encoder = train_encoder(Trial("nano-25k", LoRA(4), training, lr=1e-2, steps=10))
    export(encoder, observation, tmp_path / "adapter", adapter=True)
    sentence_transformers.SentenceTransformer(str(tmp_path / "adapter")).save_pretrained(str(tmp_path / "again"))
    for name in ("adapter", "again"):
        folder = str(tmp_path / name)
        assert main(["evaluate", folder, "--tasks", f"sts:{sets / 'sts.jsonl'}"]) == 0
        assert "spearman" in capsys.readouterr().out
        assert main(["mine", training.data, "--model", folder, "--out", str(tmp_path / f"{name}.jsonl")]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing/at/all", "--tasks", "code-search"], "neither a folder nor a name"),
        ([".", "--tasks", "code-search"], "contains no model"),
        (["MODEL", "--tasks", "sts:missing.jsonl"], "no such file"),
        (["MODEL", "--tasks", "sideways:x"], "known kinds"),
        (["MODEL", "--tasks", "mteb:NoSuchTask"], "NoSuchTask"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(model, arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "mteb:NoSuchTask" in arguments:
        pytest.importorskip("mteb")
    assert main(["evaluate", *[model if a == "MODEL" else a for a in arguments]]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert words in said[-1] and "Traceback" not in "".join(said)


def test_vectors_that_are_all_alike_are_no_score(model, sets, tmp_path):
    """A constant has no rank correlation: that is said, never scored 0."""
    import torch

    loaded = load_model(model)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    from runner.tasks.files import read_similarity
    from runner.tasks.kinds import similarity

    with pytest.raises(ValueError, match="not a number"):
        similarity(loaded, read_similarity(str(sets / "sts.jsonl")))


def test_mteb_runs_a_task_of_ones_own(model):
    mteb = pytest.importorskip("mteb")
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    class OwnSTS(AbsTaskSTS):
        metadata = TaskMetadata(
            name="OwnSTS",
            description="four pairs",
            dataset={"path": "none/none", "revision": "1"},
            type="STS",
            category="t2t",
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="cosine_spearman",
            reference=None,
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            modalities=["text"],
            sample_creation=None,
            bibtex_citation="",
        )
        min_score, max_score = 0, 5

        def load_data(self, *_, **__):
            rows = {name: [pair[name] for pair in PAIRS] for name in ("sentence1", "sentence2", "score")}
            self.dataset, self.data_loaded = DatasetDict({"test": Dataset.from_dict(rows)}), True

    assert mteb
    score = score_mteb(load_model(model), OwnSTS())
    assert -1 <= score.values["main_score"] <= 1 and score.task == "OwnSTS"


@needs_data
def test_a_shared_model_has_the_known_score_before_any_training(tmp_path):
    """stories260K, mean of its states: Spearman .411 on STSBenchmark and .558 on STS17 (the sets' own notes)."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(DATA / "models" / "stories260K"), max_seq_length=128)
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(tmp_path / "plain"))
    tasks = [f"sts:{DATA}/sts/{name}.jsonl.gz#test" for name in ("stsbenchmark", "sts17-en-en")]
    found = [score.values["spearman"] for score in evaluate(str(tmp_path / "plain"), tasks)]
    assert found == pytest.approx([0.411, 0.558], abs=0.02)
