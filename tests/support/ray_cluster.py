"""A Ray cluster of several nodes on this machine's loopback, for tests: a `ray start` for each node."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from support.waiting import wait_for

# A dead node is seen after three seconds, and nodes wait ten for a head that is gone; Ray's own are 15 and 60. Workers
# are no nicer than the tests that wait for them.
HASTY = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def missing() -> str:
    """Why there can be no cluster here; "" when there can."""
    try:
        import ray  # noqa: F401 (is it there?)
    except ImportError:
        return "ray is not installed (extra ray)"
    return ""


NODES = {"head": (), "n2": (), "n3": ("--num-gpus=2", '--resources={"roomy": 1}')}  # GPUs by its word alone


class RayCluster:
    """A head and two further nodes, of one CPU each. `environment` makes commands talk to them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short, for it holds sockets
        self.port = _free_port()
        self.address = f"127.0.0.1:{self.port}"
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}  # nobody else runs code here
        self.environment = os.environ | HASTY | token | {"RAY_ADDRESS": self.address}
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for name in NODES:
            self.begin(name)

    def begin(self, name: str, tries: int = 4) -> None:
        """Start a node, or start it again after `kill`. Two at once get in each other's way.

        tries: a node gives up when its agents, which are Python's, take longer than 15 s to start; a busy machine does.
        """
        options = ["--address", self.address]
        if name == "head":
            options = ["--head", "--port", str(self.port), "--include-dashboard=false"]
            options += ["--temp-dir", str(self.folder / str(len(list(self.folder.iterdir()))))]
        program = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
        common = ["--num-cpus", "1", "--object-store-memory", "80000000", *NODES[name]]
        said = self.folder / f"{name}.out"
        with open(said, "wb") as out:
            begun = self.nodes[name] = subprocess.Popen(
                [sys.executable, "-c", program, "start", *options, *common, "--block"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        wait_for(lambda: "Ray runtime started" in said.read_text() or begun.poll() is not None, 180)
        if begun.poll() is not None:
            assert tries > 1, said.read_text()
            self.kill(name)
            self.begin(name, tries - 1)

    def kill(self, name: str) -> None:
        """The node loses its power: all its processes are gone at once."""
        process = self.nodes.pop(name)
        victims = [process.pid, *_descendants(process.pid)]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, or one would tell of another's end
            for pid in victims:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            victims += [pid for pid in _descendants(process.pid) if pid not in victims]
        process.wait()

    def restart_head(self) -> None:
        """The head loses its power and is there again. It remembers nothing: the others go down with it.

        By themselves they would end when they have missed it for ten seconds. On a slow machine their workers would
        take up its trials until then, and lose those a second time.
        """
        for name in sorted(self.nodes):  # the head first
            self.kill(name)
        self.revive()

    def revive(self) -> None:
        """Start what was killed."""
        for name in NODES:
            if name not in self.nodes:
                self.begin(name)

    def node_of(self, pid: int) -> str:
        """The node that a process runs on; "" when it is gone."""
        return next((name for name, process in self.nodes.items() if pid in _descendants(process.pid)), "")

    def stop(self) -> None:
        for name in list(self.nodes):
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)


def _descendants(pid: int) -> list[int]:
    import psutil

    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
