"""Peak memory of one optimiser step against the pairs in its batch, with nothing kept between the two passes.

    python tests/benchmarks/bench_memory.py                          nano-1.2m (width 160), full and LoRA
    python tests/benchmarks/bench_memory.py --model nano-4.7m        width 256, four times as long

Every setting is a process of its own; what is shown is its largest resident set. The gradient cache is forced, as a
large model forces it: no graph is kept, so all texts are embedded twice. Texts are random ids with lengths as real
pairs have them. The last column is what the batch's own similarities take: pairs x pairs numbers in fp32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

from runner.training import allocator
from sweeps.workers.base import memory_environment

PAIRS = (64, 256, 1024, 4096)
QUERY, DOCUMENT, CONTEXT = 15, 70, 75  # tokens: means of real pairs, and where they are cut


def one(model_name: str, method_name: str, pairs: int) -> dict[str, float]:
    """Take one step in this process; its peak memory before and after it, bytes."""
    import numpy as np
    import torch

    from runner.model.encoder import make_encoder
    from runner.training import engine as engine_module
    from runner.training.grad_cache import Batch
    from runner.training.measure import peak_memory
    from sweeps.methods import make_method
    from sweeps.models import find_model
    from sweeps.trial import Training, Trial

    torch.set_num_threads(1)
    device = torch.device("cpu")
    engine_module.SHARE = {"cpu": 1e-9}
    model, method = find_model(model_name), make_method(method_name, {})
    trial = Trial(model.name, method, Training(batch_size=pairs), 1e-5, 2)
    made = engine_module.Engine(model, trial, make_encoder(model, method, "mean", device, 0))
    draw = np.random.default_rng(0)
    lengths = np.concatenate([draw.exponential(mean, pairs) for mean in (QUERY, DOCUMENT)])
    texts = [draw.integers(2, model.vocab, size=n) for n in np.clip(lengths, 3, CONTEXT).astype(int)]
    batch = Batch(texts, np.arange(2 * pairs), pairs, torch.arange(pairs)[None])
    before, begun = peak_memory(device), time.process_time()
    cost = made.step(batch, 1e-5)
    assert cost.recomputed_tokens == sum(map(len, texts)), "the gradient cache was not used"
    return {"before": before, "peak": peak_memory(device), "seconds": time.process_time() - begun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano-1.2m")
    parser.add_argument("--method", action="append", help="default: full and lora")
    parser.add_argument("--pairs", type=int, nargs="+", default=PAIRS)
    parser.add_argument("--one", action="store_true", help="one setting in this process, as JSON")
    arguments = parser.parse_args()
    allocator.keep_freed()  # as our commands do
    methods = arguments.method or ["full", "lora"]
    if arguments.one:
        print(json.dumps(one(arguments.model, methods[0], arguments.pairs[0])))
        return
    for method in methods:
        print(f"\n{arguments.model}, {method}")
        print(
            f"{'pairs':>6}{'before the step':>18}{'peak':>12}{'ratio':>8}{'step':>10}{'similarities':>15}", flush=True
        )
        first = 0.0
        for pairs in arguments.pairs:
            given = ["--one", "--model", arguments.model, "--method", method, "--pairs", str(pairs)]
            as_a_worker = os.environ | memory_environment()
            done = subprocess.run(
                [sys.executable, __file__, *given], capture_output=True, text=True, check=False, env=as_a_worker
            )
            if done.returncode:
                sys.exit(done.stderr)
            seen = json.loads(done.stdout)
            first = first or seen["peak"]
            print(
                f"{pairs:>6}{seen['before'] / 1e6:>15,.0f} MB{seen['peak'] / 1e6:>9,.0f} MB{seen['peak'] / first:>8.2f}"
                f"{seen['seconds']:>8.1f} s{4 * pairs**2 / 1e6:>12,.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
