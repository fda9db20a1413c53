"""The dashboard's server answers this machine's own browser alone, and ends with what started it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from support.sweep_process import spawn
from support.toy_stores import fill
from support.waiting import wait_for
from sweeps.commands.dashboard_server import OwnBrowserOnly
from sweeps.store.folder import FolderStore


def answer(headers: dict[str, str], port: int = 8080) -> str:
    """The status that a request with these headers gets."""
    told = []

    def app(environ, start_response):
        start_response("200 OK", [])
        return []

    environ = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    OwnBrowserOnly(app, port)(environ, lambda status, _: told.append(status))
    return told[0]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8080"},
        {"host": "localhost:8080"},
        {"host": "localhost:8080", "origin": "http://localhost:8080"},
    ],
)
def test_the_own_browser_is_answered(headers):
    assert answer(headers) == "200 OK"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "evil.example:8080"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8080"},
        {"host": "127.0.0.1:8081"},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1:8080", "origin": "http://evil.example"},
        {"host": "127.0.0.1:8080", "origin": "null"},
    ],
)
def test_others_are_not(headers):
    assert answer(headers) == "403 Forbidden"


@pytest.fixture
def serving(tmp_path):
    """A dashboard of a sweep as a process, the process of its server, and its address."""
    store = FolderStore(tmp_path / "sweep")
    fill(store, 2)
    arguments = ("dashboard", str(store.directory), "--port", "0", "--no-browser")
    process = spawn(*arguments, stderr=subprocess.PIPE, text=True)
    line = next(line for line in process.stderr if "trials at" in line)
    (server,) = psutil.Process(process.pid).children()
    try:
        yield process, server, re.search(r"127\.0\.0\.1:\d+", line)[0]
    finally:
        process.kill()
        process.communicate()


def test_it_listens_on_the_loopback_alone_and_refuses_another_host(serving):
    _, server, place = serving
    listening = [each.laddr.ip for each in server.net_connections() if each.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    with urllib.request.urlopen(f"http://{place}/api/studies", timeout=30) as answered:
        assert answered.status == 200
    request = urllib.request.Request(f"http://{place}/api/studies", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=30)


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGHUP))],
)
def test_it_ends_with_its_parent_however_that_ends(serving, number):
    process, server, place = serving
    studies = Path(server.cmdline()[-2])
    assert studies.exists()
    process.send_signal(number)
    process.wait(30)
    wait_for(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    wait_for(lambda: not studies.parent.exists())
    host, port = place.split(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0
