"""Evaluation tasks as people name them, KIND:WHERE, and what the score of each is called."""

from __future__ import annotations

from sweeps.support.paths import located

# Kind -> the score that ranks models by it. runner/tasks/kinds.py measures each.
METRICS = {"sts": "spearman", "retrieval": "ndcg@10", "code-search": "ndcg@10", "mteb": "main_score"}
EMPTY = ("code-search",)  # kinds that take no file or name
SPLITS = {"retrieval": "test"}  # kind -> the split that is meant where none is named
SIGNED = ("spearman", "main_score")  # scores that may be negative, down to -1; the others begin at 0


def parse_task(text: str) -> tuple[str, str]:
    """Kind and place of a task, KIND:WHERE. Raises ValueError naming the task and the kinds."""
    kind, _, where = text.partition(":")
    if kind not in METRICS:
        raise ValueError(f"task {text!r} is not KIND:WHERE; known kinds: {', '.join(METRICS)}")
    if not where and kind not in EMPTY:
        raise ValueError(f"task {text!r} is incomplete: {kind}:" + ("NAME" if kind == "mteb" else "PATH"))
    if where and kind in EMPTY:
        raise ValueError(f"task {text!r}: {kind} takes no file")
    return kind, where


def task_name(text: str) -> str:
    """The task's name: of a file or folder its own and the split, as in scifact-test."""
    kind, where = parse_task(text)
    if kind in EMPTY:
        return kind
    if kind == "mteb":
        return where
    place, _, split = where.partition("#")
    name = located(place).resolve().name
    return "-".join(filter(None, (name.split(".")[0] if kind == "sts" else name, split or SPLITS.get(kind, ""))))


def score_name(text: str) -> str:
    """What observations call the task's main score, as in "scifact-test ndcg@10"."""
    return f"{task_name(text)} {METRICS[parse_task(text)[0]]}"


def lowest(score: str) -> float:
    """The lowest value that a score of this name can take; the highest is 1."""
    return -1.0 if score.rpartition(" ")[2] in SIGNED else 0.0
