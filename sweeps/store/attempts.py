"""Attempts at a trial: who makes them, whether they live, and the claim that a worker holds."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.store.retry import CAUSES, LOST
from sweeps.support.checks import check_fields
from sweeps.trial import Trial

LEASE = 300.0  # s without a sign of life; NFS shows changed times up to 90 s late (nfs-ganesha issue 294)
ASKED = 60.0  # s between looks at a clock elsewhere
_LIMITS = {"pid": (1, 2**31 - 1), "started": (-1e12, 1e12), "state": (0, 1e20), "restarts": (0, 1e9)}
REASON = 1000  # characters of a sentence that are kept
_HOLDER = ("host", "boot", "pid", "started", "state", "job", "restarts")


@dataclass(frozen=True)
class Claim:
    """The right to run a trial for as long as no newer attempt at it exists."""

    trial: Trial
    attempt: int
    """Number of the attempt, from 1: the fencing token."""
    smaller: int = 0
    """Times that the micro-batch is to be halved, because memory ran out before."""


@dataclass(frozen=True)
class Attempt:
    """One try at a trial."""

    number: int
    """From 1."""
    host: str = ""
    """Name of the machine that runs it."""
    boot: str = ""
    """What tells that machine's processes from those of another boot or container."""
    pid: int = 0
    """Its process."""
    started: float = 0.0
    """Seconds since 1970 by that host's clock, only to be shown."""
    state: int = 0
    """When the checkpoint that it began from was written, ns; 0 without one."""
    job: str = ""
    """Number or name of the cluster's job that it runs in; "" outside of one."""
    restarts: int = 0
    """How often that job had been put back into the cluster's queue."""
    ended: str = ""
    """How it ended, as a sentence; "" while it may still run."""
    cause: str = ""
    """Why it ended, of retry.CAUSES."""

    @property
    def here(self) -> bool:
        """Whether its process would be seen from this one."""
        return (self.host, self.boot) == host_and_boot()

    @property
    def gone(self) -> bool:
        """Whether its process certainly runs no more. False when that cannot be seen from here."""
        return self.here and not _alive(self.pid)


def holder(state: int, job: Mapping[str, Any]) -> dict[str, Any]:
    """What an attempt by this process notes when it begins, the fields of Attempt."""
    host, boot = host_and_boot()
    return {"host": host, "boot": boot, "pid": os.getpid(), "started": time.time(), "state": state, **job}


def attempt_of(number: int, note: Any, cause: str = "", ended: str = "") -> Attempt:
    """An attempt from what it noted when it began. cause, ended: how it ended; "" while it may still run.

    One whose note is none was lost: nobody can tell whether it lives, and it must not be waited for.
    """
    noted = {name: note[name] for name in _HOLDER if name in note} if isinstance(note, dict) else {}
    try:
        check_fields(Attempt, {"number": number, **noted}, "", _LIMITS)
        if "pid" not in noted:
            raise ValueError("its checksum does not match")
    except ValueError as error:
        damaged = f"its note is damaged: {error}"
        return Attempt(number, cause=cause or LOST, ended=f"{ended}; {damaged}" if ended else damaged)
    return Attempt(number, **noted, cause=cause, ended=ended)


def ending_of(content: Mapping[str, Any], name: str) -> tuple[str, str]:
    """How an attempt ended, from what was left of that: its cause, and that as a sentence. name: of what was left."""
    if not content:
        return LOST, f"{name} cannot be read"
    cause = str(content.get("cause", ""))
    known = cause if cause in CAUSES else LOST  # older ends hold only a sentence
    return known, str(content.get("said") or cause)[:REASON]


class Clock:
    """The clock of a file server or a bucket, which stamps what all machines write; asked once a minute.

    ask: writes something and returns when it was written, by that clock. In between this machine counts the seconds.
    """

    def __init__(self, ask: Callable[[], float]) -> None:
        self._ask = ask
        self._asked = -ASKED
        self._ahead = 0.0  # of this machine's count

    def now(self) -> float:
        """Seconds since 1970 by that clock. Raises as `ask` does."""
        if time.monotonic() - self._asked > ASKED:
            begun = time.monotonic()
            self._ahead = self._ask() - begun
            self._asked = time.monotonic()
        return time.monotonic() + self._ahead


def host_and_boot() -> tuple[str, str]:
    """This host's name, and what tells its processes' numbers from those of another boot or container."""
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    return socket.gethostname(), boot


def this_host() -> str:
    """This host's name, as attempts note it."""
    return host_and_boot()[0]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    with suppress(OSError):  # a zombie answers but works no more
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
