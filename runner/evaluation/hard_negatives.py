"""Hard negatives for pairs that have none, found by a model: Sentence Transformers' miner."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.data.pair import Pair
from sweeps.data.readers import read_pairs
from sweeps.support.atomic import replacing


@dataclass(frozen=True)
class Mined:
    """What mining left. pairs: written; with_negatives: those of them that got all they were to get."""

    pairs: int
    with_negatives: int

    def to_json(self) -> dict[str, Any]:
        return {"pairs": self.pairs, "with_negatives": self.with_negatives}


def mine(data: str, model: Any, out: Path, count: int, margin: float, beyond: int = 0) -> Mined:
    """Write the pairs of `data` to the JSONL file `out` with up to `count` negatives each, nearest to the query first.

    model: a SentenceTransformer. margin: only documents whose cosine to the query is below (1 - margin) times that of
    the query's own are taken, for nearer ones may be answers too (de Souza et al. 2024, section 3). beyond: so many of
    the nearest are passed over. Held-out pairs are written as they are and lend no negatives. Raises ValueError when
    `out` exists or there is nothing to mine from.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; choose another file")
    pairs, _ = read_pairs(data)
    trained = [pair for pair in pairs if not pair.held_out]
    if len({pair.positive for pair in trained}) <= count + beyond:
        raise ValueError(f"data is {data!r}; {len(trained)} training pairs are too few to take {count} negatives from")
    negatives_of = _negatives(trained, model, count, margin, beyond)
    with_negatives = 0
    with replacing(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for pair in pairs:
            negatives = () if pair.held_out else negatives_of.get((pair.query, pair.positive), ())
            with_negatives += bool(negatives)
            row = {"query": pair.query, "positive": pair.positive, "negatives": list(negatives)}
            file.write(json.dumps(row | {"group": pair.group, "held_out": pair.held_out}, ensure_ascii=False) + "\n")
    return Mined(len(pairs), with_negatives)


def _negatives(
    pairs: list[Pair], model: Any, count: int, margin: float, beyond: int
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Returns the negatives of the pairs that have enough, none of the same group."""
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    groups: dict[str, set[str]] = {}
    for pair in pairs:
        groups.setdefault(pair.positive, set()).add(pair.group)
    table = Dataset.from_dict({"query": [p.query for p in pairs], "positive": [p.positive for p in pairs]})
    mined = mine_hard_negatives(
        table,
        model,
        range_min=beyond,
        range_max=beyond + 10 * count,
        relative_margin=margin,
        num_negatives=count,
        output_format="n-tuple",
        verbose=False,
    )
    own = {(pair.query, pair.positive): pair.group for pair in pairs}
    negatives_of = {}
    for row in mined:
        query, positive, *negatives = row.values()
        group = own[query, positive]
        kept = tuple(text for text in negatives if group not in groups[text])
        if kept:
            negatives_of[query, positive] = kept
    return negatives_of
