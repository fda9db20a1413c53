"""An S3 server of the tests' own, moto's, in memory: a process on a free port of loopback.

Run as a program it is that server. Requests wait for one another, because moto itself looks and writes in two steps: of
two conditional puts at once both may win there. One of its buckets ignores conditions, as some services do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUCKET = "sweeps"
UNCONDITIONAL = "unconditional"  # a bucket whose server ignores If-None-Match
PLACES = (Path(sys.executable), Path(__file__).resolve().parents[2] / ".venv-s3" / "bin" / "python")


def interpreter() -> Path | None:
    """A Python that has moto: this one, or that of .ci/setup-s3. None where there is none."""
    for python in PLACES:
        if python.exists() and not subprocess.run([python, "-c", "import moto.server"], capture_output=True).returncode:
            return python
    return None


def environment(port: int) -> dict[str, str]:
    """Variables under which clients find the server."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return dict.fromkeys(names, "tests") | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1"}


@contextmanager
def server(python: Path) -> Iterator[int]:
    """A running server with two empty buckets; its port."""
    process = subprocess.Popen([python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and process.stdin
        port = int(process.stdout.readline())
        for bucket in (BUCKET, UNCONDITIONAL):
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/{bucket}", method="PUT"))
        yield port
    finally:
        process.stdin.close()
        process.wait()


def main() -> None:
    """Serve until stdin ends."""
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto, one = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def application(environ, respond):
        if environ.get("PATH_INFO", "").startswith(f"/{UNCONDITIONAL}"):
            environ.pop("HTTP_IF_NONE_MATCH", None)
        with one:
            return list(moto(environ, respond))

    running = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    print(running.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
