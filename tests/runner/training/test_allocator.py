"""Freed memory is kept for what comes next, finds use again, and is given back when that is asked for."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from sweeps.workers.base import TUNABLES, environment, memory_environment

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's heap")
PROGRAM = """
import json, resource, sys
from pathlib import Path
from runner.training import allocator
if sys.argv[1] == "keep":
    allocator.keep_freed()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
def fill():
    parts = [bytearray(b"x") * 2**22 for _ in range(16)]
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    fill()
faults, kept = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, resident()
allocator.give_back()
print(json.dumps([faults, kept - resident()]))
"""


def faults_and_bytes_given_back(how):
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_memory_that_is_kept_is_not_fetched_again():
    (faults, given_back), (others, _) = faults_and_bytes_given_back("keep"), faults_and_bytes_given_back("leave")
    assert faults < 0.05 * others
    assert given_back > 0.8 * 16 * 2**22


ALIGNED = """
import ctypes, json, random
from runner.training import allocator
allocator.keep_freed()
class Figures(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena b c d e f g h i j".split()]
libc, draw = ctypes.CDLL(None), random.Random(0)
libc.malloc.restype, libc.mallinfo2.restype = ctypes.c_void_p, Figures
def tensor():
    place = ctypes.c_void_p()
    libc.posix_memalign(ctypes.byref(place), ctypes.c_size_t(64), ctypes.c_size_t(2**20 + 16 * draw.randrange(2**14)))
    return place
def use():
    tensors = []
    for _ in range(20):
        tensors.append(tensor())
        libc.malloc(ctypes.c_size_t(draw.choice((40, 72, 104))))
    for each in draw.sample(tensors, 20):
        libc.free(each)
    return libc.mallinfo2().arena
start = libc.mallinfo2().arena
first, *_, last = [use() - start for _ in range(200)]
print(json.dumps([first, last]))
"""


def arena(variables):
    """Bytes that glibc has asked for after one round and after 200, in a process with these variables."""
    inherited = {name: text for name, text in os.environ.items() if name != "GLIBC_TUNABLES"}
    program = [sys.executable, "-c", ALIGNED]
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=inherited | variables)
    return json.loads(done.stdout)


def test_a_worker_uses_aligned_memory_again_although_small_memory_stays(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    first, last = arena(memory_environment())
    assert last < 2.5 * first
    assert arena({})[1] > 2 * last


def test_workers_keep_the_tunables_that_the_user_set(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert environment(1)["GLIBC_TUNABLES"] == TUNABLES
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072")
    assert environment(1)["GLIBC_TUNABLES"] == "glibc.malloc.trim_threshold=131072"


def test_a_command_stays_the_process_that_was_started():
    program = "import os, sys; from runner.cli import main; sys.argv = ['embed', 'prepare', 'none.toml']\n"
    program += "print(main(), os.environ.get('GLIBC_TUNABLES'))"
    variables = {name: text for name, text in os.environ.items() if name != "GLIBC_TUNABLES"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables, check=True)
    assert done.stdout == "2 None\n"
