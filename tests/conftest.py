"""What the tests share: a cache of their own, one thread, and a small file of real pairs."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path

import pytest

# Before torch or the readers are imported: nothing of a test lands in the user's own cache.
_cache = tempfile.TemporaryDirectory(prefix="recipe-planner-tests-", ignore_cleanup_errors=True)
os.environ["RECIPE_PLANNER_CACHE"] = _cache.name
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background job ignores Ctrl-C, and so would every command that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

_missing: dict[str, str] = {}


def missing(what: str, why: str) -> None:
    """Skip a test for want of something on this machine; the end of the run says so."""
    _missing[what] = why
    pytest.skip(f"{what}: {why}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what, why in _missing.items():
        terminalreporter.write_line(f"NOT TESTED: {what}: {why}", yellow=True, bold=True)


# Documented functions enough for a held-out pool, and the same in every CPython.
MODULES = ("argparse", "ast", "asyncio", "collections", "ctypes", "email", "http", "importlib", "inspect", "logging")
MODULES += ("multiprocessing", "pathlib", "random", "shutil", "statistics", "tarfile", "threading", "unittest")


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Code-search pairs of a few standard modules as JSONL: about a thousand, grouped by module."""
    from runner.data import python_env

    files = [f for f in python_env.source_files() if f.key.startswith(tuple(f"stdlib/{name}" for name in MODULES))]
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    seen = set()
    with open(path, "w", encoding="utf-8") as out:
        for file in files:
            for query, code in python_env.function_pairs(python_env.read_source(file.path) or ""):
                if query not in seen:
                    seen.add(query)
                    out.write(json.dumps({"query": query, "positive": code}) + "\n")
    return path


@pytest.fixture(scope="session")
def training(pairs_file: Path):
    """Conditions small enough for tests: real pairs, small batches and pools."""
    from sweeps.trial import Training

    return Training(data=str(pairs_file), batch_size=16, context=48, pool_size=32, pools=1)


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server."""
    from support.postgres_server import programs, server

    if not (bin := programs()):
        missing("the PostgreSQL store", "there is no server (Debian package `postgresql`; .ci/setup-postgres)")
    try:
        import psycopg  # noqa: F401 (is it there?)
    except ImportError:
        missing("the PostgreSQL store", "psycopg is not installed (extra postgres)")
    with server(bin) as running:
        yield running
