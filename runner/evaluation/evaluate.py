"""Scores of an embedding model on real tasks, by Sentence Transformers' evaluators and by mteb."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.evaluation.tasks import Retrieval, Similarity, code_search, read_retrieval, read_similarity
from runner.training.score import ACCURACY, RECALL, named

BATCH = 32


@dataclass(frozen=True)
class Score:
    """One task's outcome."""

    task: str
    """Its name: file and split, or the name that a package has for it."""
    kind: str
    """What is measured, such as retrieval or similarity."""
    main: str
    """The name among `values` that ranks models."""
    values: dict[str, float]
    """Scores by name; more is better."""
    size: str
    """How much it was measured on, in words."""
    notes: tuple[str, ...] = field(default=())
    """What was left out, and why."""

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "kind": self.kind,
            "main": self.main,
            "values": self.values,
            "size": self.size,
            "notes": list(self.notes),
        }


def load_model(path: str) -> Any:
    """Returns the SentenceTransformer in a folder or by its name on the hub. Raises ValueError when there is none."""
    from sentence_transformers import SentenceTransformer

    if not Path(path).exists() and (path.startswith((".", "/", "~")) or path.count("/") != 1):
        raise ValueError(f"{path}: no such folder, nor a name on the hub (owner/name)")
    if Path(path).is_dir() and not (Path(path) / "config.json").exists():
        raise ValueError(f"{path}: holds no model (it has no config.json); `embed train` and `embed export` write one")
    try:
        return SentenceTransformer(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from None


def similarity(model: Any, where: str) -> Score:
    """Returns Spearman's correlation of cosine and score (and Pearson's)."""
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    task: Similarity = read_similarity(where)
    evaluator = EmbeddingSimilarityEvaluator(
        task.first, task.second, task.scores, batch_size=BATCH, similarity_fn_names=["cosine"], write_csv=False
    )
    correlations = evaluator(model)
    values = {"spearman": float(correlations["spearman_cosine"]), "pearson": float(correlations["pearson_cosine"])}
    return Score(task.name, "sts", "spearman", _finite(values, where), f"{len(task.scores):,} pairs", task.skipped)


def retrieval(model: Any, where: str) -> Score:
    """Returns nDCG@10, recall, MRR and accuracy of a BEIR folder."""
    return _retrieve(model, read_retrieval(where))


def search(model: Any, where: str) -> Score:
    """Returns the same on held-out code search, which needs no file."""
    if where:
        raise ValueError(f"code-search:{where}: code-search takes no file")
    return _retrieve(model, code_search())


def _retrieve(model: Any, task: Retrieval, compare: str = "cos_sim") -> Score:
    """Returns the scores of a retrieval task. compare: the function of sentence_transformers.util that two texts'
    vectors are compared by."""
    from sentence_transformers import util
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    texts: tuple[dict[str, Any], dict[str, Any]] = (dict(task.queries), dict(task.corpus))  # it takes images, too
    evaluator = InformationRetrievalEvaluator(
        *texts,
        task.relevant,
        accuracy_at_k=list(ACCURACY),
        precision_recall_at_k=list(RECALL),
        mrr_at_k=[10, 100],
        score_functions={compare: getattr(util, compare)},
        batch_size=BATCH,
        write_csv=False,
    )
    scores: dict[str, Any] = evaluator.compute_all_metrics(model)
    values = named(scores[compare])
    size = f"{len(task.queries):,} queries, {len(task.corpus):,} documents"
    return Score(task.name, "retrieval", "ndcg@10", _finite(values, task.name), size, task.skipped)


def mteb_task(model: Any, where: str) -> Score:
    """Returns the score on any task of the mteb package by its name; its data is fetched from the hub where it is not
    here."""
    try:
        import mteb
    except ImportError:
        raise ValueError(f"mteb:{where}: needs mteb; install recipe-planner[mteb]") from None
    try:
        task = mteb.get_task(where)
    except KeyError as error:
        raise ValueError(f"mteb:{where}: {error.args[0]}") from None
    return score_task(model, task)


def score_task(model: Any, task: Any) -> Score:
    """Returns the main score of an mteb task object, one's own included: the mean over its test splits."""
    import mteb

    try:
        # No cache: it knows models by name, and those in folders have none of their own.
        result = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
    except OSError as error:
        raise ValueError(f"mteb:{task.metadata.name}: its data cannot be had: {str(error).splitlines()[0]}") from None
    task_result = result.task_results[0]
    values = {"main_score": float(task_result.get_score())}
    return Score(task.metadata.name, f"mteb {task.metadata.type}", "main_score", values, task.metadata.main_score)


KINDS: dict[str, Callable[[Any, str], Score]] = {
    "sts": similarity,
    "retrieval": retrieval,
    "code-search": search,
    "mteb": mteb_task,
}


def find_task(text: str) -> tuple[Callable[[Any, str], Score], str]:
    """Returns the kind and place of a task that a user names KIND:WHERE, or by a file (sts) or folder (retrieval)
    alone."""
    kind, colon, where = text.partition(":")
    if kind in KINDS:
        if not where and kind != "code-search":
            raise ValueError(f"task {text!r} does not say which: {kind}:" + ("NAME" if kind == "mteb" else "PATH"))
        return KINDS[kind], where
    place = Path(text.partition("#")[0])
    if colon or not place.exists():
        raise ValueError(f"task {text!r}: neither a file nor a folder; known kinds: {', '.join(KINDS)}")
    return (retrieval if place.is_dir() else similarity), text


def evaluate(path: str, tasks: Sequence[str], say: Callable[[str], None] = lambda _: None) -> list[Score]:
    """Returns the scores of the model at `path` on every task. Raises ValueError before it loads when a task is
    none."""
    runs = [find_task(text) for text in tasks]
    model = load_model(path)
    scores = []
    for text, (run, where) in zip(tasks, runs, strict=True):
        say(f"{text} ...")
        scores.append(run(model, where))
    return scores


def _finite(values: dict[str, float], name: str) -> dict[str, float]:
    """Returns the scores. Raises ValueError for one that is no number: all vectors are alike, or worse; never a made-up
    0."""
    broken = [each for each, value in values.items() if not math.isfinite(value)]
    if broken:
        raise ValueError(f"{name}: {', '.join(broken)} is not a number: the model's vectors are all alike or broken")
    return values
