"""A PostgreSQL server of the tests' own: in a temporary folder, on a free port, never as root."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "s3cret/of@the:tests"


def programs() -> Path | None:
    """Where initdb and pg_ctl are, the newest; None when there are none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")]
    found += [Path(path).resolve().parent for path in [shutil.which("pg_ctl")] if path]
    return max(found, key=lambda path: [int(part) for part in path.parts if part.isdecimal()], default=None)


class Server:
    """A running server; `stop` and `start` as often as wanted."""

    def __init__(self, folder: Path, bin: Path) -> None:
        self.folder, self.bin = folder, bin
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.user = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.user = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
            shutil.chown(folder, self.user)
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        self._do("initdb", "-D", "data", "-U", "tests", "-A", "scram-sha-256", "--pwfile", "password", "-N")
        self.start()

    def _do(self, program: str, *arguments: str) -> None:
        command = [str(self.bin / program), *arguments]
        log = self.folder.parent / f"{self.folder.name}.log"
        with open(log, "ab") as said:
            done = subprocess.run(
                command, cwd=self.folder, user=self.user, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        assert done.returncode == 0, log.read_text()

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._do("pg_ctl", "-D", "data", "-w", "-o", options, "start")

    def stop(self) -> None:
        """At once, as if the machine had lost power."""
        self._do("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def url(self, schema: str = "public", password: bool = True) -> str:
        """Of the tests' database; each schema is as good as a database of its own."""
        secret = ":" + PASSWORD.replace("/", "%2F").replace("@", "%40").replace(":", "%3A") if password else ""
        return f"postgresql://tests{secret}@127.0.0.1:{self.port}/postgres?options=-csearch_path%3D{schema}"


@contextmanager
def server(bin: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    made = None
    try:
        made = Server(folder, bin)
        yield made
    finally:
        if made:
            made.stop()
        shutil.rmtree(folder)
        folder.with_name(f"{folder.name}.log").unlink(missing_ok=True)
