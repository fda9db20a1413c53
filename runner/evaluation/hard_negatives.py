"""Hard negatives for pairs, found by a model: Sentence Transformers' miner. Those that a pair has stay."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.libraries import silenced
from sweeps.data.pair import Pair
from sweeps.data.readers import read_pairs
from sweeps.support.atomic import replacing

LOOKED_AT = 10  # documents, the nearest to a query, for each negative that is wanted
HELD_OUT = "held out"
OWN_GROUP = "all candidates belong to the pair's own group"


@dataclass(frozen=True)
class Mined:
    """What mining left."""

    pairs: int
    """Pairs that were written."""
    with_negatives: int
    """Those of them that have negatives, mined ones or their own."""
    mined: int
    """Those that got mined ones."""
    kept: int
    """Negatives that pairs had before; they stay, in front of the mined ones."""
    most: int
    """Most negatives of one pair."""
    without: Mapping[str, int]
    """Why the other pairs got none: reason -> number of pairs."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def mine(data: str, model: Any, out: Path, count: int, margin: float, beyond: int = 0) -> Mined:
    """Write the pairs of `data` to the JSONL file `out`, each with its own negatives and up to `count` mined ones
    behind, nearest to the query first.

    model: a SentenceTransformer. margin: only documents whose cosine to the query is below (1 - margin) times that of
    the query's own are taken, for nearer ones may be answers too (de Souza et al. 2024, section 3). beyond: so many of
    the nearest are passed over. Held-out pairs are written as they are; their documents are not used as
    negatives. Raises ValueError when `out` exists or there is nothing to mine from.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; choose another file")
    pairs, _ = read_pairs(data)
    trained = [pair for pair in pairs if not pair.held_out]
    if len({pair.positive for pair in trained}) <= count + beyond:
        raise ValueError(f"data is {data!r}; {len(trained)} training pairs are too few to take {count} negatives from")
    found = _found(trained, model, count, margin, beyond)
    groups: dict[str, set[str]] = {}
    for pair in trained:
        groups.setdefault(pair.positive, set()).add(pair.group)
    without: Counter[str] = Counter()
    with_negatives = mined = most = 0
    with replacing(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for pair in pairs:
            new, why = _for_pair(pair, found, groups, count, margin)
            without.update([why] if why else [])
            negatives = [*pair.negatives, *new]
            mined, with_negatives = mined + bool(new), with_negatives + bool(negatives)
            most = max(most, len(negatives))
            row = {"query": pair.query, "positive": pair.positive, "negatives": negatives}
            file.write(json.dumps(row | {"group": pair.group, "held_out": pair.held_out}, ensure_ascii=False) + "\n")
    kept = sum(len(pair.negatives) for pair in pairs)
    return Mined(len(pairs), with_negatives, mined, kept, most, dict(without.most_common()))


def _for_pair(
    pair: Pair,
    found: Mapping[tuple[str, str], tuple[str, ...]],
    groups: Mapping[str, set[str]],
    count: int,
    margin: float,
) -> tuple[tuple[str, ...], str]:
    """Returns the mined negatives of a pair, or why there are none."""
    if pair.held_out:
        return (), HELD_OUT
    texts = found.get((pair.query, pair.positive), ())
    if not texts:
        few = f"fewer than {count} of the {LOOKED_AT * count} nearest documents"
        return (), f"{few} lie below {100 * (1 - margin):.0f} % of the cosine of the pair's own"
    others = tuple(text for text in texts if pair.group not in groups[text])
    return tuple(text for text in others if text not in pair.negatives), "" if others else OWN_GROUP


def _found(
    pairs: list[Pair], model: Any, count: int, margin: float, beyond: int
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Returns what the miner found for the pairs that have enough, by query and document."""
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    table = Dataset.from_dict({"query": [p.query for p in pairs], "positive": [p.positive for p in pairs]})
    with silenced("mining"):
        mined = mine_hard_negatives(
            table,
            model,
            range_min=beyond,
            range_max=beyond + LOOKED_AT * count,
            relative_margin=margin,
            num_negatives=count,
            output_format="n-tuple",
            verbose=False,
        )
    texts = (tuple(row.values()) for row in mined)
    return {(query, positive): tuple(negatives) for query, positive, *negatives in texts}
