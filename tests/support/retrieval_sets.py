"""Evaluation sets of a few lines: sentence pairs with scores, and a retrieval set as BEIR lays it out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

PAIRS = [{"sentence1": f"a{i}", "sentence2": f"b{i}", "score": float(i), "split": "test"} for i in range(4)]
DOCUMENTS = [{"_id": "d1", "title": "One", "text": "first"}, {"_id": "d2", "text": "second"}]
QUERIES = [{"_id": "q1", "text": "which is first"}, {"_id": "q2", "text": "which is second"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\nq2\td1\t0\n"


def lines(rows: Iterable[dict]) -> str:
    """Rows as JSONL."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_retrieval(folder: Path, corpus=DOCUMENTS, queries=QUERIES, qrels: str = QRELS) -> str:
    """The folder, which now holds this retrieval set."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    (folder / "corpus.jsonl").write_text(lines(corpus))
    (folder / "queries.jsonl").write_text(lines(queries))
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return str(folder)
