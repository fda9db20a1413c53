"""What runs on the nodes of a Ray cluster: a worker as a process of its own, and one node's part of a trial on several.

Ray carries these to nodes whose own interpreter may lack this program: they import nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

NO_FOLDER, NO_PROGRAM = 66, 127  # exit codes of what could not be started (EX_NOINPUT of sysexits.h, and a shell's)
_TAIL = 20_000  # bytes of what was printed that are looked at
_PDEATHSIG = 1  # of prctl: a signal when the parent is gone


class WorkerProcess:
    """An actor with one worker. `run` returns when that ends, and `stop`, called meanwhile, lets it save and leave."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False
        self._outcome: tuple[int, str] | None = None
        self._over = threading.Event()

    def run(self, *arguments: Any) -> tuple[int, str]:
        """What became of a worker, see `_run`."""
        self._outcome = self._run(*arguments)
        self._over.set()
        return self._outcome

    def outcome(self) -> tuple[int, str] | None:
        """What `run` returned or will return, for whoever lost the connection meanwhile."""
        self._over.wait()
        return self._outcome

    def _run(
        self, command: Sequence[str], variables: Mapping[str, str], own: tuple[str, str], folder: str, log: str
    ) -> tuple[int, str]:
        """The exit code of a worker, and the last line that it printed.

        variables: of its environment, besides this node's. own: names of the variables for this process's id and this
        node's address. folder: of the sweep, "" where nodes share none. log: what it prints is appended there; a name
        alone is that of a file among the node's temporary ones.
        """
        address = _address()
        here = dict(zip(own, (str(os.getpid()), address), strict=True))
        if folder and not os.path.isdir(folder):
            return (
                NO_FOLDER,
                f"node {address} cannot access {folder}; share that folder, or store the sweep elsewhere (--store)",
            )
        path = os.path.join(tempfile.gettempdir(), log)  # which is `log` where that is a whole path
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with open(path, "ab", opener=lambda name, _: os.open(name, flags, 0o644)) as out:
            begun = out.tell()
            if self._told:
                return 0, "told to stop before it started"
            try:
                self._process = subprocess.Popen(
                    command,
                    env={**os.environ, **variables, **here},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            except OSError as error:
                return NO_PROGRAM, f"node {address}: {command[0]}: {error.strerror}"
            code = self._process.wait()
        return code, _last_line(_end(path, begun))

    def stop(self) -> None:
        """Let the worker save and leave."""
        self._told = True
        if self._process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGTERM)


def run_part(command: Sequence[str], variables: Mapping[str, str], own: str) -> tuple[int, str]:
    """Run one node's part of a trial: its exit code, and the end of what it printed.

    variables: of its environment, besides this node's. own: name of the variable for this node's address.
    """
    with tempfile.NamedTemporaryFile() as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **variables, own: _address()},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (one call into C, which takes no lock)
        )
        code = process.wait()
        return code, _end(out.name, 0)


def _die_with_parent() -> None:
    """In the new process: it ends with the one that Ray ends, however that comes."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)


def _address() -> str:
    """This node's address, as the others of the cluster know it."""
    import ray

    return str(ray.util.get_node_ip_address()) or socket.gethostname()


def _end(path: str, begun: int) -> str:
    """The end of what was printed into a file behind its first `begun` bytes."""
    with open(path, "rb") as file:
        file.seek(max(begun, os.path.getsize(path) - _TAIL))
        return file.read().decode("utf-8", errors="replace")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")
