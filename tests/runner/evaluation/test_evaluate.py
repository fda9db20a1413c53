"""Scores of whole models, as a user asks for them; on the shared evaluation sets where those are at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.cli import main
from runner.evaluation.evaluate import evaluate, load_model, score_task
from runner.evaluation.tasks import read_retrieval, read_similarity
from runner.export.sentence_transformers import export
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
        "runner.evaluation.tasks.open_source", lambda name: open_source({"python-env": str(pairs_file)}[name])
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing/at/all", "--tasks", "code-search"], "no such folder"),
        ([".", "--tasks", "code-search"], "holds no model"),
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
    from runner.evaluation.evaluate import similarity

    with pytest.raises(ValueError, match="not a number"):
        similarity(loaded, str(sets / "sts.jsonl"))


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
    score = score_task(load_model(model), OwnSTS())
    assert -1 <= score.values["main_score"] <= 1 and score.task == "OwnSTS"


STS_COUNTS = {"sts12": 3108, "sts13": 1500, "sts14": 3750, "sts15": 3000, "sts16": 1186, "sts17-en-en": 250}
TOKEN_COSINES = {"sts12": 0.3326, "sts13": 0.4307, "sts14": 0.4412, "sts15": 0.5970, "sts16": 0.5084}
TOKEN_COSINES |= {"sts17-en-en": 0.6498, "stsbenchmark": 0.4316}


class TokenCosine:
    """The task organisers' baseline: a text is the set of its words between spaces."""

    similarity_fn_name = "cosine"
    model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_: None)

    def encode(self, texts, **_):
        import torch

        words = {word: place for place, word in enumerate(sorted({w for t in self.known for w in t.split()}))}
        vectors = torch.zeros(len(texts), len(words))
        for row, text in enumerate(texts):
            vectors[row, [words[word] for word in set(text.split())]] = 1
        return vectors


@needs_data
@pytest.mark.parametrize("name", TOKEN_COSINES)
def test_shared_sentence_pairs_have_the_known_counts_and_baseline(name):
    from runner.evaluation.evaluate import similarity

    where = f"{DATA}/sts/{name}.jsonl.gz#test"
    task = read_similarity(where)
    assert len(task.scores) == STS_COUNTS.get(name, 1379) and not task.skipped
    model = TokenCosine()
    model.known = task.first + task.second
    assert similarity(model, where).values["spearman"] == pytest.approx(TOKEN_COSINES[name], abs=5e-4)


@needs_data
@pytest.mark.parametrize(
    ("name", "documents", "queries", "judgements"), [("scifact", 5183, 300, 339), ("cosqa", 6267, 500, 500)]
)
def test_shared_retrieval_sets_have_the_known_counts(name, documents, queries, judgements):
    task = read_retrieval(f"{DATA}/retrieval/{name}")
    assert len(task.corpus) == documents and len(task.queries) == queries
    assert sum(map(len, task.relevant.values())) == judgements and not task.skipped


class BM25:
    """Robertson's weights (k1 0.9, b 0.4) as vectors over the queries' words, so that a dot product is the score."""

    def __init__(self, task):
        from sklearn.feature_extraction.text import CountVectorizer

        self.words = CountVectorizer(stop_words="english", vocabulary=None).fit(task.queries.values())
        self.counter = CountVectorizer(stop_words="english").build_analyzer()
        self.lengths = {text: len(self.counter(text)) for text in task.corpus.values()}

    def encode_query(self, texts, **_):
        import torch

        return torch.from_numpy(self.words.transform(texts).toarray()).float()

    def encode_document(self, texts, **_):
        import numpy as np
        import torch

        counts = self.words.transform(texts).toarray().astype(float)
        seen = (counts > 0).sum(0)
        rarity = np.log(1 + (len(texts) - seen + 0.5) / (seen + 0.5))
        lengths = np.array([self.lengths[text] for text in texts])[:, None]
        weights = counts * 1.9 / (counts + 0.9 * (0.6 + 0.4 * lengths / lengths.mean()))
        return torch.from_numpy(weights * rarity).float()


@needs_data
@pytest.mark.parametrize(("name", "known"), [("scifact", 0.6713), ("cosqa", 0.3208)])
def test_word_matching_searches_as_well_as_is_known_of_it(name, known):
    """The known numbers are of stemmed words, ours of whole ones: within 0.05."""
    pytest.importorskip("sklearn")
    from runner.evaluation.evaluate import _retrieve

    task = read_retrieval(f"{DATA}/retrieval/{name}")
    assert _retrieve(BM25(task), task, "dot_score").values["ndcg@10"] == pytest.approx(known, abs=0.05)


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
