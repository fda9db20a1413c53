"""SkyPilot: one task, launched once for every worker. Its machines share no folder: the sweep is in PostgreSQL or in a
bucket, and so may the copies of its checkpoints be."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import urlsplit

from sweeps.commands.deployment import STORE, Deployment
from sweeps.machine.cluster_file import ResourceClass
from sweeps.support.yaml_text import yaml_text
from sweeps.workers.base import TUNABLES, thread_environment
from sweeps.workers.classes import main_memory, worker_arguments

EXTRAS = "train,parquet,hub,postgres,s3"  # what trains, reads pairs, and reaches the database and the bucket
KEYS = {"s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")}


def skypilot(deployment: Deployment) -> str:
    """A task for the workers of a class, as a comment says to launch it. Raises ValueError where that cannot be."""
    if len(deployment.classes) > 1:
        names = ", ".join(resources.name for resources in deployment.classes)
        raise ValueError(f"the profile has the classes {names}; a task has one class: choose it with `class`")
    (resources,) = deployment.classes
    name = f"{deployment.name}-{deployment.label(resources)}"
    head = f"# A worker of the sweep; {resources.workers} at once: run this line so often, with another -n each time.\n"
    given = " ".join(f"--secret {secret}" for secret in _secrets(deployment))
    head += f"#   sky jobs launch -n {name}-1 {given} FILE.yaml\n"
    return head + yaml_text(_task(deployment, resources, name))


def _task(deployment: Deployment, resources: ResourceClass, name: str) -> dict[str, Any]:
    if resources.gpus and not deployment.gpu:
        raise ValueError(f"class {resources.name}: gpus is {resources.gpus}; name it with `gpu`, such as A100")
    if resources.nodes > 1 or resources.slots > 1 or resources.shards:
        raise ValueError(f"class {resources.name}: a worker has its own machine; nodes and slots must be 1, shards 0")
    wants: dict[str, Any] = {"cpus": f"{resources.cpus * resources.per_node}+", "use_spot": True}
    if memory := main_memory(resources):
        wants["memory"] = f"{memory:g}+"
    if resources.gpus:
        wants["accelerators"] = {deployment.gpu: resources.gpus}
    if deployment.image:
        wants["image_id"] = f"docker:{deployment.image}"
    told = worker_arguments(resources, deployment.profile, stays=True) if deployment.profile_text else []
    worker = shlex.join(["embed", "worker", "--sweep", f"sweeps/{deployment.name}", *told])
    variables = thread_environment(resources.cpus) | {"GLIBC_TUNABLES": TUNABLES}
    variables |= deployment.profile.environment
    task: dict[str, Any] = {"name": name, "resources": wants}
    if not deployment.image:
        task |= {"workdir": ".", "setup": f"pip install '.[{EXTRAS}]'"}
    run = "\n".join([*map(shlex.join, deployment.profile.setup), f'exec {worker} --store "${STORE}"'])
    return task | {"envs": variables, "secrets": dict.fromkeys(_secrets(deployment)), "run": run}


def _secrets(deployment: Deployment) -> list[str]:
    """Variables that are told at every launch: where the sweep is kept, and what opens the bucket of checkpoints."""
    return [STORE, *(KEYS.get(urlsplit(deployment.checkpoints).scheme, ()))]
