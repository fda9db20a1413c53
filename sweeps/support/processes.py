"""Processes that run this program's own code, and end together with those that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from recipe_planner.packages import ROOT
from sweeps.support.paths import FOLDER

_PDEATHSIG = 1  # of prctl: a signal when the parent is gone
_libc = ctypes.CDLL(None)  # here, for nothing may be loaded between fork and exec


def own_code() -> dict[str, str]:
    """Variables under which `python -m` runs the packages of this program, whatever others of their names there are.

    A folder that holds a runner.py or an analysis/ of its own would else hide ours: `python -m` looks there first.
    Relative paths stay those of the file that this process reads.
    """
    variables = {"PYTHONSAFEPATH": "1"} | {name: os.environ[name] for name in (FOLDER,) if name in os.environ}
    before = os.environ.get("PYTHONPATH", "")
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), before]))}


def die_with_parent(number: int) -> None:
    """Have this process get a signal when the one that started it is gone; only Linux can."""
    if sys.platform == "linux":
        _libc.prctl(_PDEATHSIG, number)


def end_group(process: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """End a process and all of its session: asked first, for srun and torchrun have others to end.

    grace: seconds between asking and killing, and as many to see that all are gone.
    """
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, grace)):
        signal_group(process, number)
        deadline = time.monotonic() + seconds
        while _group_lives(process) and time.monotonic() < deadline:
            time.sleep(0.05)
    process.wait()


def signal_group(process: subprocess.Popen[Any], number: int) -> bool:
    """Send a signal to a process and all of its session; False when there is nobody left to get it."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # the group is empty; macOS says "not permitted" for zombies
        return False
    return True


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    return signal_group(process, 0)


def end_descendants(grace: float = 2.0) -> None:
    """End all processes that this one started, and theirs, also those in sessions of their own. grace: seconds."""
    import psutil

    descendants = psutil.Process().children(recursive=True)
    for number in (signal.SIGTERM, signal.SIGKILL):  # srun and torchrun have others to end
        for process in descendants:
            with suppress(psutil.Error):
                process.send_signal(number)
        _, descendants = psutil.wait_procs(descendants, timeout=grace)
