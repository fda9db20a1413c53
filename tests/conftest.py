"""What the tests share: a cache of their own, one thread, and a small file of real pairs."""

from __future__ import annotations

import gc
import json
import os
import signal
import tempfile
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from runner.training import allocator
from support.missing import missing, not_tested
from sweeps.support import progress

MOST_KEPT = 1.5e9  # bytes of a process that runs tests

# Before torch or the readers are imported: nothing of a test lands in the user's own cache. A process of xdist ends
# without a word: its folder lies in that of the process that started it, which removes them all.
_within = os.environ["RECIPE_PLANNER_CACHE"] if "PYTEST_XDIST_WORKER" in os.environ else None
_cache = tempfile.TemporaryDirectory(prefix="recipe-planner-tests-", dir=_within, ignore_cleanup_errors=True)
os.environ["RECIPE_PLANNER_CACHE"] = _cache.name
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Truths hold on slow machines too.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell's background job ignores Ctrl-C, and so would every command that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Fixtures below that start an installed server or browser. What uses one is marked `service`.
SERVICES = {"postgres", "s3", "cluster", "ray_cluster", "chromium"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Marks what uses a service, and puts files with long tests first: at the end no process waits for a long one."""
    for item in items:
        if SERVICES & set(item.fixturenames):
            item.add_marker("service")
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("service")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """What is loaded now stays to the end: looking through it for garbage again and again took a tenth of the time."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logfinish() -> None:
    """What is freed goes back to the system: glibc keeps it in a heap that grew to many GB over thousands of tests."""
    if psutil.Process().memory_info().rss > MOST_KEPT:
        allocator.give_back()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in not_tested(terminalreporter.getreports("skipped")):
        terminalreporter.write_line(line, yellow=True, bold=True)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command is slow enough to say how long it has taken: what tests expect to be said is the same everywhere."""
    monkeypatch.setattr(progress, "SILENCE", 600.0)


# Documented functions enough for a held-out pool, and the same in every CPython.
MODULES = ("argparse", "ast", "asyncio", "collections", "ctypes", "email", "http", "importlib", "inspect", "logging")
MODULES += ("multiprocessing", "pathlib", "random", "shutil", "statistics", "tarfile", "threading", "unittest")


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Code-search pairs of a few standard modules as JSONL: about a thousand, grouped by module."""
    from sweeps.data import python_env

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


@pytest.fixture
def database(postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database, of one schema; the environment has its password."""
    import psycopg

    from support.postgres_server import PASSWORD

    schema = f"s{os.urandom(4).hex()}"
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return str(postgres.url(schema, password=False))


@pytest.fixture(scope="session")
def s3_server():
    """The port of an S3 server."""
    from support.s3_server import interpreter, server

    if not (python := interpreter()):
        missing("object storage", "there is no S3 server (moto; .ci/setup-s3 installs it)")
    try:
        import obstore  # noqa: F401 (is it there?)
    except ImportError:
        missing("object storage", "obstore is not installed (extra s3)")
    with server(python) as port:
        yield port


@pytest.fixture
def s3(s3_server: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an S3 bucket that is this test's own; the environment says where its server is."""
    from support.s3_server import BUCKET, environment

    for name, value in environment(s3_server).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{os.urandom(4).hex()}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    """A Slurm cluster of four nodes on this machine."""
    from support import slurm_cluster

    if why := slurm_cluster.missing():
        missing("Slurm", f"{why}; as root, .ci/setup-slurm installs it")
    running = slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def ray_cluster():
    """A Ray cluster of three nodes on this machine, of one CPU each; the last one also has two GPUs, by its word."""
    from support import ray_cluster

    if why := ray_cluster.missing():
        missing("Ray", why)
    running = ray_cluster.RayCluster()
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium; it ends with the module, for its event loop would be in the way of others."""
    from support.browser import browser, program

    if not (path := program()):
        missing("the page in a browser", "there is no Chromium (Debian package `chromium`; .ci/setup-chromium)")
    try:
        import playwright  # noqa: F401 (is it there?)
    except ImportError:
        missing("the page in a browser", "playwright is not installed (extra dev)")
    with browser(path) as running:
        yield running


@pytest.fixture(scope="session")
def node() -> str:
    """The program that runs the page's scripts without a browser."""
    from support.node import program

    if not (path := program()):
        missing("the page's scripts", "there is no Node (extra dev brings one with playwright)")
    return path
