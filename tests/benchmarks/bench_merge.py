"""Joint training beside merging at equal FLOPs: three real tasks, the smallest models, three seeds.

    python tests/benchmarks/bench_merge.py        about 10 minutes on 2 cores; needs the shared pairs

Tasks: code search (docstrings and functions of this machine), requests and shell commands, captions of one image. Each
task's model takes --steps steps; the joint one as many as all together, and what the search costs on top. Shown are
held-out losses (nats per pair) by task and their mean: mean and range over the seeds. A difference smaller than the
ranges is none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "pairs"
MODEL = "nano-100k"
RATE = 3e-3
PAIRS = 6000  # of each task
HELD_OUT = 600
POOL, POOLS = 256, 2
SEEDS = (0, 1, 2)
SEARCH = {"steps": 100, "rate": 2e-2, "mu": 0.05, "temperature": 0.05, "negatives": 0}


def write_tasks(folder: Path) -> dict[str, Path]:
    """As many pairs of each task, its own held-out pairs, and a probe set of training pairs of all."""
    from sweeps.data.readers import read_pairs

    sources = {
        "code": "python-env",
        "shell": str(DATA / "code_nl2bash.jsonl.gz"),
        "captions": str(DATA / "captions_multi30k.jsonl.gz"),
    }
    found, probe = {}, []
    for name, source in sources.items():
        pairs, _ = read_pairs(source)
        apart = {held: [pair for pair in pairs if pair.held_out is held] for held in (False, True)}
        chosen = [*apart[False][:: max(1, len(apart[False]) // PAIRS)][:PAIRS], *apart[True][:HELD_OUT]]
        rows = [{"query": p.query, "positive": p.positive, "group": p.group, "held_out": p.held_out} for p in chosen]
        found[name] = folder / f"{name}.jsonl"
        found[name].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        probe += [row for row in rows if not row["held_out"]][:1000]
    found["probe"] = folder / "probe.jsonl"
    found["probe"].write_text("".join(json.dumps(row) + "\n" for row in probe), encoding="utf-8")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA}: the shared pairs are not here")
    warnings.filterwarnings("ignore")
    import torch
    from safetensors.torch import load_file

    from runner.data.pairs import pools, prepare
    from runner.export.sentence_transformers import export
    from runner.merging.rules import Rule, merge
    from runner.merging.self_positioning import PositionSearch, merge_by_search
    from runner.model.encoder import make_encoder
    from runner.trainer import train_encoder
    from runner.training.grad_cache import held_out
    from sweeps.methods import Full
    from sweeps.models import find_model
    from sweeps.trial import Training, Trial, mixed

    model = find_model(MODEL)
    scores: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        tasks = write_tasks(Path(name))
        probe = tasks.pop("probe")
        base = Training(batch_size=64, pool_size=POOL, pools=POOLS)
        conditions = {task: replace(base, data=str(path)) for task, path in tasks.items()}
        held = {task: prepare(asked, model.source).pairs for task, asked in conditions.items()}
        probed = prepare(replace(base, data=str(probe)), model.source, judged=False).pairs

        def judge(row: str, encoder) -> None:
            encoder.eval()
            found = {
                task: held_out(encoder, pairs, pools(pairs, POOL, POOLS), base.temperature, 4096)[0]
                for task, pairs in held.items()
            }
            found["mean"] = statistics.mean(found.values())
            scores.setdefault(row, []).append(found)
            print(f"{row}: " + ", ".join(f"{task} {loss:.4f}" for task, loss in found.items()), flush=True)

        def judge_folder(row: str, folder: Path) -> None:
            encoder = make_encoder(model, Full(), "mean", torch.device("cpu"), 0)
            encoder.backbone.load_state_dict(load_file(folder / "model.safetensors"))
            judge(row, encoder)

        judge("base", make_encoder(model, Full(), "mean", torch.device("cpu"), 0))
        for seed in SEEDS:
            folder, flops, tokens = Path(name) / str(seed), 0.0, 0
            for task, asked in conditions.items():
                observation, encoder = train_encoder(Trial(MODEL, Full(), asked, RATE, arguments.steps, seed))
                flops, tokens = flops + observation.flops, tokens + observation.tokens
                export(encoder, observation, folder / task)
                judge(f"only {task}", encoder)
            models = [folder / task for task in conditions]
            for method in ("average", "slerp", "task-arithmetic", "ties"):
                scale = 1.5 if method == "ties" else 1.0
                merge(Path(model.source), models, Rule(method, scale=scale), folder / method)
                judge_folder(method, folder / method)
            searcher = make_encoder(model, Full(), "mean", torch.device("cpu"), 0)
            found = merge_by_search(
                Path(model.source), models, searcher, probed, PositionSearch(seed=seed, **SEARCH), folder / "searched"
            )
            judge_folder("self-positioning", folder / "searched")
            more = 1 + found.tokens / tokens  # a search step is a forward and a backward pass of its tokens
            joint = replace(base, data=mixed((str(path), 1.0) for path in tasks.values()))
            for row, steps in (("joint", 3 * arguments.steps), ("joint, and the search's FLOPs", None)):
                steps = steps or round(3 * arguments.steps * more)
                judge(row, train_encoder(Trial(MODEL, Full(), joint, RATE, steps, seed))[1])
            print(f"seed {seed}: {flops:.3g} FLOPs for the tasks' models, the search {100 * (more - 1):.0f} % more")
    columns = [*tasks, "mean"]
    print(f"\n{'':<32}" + "".join(f"{column:>26}" for column in columns))
    for row, seen in scores.items():
        cells = [[one[column] for one in seen] for column in columns]
        print(f"{row:<32}" + "".join(f"{statistics.mean(c):>11.3f} ({min(c):.3f}-{max(c):.3f})" for c in cells))


if __name__ == "__main__":
    main()
