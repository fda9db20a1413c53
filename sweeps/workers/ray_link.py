"""`sweep run`'s end of the line to the process that talks to Ray: orders out, events in, without ever waiting."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from sweeps.support.atomic import following_no_link
from sweeps.support.json_io import read_end
from sweeps.support.processes import own_code, signal_group
from sweeps.workers.base import last_line

LINE = 160  # characters of what Ray says that are kept
# Time, process and place in Ray's own code before an error of its; stack traces follow those, and mean nothing here.
_ERROR = re.compile(r"\[[^\]]* [CEF] [^\]]*\] (?:\([^)]*\) )?\S+: *(?:.*Check failed: )?(.*)")
Event = dict[str, Any]  # see ray_driver.py


class Link:
    """One process of `ray_driver`, and what it tells."""

    def __init__(self, address: str, log: Path) -> None:
        self.log = log
        with open(log, "ab", opener=following_no_link) as out:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sweeps.workers.ray_driver", address],
                # Ray reports its use to its makers unless it is told not to.
                env={"RAY_USAGE_STATS_ENABLED": "0"} | os.environ | own_code(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
                start_new_session=True,  # Ctrl-C reaches only us
            )
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        assert self._process.stdout is not None
        self._thread = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._thread.start()

    def _listen(self, lines: IO[str]) -> None:
        for line in lines:
            with suppress(json.JSONDecodeError):  # the last one of a process that was killed
                self._events.put(json.loads(line))

    def events(self) -> Iterator[Event]:
        """What was told since last asked."""
        with suppress(queue.Empty):
            while True:
                yield self._events.get_nowait()

    @property
    def over(self) -> bool:
        """Whether the process has ended and all that it told was taken."""
        return self._process.poll() is not None and not self._thread.is_alive() and self._events.empty()

    @property
    def last_words(self) -> str:
        """Why the process ended, as far as can be told: the last line that it or Ray printed."""
        if self._process.returncode == -signal.SIGALRM:
            return "the Ray cluster does not answer"
        text = read_end(self.log)
        ours = last_line(text).startswith("no Ray cluster")
        errors = [] if ours else [found[1] for line in text.splitlines() if (found := _ERROR.match(line))]
        said = errors[-1] if errors else last_line(text)
        return said[:LINE] or f"exit code {self._process.returncode}"

    def order(self, **what: Any) -> None:
        """Send an order; one that cannot be sent is as good as carried out, for all actors end with the process."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):
            print(json.dumps(what), file=self._process.stdin, flush=True)

    def close(self, seconds: float) -> None:
        """Have all actors stopped within so many seconds, and end the process."""
        self.order(stop=None, grace=seconds)
        try:
            assert self._process.stdin is not None
            with suppress(OSError):
                self._process.stdin.close()
            self._process.wait(seconds + 10)
        except subprocess.TimeoutExpired:
            pass
        finally:  # a second Ctrl-C ends the patience, not the cleaning up
            signal_group(self._process, signal.SIGKILL)
            self._process.wait()
