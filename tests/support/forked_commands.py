"""Commands as processes that begin at once: forked from one that has loaded what they import and has no threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# argv: a module with a `main`, a file of names of modules. A line on stdin: the folder and the arguments of a command.
# It answers with the process's number, which nobody else gets until it is asked by a second line for the exit status.
SERVER = """
import json, os, sys
from contextlib import suppress
from importlib import import_module
command = import_module(sys.argv[1])
for name in open(sys.argv[2]).read().split():
    with suppress(Exception):
        import_module(name)
print(flush=True)
while line := sys.stdin.readline():
    folder, arguments = json.loads(line)
    pid = os.fork()
    if not pid:
        os.chdir(folder)
        for number, name in enumerate((os.devnull, "stdout", "stderr")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        sys.argv[1:] = arguments
        sys.exit(command.main())
    print(pid, flush=True)
    sys.stdin.readline()
    print(os.waitpid(pid, 0)[1], flush=True)
"""
LOADED = """
import sys
from importlib import import_module
command, listed = import_module(sys.argv.pop(1)), sys.argv.pop(1)
code = command.main()
open(listed, "w").write(" ".join(name for name in [*sys.modules] if not name.startswith("__")))
sys.exit(code)
"""


class Commands:
    """Starts a command again and again in the folder that it has been run in once, to its end."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server, self._folder = server, folder

    def start(self, *arguments: str) -> int:
        """Returns the number of the process; `end` must be called before the next."""
        return self._ask(json.dumps([str(self._folder), arguments]))

    def end(self) -> tuple[int, str]:
        """Waits for the process to end; returns its exit code (negative: the signal) and what it has said on stderr."""
        code = os.waitstatus_to_exitcode(self._ask(""))
        return code, (self._folder / "stderr").read_text()

    def _ask(self, line: str) -> int:
        self._server.stdin.write(f"{line}\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@contextmanager
def commands(module: str, arguments: list[str], folder: Path) -> Iterator[Commands]:
    """Starts of the command in `module`. arguments: of the first run, in `folder`, that tells what is to be loaded."""
    options = {"cwd": folder, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    listed = str(folder / "modules")
    line = [sys.executable, "-c", LOADED, module, listed, *arguments]
    done = subprocess.run(line, capture_output=True, **options)
    assert done.returncode == 0, done.stderr
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", SERVER, module, listed], **pipes, **options) as server:
        server.stdout.readline()
        yield Commands(server, folder)
        server.stdin.close()
