"""A sweep in optuna-dashboard: see studies.py for what is shown, dashboard_server.py for who may see it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from sweeps.commands import dashboard_server
from sweeps.commands.dashboard_server import HOST
from sweeps.commands.studies import Study
from sweeps.store.base import Store
from sweeps.support.processes import die_with_parent, own_code

START = 120.0  # s that the server may take to answer: what it imports may lie on a slow file system
LOOK = 3.0  # s between looks at the sweep


def serve(store: Store, port: int, browse: bool, say: Callable[[str], None]) -> None:
    """Show the sweep, as it goes on, until interrupted. port: 0 for any free one. Raises ValueError where it cannot."""
    if find_spec("optuna_dashboard") is None:
        raise ValueError("the dashboard needs optuna-dashboard; pip install 'recipe-planner[dashboard]'")
    port = _free(port)
    for number in (signal.SIGTERM, signal.SIGHUP):  # the server ends with this process, however that ends
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="sweep-dashboard-") as folder:
        path = Path(folder) / "study.log"
        study = Study(store, path)
        study.update()
        command = [sys.executable, "-P", "-m", dashboard_server.__name__, str(path), str(port)]
        with open(Path(folder) / "log.txt", "wb") as log:
            server = subprocess.Popen(
                command,
                env=os.environ | own_code(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_ends_with_us,  # noqa: PLW1509 (one call into C, which takes no lock)
            )
        try:
            _wait(server, port, Path(folder) / "log.txt")
            address = f"http://{HOST}:{port}/"
            say(f"{len(study)} trials at {address}  (updated while the sweep runs; Ctrl-C ends it)")
            if browse:
                webbrowser.open(address)
            while server.poll() is None:
                time.sleep(LOOK)
                study.update()
        finally:
            server.terminate()
            server.wait()


def _ends_with_us() -> None:
    """In the new process, before it is anything else."""
    die_with_parent(signal.SIGTERM)


def _free(port: int) -> int:
    """The port, or a free one for 0. Raises ValueError when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise ValueError(f"`port` is {port}, which cannot be used ({error}); 0 selects a free one") from None
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    if server.poll() is None:
        raise ValueError(f"optuna-dashboard did not answer within {START:g} s")
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise ValueError(f"optuna-dashboard did not start: {lines[-1] if lines else 'no output'}")
