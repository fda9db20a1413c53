"""Retrieval scores of vectors that are already there, by Sentence Transformers' evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

ACCURACY = (1, 5, 20)
RECALL = (10, 100)


class BrokenVectors(ValueError):
    """A model's vectors are not finite, or so alike that they give no score."""


class Vectors:
    """Stands for a model whose texts are embedded: a "text" is the number of its row."""

    def __init__(self, query: Tensor) -> None:
        self.query = query

    def encode_query(self, rows: list[str], **_: Any) -> Tensor:
        return self.query[[int(row) for row in rows]]


def retrieval(query: Tensor, document: Tensor) -> dict[str, float]:
    """Returns the scores of every query's own document among all. query, document: [pairs, dim], row by row."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    names = [str(row) for row in range(len(query))]
    evaluator: Any = InformationRetrievalEvaluator(
        {name: name for name in names},
        {name: name for name in names},
        {name: {name} for name in names},
        accuracy_at_k=list(ACCURACY),
        precision_recall_at_k=list(RECALL),
        score_functions={"cosine": cos_sim},
        write_csv=False,
    )
    return named(evaluator.compute_all_metrics(Vectors(query), corpus_embeddings=document)["cosine"])


def named(metrics: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """Returns the evaluator's scores by one name each, such as ndcg@10; without precision, which recall implies."""
    kinds = {"ndcg@k": "ndcg", "mrr@k": "mrr", "accuracy@k": "accuracy", "recall@k": "recall"}
    return {f"{short}@{k}": float(value) for kind, short in kinds.items() for k, value in metrics[kind].items()}
