"""Docker: a file that makes an image of this program, which starts workers of the sweep."""

from __future__ import annotations

import json

from sweeps.commands.deployment import Deployment
from sweeps.workers.base import TUNABLES

BASE = "python:3.11-slim"


def docker(deployment: Deployment) -> str:
    """A Dockerfile, to be built in a checkout of the project."""
    folder = f"/shared/results/{deployment.name}"
    variables = {"GLIBC_TUNABLES": TUNABLES} | dict(deployment.profile.environment)
    lines = [
        "# In a checkout of the project:  docker build -t IMAGE -f THIS_FILE .",
        "# A worker, with the folder that all share:  docker run --init -v /shared:/shared IMAGE",
        f"# With a database instead:  docker run --init -e PGPASSWORD IMAGE --sweep {deployment.name} --store URL",
        "# and for a bucket also:  -e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY -e AWS_REGION -e AWS_ENDPOINT_URL",
        f"FROM {BASE}",
        "WORKDIR /src",
        "COPY requirements.lock pyproject.toml README.md LICENSE ./",
        "RUN pip install --no-cache-dir -r requirements.lock",
        "COPY . .",
        "RUN pip install --no-cache-dir --no-build-isolation --no-deps . && useradd --create-home worker",
        "USER worker",
        "WORKDIR /home/worker",
        *(f"ENV {name}={_quoted(value)}" for name, value in variables.items()),
        "STOPSIGNAL SIGTERM",
        f"ENTRYPOINT {json.dumps(['embed', 'worker'])}",
        f"CMD {json.dumps(['--sweep', folder])}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """A value in which Docker is to put no variables."""
    return '"' + "".join(f"\\{c}" if c in '\\"$`' else c for c in value) + '"'
