"""One command on each node of this worker's placement group: `python -m sweeps.workers.ray_step NODES -- COMMAND`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from sweeps.support.processes import die_with_parent, own_code
from sweeps.workers import ray_node
from sweeps.workers.base import memory_environment
from sweeps.workers.ray_job import ADDRESS, HOST, NAME, NAMESPACE

WAIT = 30.0  # s that the other parts may take to end after one has failed
ABOUT_A_NODE = ("CUDA_VISIBLE_DEVICES", HOST)  # variables that are each node's own
# torchrun's variables for which node keeps the meeting point, and for this node's address. Left alone it looks for
# both by the machine's host name, which on many machines leads to a loopback address: then no node keeps it.
CONFIGURATION, LOCAL_ADDRESS = "PET_RDZV_CONF", "PET_LOCAL_ADDR"


def main(nodes: int, command: Sequence[str]) -> int:
    """Run the parts; the exit code of one that failed, 0 when none did. What they printed is printed here."""
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    ray.init(os.environ[ADDRESS], namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
    ray.cloudpickle.register_pickle_by_value(ray_node)
    group = ray.util.get_placement_group(os.environ[NAME])
    part = ray.remote(max_retries=0)(ray_node.run_part)
    mine = {name: value for name, value in os.environ.items() if name not in ABOUT_A_NODE and not _of_ray(name)}
    waiting = []
    for index, bundle in enumerate(group.bundle_specs[:nodes]):
        others = {kind: amount for kind, amount in bundle.items() if kind not in ("CPU", "GPU", "memory")}
        options = part.options(
            num_cpus=bundle.get("CPU", 0),
            num_gpus=bundle.get("GPU", 0),
            memory=bundle.get("memory"),
            resources=others,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, index),
        )
        variables = mine | memory_environment() | own_code() | {CONFIGURATION: f"is_host={index == 0}"}
        waiting.append(options.remote(list(command), variables, LOCAL_ADDRESS))
    codes: list[int] = []
    while waiting:
        patience = WAIT if any(codes) else None
        done, waiting = ray.wait(waiting, timeout=patience)
        if not done:
            break
        code, said = ray.get(done[0])
        codes.append(code)
        print(said, flush=True)
    return next((code for code in codes if code), 0)


def _of_ray(name: str) -> bool:
    """Whether a variable is what Ray tells a process of itself."""
    return name.startswith("RAY_")


if __name__ == "__main__":
    die_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # which ends the parts
    raise SystemExit(main(int(sys.argv[1]), sys.argv[3:]))
