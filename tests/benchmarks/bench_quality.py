"""The recipe of Ukarapol et al. 2024 on the smallest model at hand, with and without hard negatives.

    python tests/benchmarks/bench_quality.py          about 12 minutes on 2 cores; needs the shared evaluation sets

stories260K (227 k parameters, read stories only), SNLI triplets of ../shared/data, three seeds. Rates: the published
5e-5, which is for models of billions, and what a search on the training pairs' own held-out loss chose. Scores:
Spearman on STS test sets, nDCG@10 on SciFact; mean and range over the seeds. One JSON line a training goes to --out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = ("sts12", "sts13", "sts14", "sts15", "sts16", "sts17-en-en", "stsbenchmark")
TASKS = [f"sts:{DATA}/sts/{name}.jsonl.gz#test" for name in SETS] + [f"retrieval:{DATA}/retrieval/scifact"]
RATES = (5e-5, 2e-3)
SEEDS = (0, 1, 2)


def trial_for(lr: float, negatives: int, seed: int, steps: int):
    """The recipe file's trial, on this model and data."""
    from sweeps.experiment.recipe_file import read_recipe

    recipe = read_recipe(Path(__file__).resolve().parents[2] / "examples" / "small-lm-sts.toml")
    training = replace(
        recipe.training,
        data=str(DATA / "pairs" / "nli_snli_triplets.jsonl.gz"),
        hard_negatives=negatives,
        score=True,
        pool_size=128,
    )
    model = str(DATA / "models" / "stories260K")
    return replace(recipe, model=model, training=training, lr=lr, steps=steps, seed=seed)


def scores_of(trial) -> dict[str, float]:
    """Train, export, and score as a user would."""
    from runner.evaluation.evaluate import evaluate
    from runner.export.sentence_transformers import export
    from runner.trainer import train_encoder

    with tempfile.TemporaryDirectory() as folder:
        observation, encoder = train_encoder(trial)
        if observation.status != "done":
            return {"failed": 1.0}
        encoder.eval()
        export(encoder, observation, Path(folder))
        found = {score.task: score.values[score.main] for score in evaluate(folder, TASKS)}
    return found | {"loss": observation.loss, "effective_rank": observation.scores["effective_rank"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/quality.jsonl"))
    parser.add_argument("--steps", type=int, default=1000)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA}: the shared evaluation sets are not here")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [("before", trial_for(1e-12, 1, 0, 1))]
    rows += [
        (f"lr {lr:g}, {'with' if negatives else 'without'} negatives", trial_for(lr, negatives, seed, arguments.steps))
        for lr in RATES
        for negatives in (0, 1)
        for seed in SEEDS
    ]
    found: dict[str, list[dict[str, float]]] = {}
    with open(arguments.out, "a", encoding="utf-8") as out:
        for name, trial in rows:
            scores = scores_of(trial)
            out.write(json.dumps({"row": name, "trial": trial.to_json(), "scores": scores}) + "\n")
            out.flush()
            found.setdefault(name, []).append(scores)
            print(f"{name}, seed {trial.seed}: {json.dumps({k: round(v, 4) for k, v in scores.items()})}", flush=True)
    print(f"\n{'':<32}{'STS mean of 7':>24}{'SciFact nDCG@10':>24}")
    for name, seen in found.items():
        sts = [100 * statistics.mean(s[task] for task in s if task.endswith("-test") and "sts" in task) for s in seen]
        search = [100 * next(value for task, value in s.items() if "scifact" in task) for s in seen]
        cells = "".join(f"{statistics.mean(x):>10.2f} ({min(x):.2f}-{max(x):.2f})" for x in (sts, search))
        print(f"{name:<32}{cells}")


if __name__ == "__main__":
    main()
