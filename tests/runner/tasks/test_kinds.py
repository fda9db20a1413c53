"""The scores of each kind of task: known baselines on the shared sets where those are at hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.tasks.files import read_retrieval, read_similarity
from runner.tasks.kinds import KINDS, retrieval, similarity
from sweeps.tasks import METRICS

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared evaluation sets are not here")


def test_every_kind_that_can_be_named_is_scored():
    assert list(KINDS) == list(METRICS)


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
    where = f"{DATA}/sts/{name}.jsonl.gz#test"
    task = read_similarity(where)
    assert len(task.scores) == STS_COUNTS.get(name, 1379) and not task.skipped
    model = TokenCosine()
    model.known = task.first + task.second
    assert similarity(model, task).values["spearman"] == pytest.approx(TOKEN_COSINES[name], abs=5e-4)


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

    task = read_retrieval(f"{DATA}/retrieval/{name}")
    assert retrieval(BM25(task), task, "dot_score").values["ndcg@10"] == pytest.approx(known, abs=0.05)
