"""Freed memory is kept for what comes next, and given back when that is asked for."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's heap")
PROGRAM = """
import json, resource, sys
from pathlib import Path
from runner import heap
if sys.argv[1] == "keep":
    heap.keep_freed()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
def fill():
    parts = [bytearray(b"x") * 2**22 for _ in range(16)]
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    fill()
faults, kept = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, resident()
heap.give_back()
print(json.dumps([faults, kept - resident()]))
"""


def seen(how):
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_memory_that_is_kept_is_not_fetched_again():
    (faults, given_back), (others, _) = seen("keep"), seen("leave")
    assert faults < 0.05 * others
    assert given_back > 0.8 * 16 * 2**22
