"""What a model scores on a task of each kind, by Sentence Transformers' evaluators and by mteb."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.tasks.files import Retrieval, Similarity, code_search, read_retrieval, read_similarity
from runner.tasks.score import ACCURACY, RECALL, BrokenVectors, named
from sweeps.support.paths import located
from sweeps.tasks import METRICS, parse_task

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


def similarity(model: Any, task: Similarity) -> Score:
    """Returns Spearman's correlation of cosine and score (and Pearson's)."""
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    evaluator = EmbeddingSimilarityEvaluator(
        task.first, task.second, task.scores, batch_size=BATCH, similarity_fn_names=["cosine"], write_csv=False
    )
    correlations = evaluator(model)
    values = {"spearman": float(correlations["spearman_cosine"]), "pearson": float(correlations["pearson_cosine"])}
    return Score(
        task.name, "sts", METRICS["sts"], _finite(values, task.name), f"{len(task.scores):,} pairs", task.skipped
    )


def retrieval(model: Any, task: Retrieval, compare: str = "cos_sim") -> Score:
    """Returns nDCG@10, recall, MRR and accuracy of a retrieval task. compare: the function of
    sentence_transformers.util that two texts' vectors are compared by."""
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
    return Score(task.name, "retrieval", METRICS["retrieval"], _finite(values, task.name), size, task.skipped)


def read_mteb(where: str) -> Any:
    """Returns any task of the mteb package by its name, with its data, which are fetched from the hub where they are
    not here."""
    try:
        import mteb
    except ImportError:
        raise ValueError(f"mteb:{where}: needs mteb; install recipe-planner[mteb]") from None
    try:
        task = mteb.get_task(where)
    except KeyError as error:
        raise ValueError(f"mteb:{where}: {error.args[0]}") from None
    try:
        task.load_data()
    except OSError as error:
        raise ValueError(f"mteb:{where}: its data are not available: {str(error).splitlines()[0]}") from None
    return task


def score_mteb(model: Any, task: Any) -> Score:
    """Returns the main score of an mteb task object, one's own included: the mean over its test splits."""
    import mteb

    try:
        # No cache: it knows models by name, and those in folders have none of their own.
        result = mteb.evaluate(_for_mteb(model), task, cache=None, show_progress_bar=False)
    except OSError as error:
        raise ValueError(
            f"mteb:{task.metadata.name}: its data are not available: {str(error).splitlines()[0]}"
        ) from None
    task_result = result.task_results[0]
    values = _finite({METRICS["mteb"]: float(task_result.get_score())}, task.metadata.name)
    return Score(task.metadata.name, f"mteb {task.metadata.type}", METRICS["mteb"], values, task.metadata.main_score)


def _for_mteb(model: Any) -> Any:
    """Returns the model as mteb takes one: a SentenceTransformer as it is, a model in training behind its calls."""
    from sentence_transformers import SentenceTransformer

    if isinstance(model, SentenceTransformer):
        return model
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.types import PromptType

    class InTraining(AbsEncoder):
        def __init__(self) -> None:
            self.model, self.mteb_model_meta = model, ModelMeta.create_empty()
            self.calls = {PromptType.query: model.encode_query, PromptType.document: model.encode_document}

        def encode(self, inputs: Any, *, prompt_type: Any = None, **_: Any) -> Any:
            texts = [text for batch in inputs for text in batch["text"]]
            return self.calls.get(prompt_type, model.encode)(texts).numpy()

    return InTraining()


@dataclass(frozen=True)
class Kind:
    """How tasks of one kind are read and scored."""

    read: Callable[[str], Any]
    """From what stands behind the colon to the task; raises ValueError for what is wrong with it."""
    score: Callable[[Any, Any], Score]
    """From a model and the task to the model's score. The model has `encode`, `encode_query` and `encode_document`."""


KINDS: dict[str, Kind] = {
    "sts": Kind(read_similarity, similarity),
    "retrieval": Kind(read_retrieval, retrieval),
    "code-search": Kind(lambda _: code_search(), retrieval),
    "mteb": Kind(read_mteb, score_mteb),
}


def find_task(text: str) -> tuple[Kind, str]:
    """Returns the kind and place of a task that a user names KIND:WHERE, or by a file (sts) or folder (retrieval)
    alone."""
    place = located(text.partition("#")[0])
    if text.partition(":")[0] not in KINDS and ":" not in text and place.exists():
        return KINDS["retrieval" if place.is_dir() else "sts"], text
    if ":" not in text and text not in KINDS:
        raise ValueError(f"task {text!r}: neither a file nor a folder; known kinds: {', '.join(KINDS)}")
    kind, where = parse_task(text)
    return KINDS[kind], where


def check_tasks(tasks: Sequence[str]) -> None:
    """Read the tasks that lie in files or on the hub. Raises ValueError naming the first that cannot be scored."""
    for text in tasks:
        kind, where = find_task(text)
        if where:
            kind.read(where)


def _finite(values: dict[str, float], name: str) -> dict[str, float]:
    """Returns the scores. Raises BrokenVectors for one that is no number: all vectors are alike, or worse; never a
    made-up 0."""
    broken = [each for each, value in values.items() if not math.isfinite(value)]
    if broken:
        raise BrokenVectors(f"{name}: {', '.join(broken)} is not a number: the model's vectors are all alike or broken")
    return values
