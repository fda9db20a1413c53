"""Opening the store of a sweep: in its folder, or in the database that the folder names."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from sweeps.store.attempts import LEASE
from sweeps.store.base import Store
from sweeps.store.database import read_note, without_password
from sweeps.store.folder import FolderStore
from sweeps.store.postgres import PostgresStore


def open_store(directory: Path, lease: float = LEASE, url: str = "") -> Store:
    """The store of the sweep in `directory`: in the database at `url`, or in the one that store.json names, or there.

    Raises ValueError when the sweep is in another database already. The password of `url` goes into PGPASSWORD, for
    this process and those that it starts, and nowhere else.
    """
    given = without_password(url) if url else ""
    try:
        noted = read_note(directory)
    except ValueError:
        if not given:
            raise
        noted = given  # said again: the database itself knows which sweep it holds
    url = given or noted
    if noted and url != noted:
        raise ValueError(f"{directory}: this sweep is kept in {noted}, not in {url}")
    return PostgresStore(directory, url, lease) if url else FolderStore(directory, lease)


def keep_password_out_of_sight() -> None:
    """Where this process's own arguments hold the password of --store, be the same process again without it.

    Everybody on a machine can read what its processes were started with. Nothing happens for an address that is refused
    anyway, for that ends the process.
    """
    arguments = [*sys.orig_argv]
    for index, argument in enumerate(arguments):
        flag, equals, url = argument.partition("=") if argument.startswith("--store=") else ("", "", argument)
        if flag or arguments[index - 1] == "--store":
            with suppress(ValueError):
                arguments[index] = f"{flag}{equals}{without_password(url)}"
    if arguments != sys.orig_argv:
        sys.stdout.flush()
        os.execv(sys.executable, arguments)


def open_folder(directory: Path) -> Store:
    """What the folder of a sweep itself holds, even where a database has more."""
    return FolderStore(directory)


def join(directory: Path, url: str) -> None:
    """Make `directory` this machine's folder of a sweep that was begun in the database. Raises ValueError if not."""
    store = open_store(directory, url=url)
    if isinstance(store, PostgresStore):
        store.fetch()


def add_store(command: argparse.ArgumentParser) -> None:
    """Add the option --store."""
    command.add_argument(
        "--store",
        default="",
        metavar="URL",
        help="postgresql://USER@HOST/DATABASE, for machines that share no folder (password: PGPASSWORD or ~/.pgpass)",
    )
