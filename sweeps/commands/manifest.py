"""`sweep manifest`: what Kubernetes, SkyPilot or Docker are to be told to start the workers of a sweep."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from sweeps.commands.deployment import Deployment, simple
from sweeps.commands.docker import docker
from sweeps.commands.kubernetes import kubernetes
from sweeps.commands.skypilot import skypilot
from sweeps.experiment.sweep_file import read_sweep
from sweeps.machine.cluster_file import ClusterProfile, ResourceClass, read_cluster_profile
from sweeps.store.objects import checked_url
from sweeps.support.atomic import write_text
from sweeps.support.checks import choice, require
from sweeps.support.paths import refuse_to_replace, relative_to

MANIFESTS: dict[str, Callable[[Deployment], str]] = {"kubernetes": kubernetes, "skypilot": skypilot, "docker": docker}
# What these may be, so that no engine takes one for something else, and that in words.
_OBJECT = (re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"), "lower-case letters, digits, '.' and '-'")
NAMES = {
    "image": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,400}"), "a name such as registry.org/team/image:tag"),
    "claim": _OBJECT,
    "secret": _OBJECT,
    "gpu": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}"), "a name such as A100"),
}


def manifest(arguments: argparse.Namespace) -> int:
    """Run `sweep manifest`; returns the exit code."""
    refuse_to_replace(arguments.write, arguments.force)
    with relative_to(arguments.file):
        read_sweep(arguments.file)  # one that cannot be run is refused here, and not by every pod
    text = MANIFESTS[arguments.engine](_deployment(arguments))
    if arguments.write is None:
        sys.stdout.write(text)
    else:
        write_text(arguments.write, text)
        print(arguments.write)
    return 0


def _deployment(arguments: argparse.Namespace) -> Deployment:
    for name, (like, words) in NAMES.items():
        value = getattr(arguments, name)
        require(f"`{name}`", value, not value or bool(like.fullmatch(value)), words)
    path = arguments.profile
    profile = read_cluster_profile(path) if path else ClusterProfile((ResourceClass("worker", memory=4.0),))
    only = getattr(arguments, "class")
    if only:
        choice("`class`", only, [resources.name for resources in profile.classes])
    return Deployment(
        name=simple(arguments.file.stem),
        text=arguments.file.read_text(encoding="utf-8"),
        profile=profile,
        profile_text=path.read_text(encoding="utf-8") if path else "",
        only=only,
        image=arguments.image,
        claim=arguments.claim,
        secret=arguments.secret,
        checkpoints=checked_url(arguments.checkpoints, "`checkpoints`") if arguments.checkpoints else "",
        gpu=arguments.gpu,
    )


def add_manifest(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `sweep manifest`."""
    command.add_argument("file", type=Path, metavar="FILE.toml", help="the sweep file")
    command.add_argument(
        "--for", dest="engine", choices=list(MANIFESTS), required=True, help="system that starts the workers"
    )
    command.add_argument("--profile", type=Path, metavar="FILE.toml", help="cluster profile: the classes of workers")
    command.add_argument("--class", default="", metavar="C", help="only the workers of this class of the profile")
    command.add_argument("--image", default="", help="container image of the workers")
    command.add_argument("--claim", default="", help="kubernetes: claim of the volume that all pods share")
    command.add_argument(
        "--secret",
        default="",
        help="kubernetes: secret with the key url, a PostgreSQL database or a bucket; its other keys are variables",
    )
    command.add_argument("--checkpoints", default="", metavar="URL", help="copy checkpoints there: s3://BUCKET/PREFIX")
    command.add_argument("--gpu", default="", metavar="NAME", help="skypilot: which GPU, such as A100")
    command.add_argument("--write", type=Path, metavar="PATH", help="write to this file (default: print)")
    command.add_argument("--force", action="store_true", help="replace an existing file")
