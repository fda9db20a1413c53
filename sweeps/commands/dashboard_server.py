"""The server behind `sweep dashboard`: optuna-dashboard on the loopback alone, which answers this machine's browser.

A page of somebody else's that has its own name resolve to 127.0.0.1 (DNS rebinding) sends that name as the Host, and a
page that posts across sites its own Origin: both are refused.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sweeps.commands.studies import journal
from sweeps.support.processes import die_with_parent

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class OwnBrowserOnly:
    """Passes on what names this server as its host, and comes from no other site."""

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self.places = {f"{name}:{port}" for name in NAMES} | ({*NAMES} if port == 80 else set())

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        if environ.get("HTTP_HOST") in self.places and (origin is None or urlsplit(origin).netloc in self.places):
            return self.app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"this server answers http://{HOST} alone\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: nobody reads it."""


def main(studies: Path, port: int) -> None:
    """Serve the studies in a journal file until the parent process ends, and remove its folder with it."""
    die_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    from optuna_dashboard import wsgi

    try:
        app = OwnBrowserOnly(wsgi(journal(studies)), port)
        make_server(HOST, port, app, server_class=_Server, handler_class=_Quiet).serve_forever()
    finally:
        shutil.rmtree(studies.parent, ignore_errors=True)  # where the parent was killed nobody else does


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
