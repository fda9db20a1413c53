"""Opening the store of a sweep: in its folder, or in the database that the folder names."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from sweeps.machine.measured import cache_folder
from sweeps.store.attempts import LEASE
from sweeps.store.base import Store
from sweeps.store.bucket import BucketStore
from sweeps.store.database import without_password
from sweeps.store.folder import FolderStore
from sweeps.store.note import Note, checked_store, read_note, refuse_other_copies
from sweeps.store.objects import checked_url, is_objects, is_place_of_objects
from sweeps.store.postgres import PostgresStore


def open_store(directory: Path, lease: float = LEASE, url: str = "", checkpoints: str = "") -> Store:
    """The store of the sweep in `directory`: at `url`, or where its note says, or in the folder itself.

    checkpoints: URL of objects for copies of checkpoints, where it is to have such. Raises ValueError when the sweep is
    in another store already. The password of `url` goes into PGPASSWORD, for this process and those that it starts, and
    nowhere else.
    """
    given = Note(checked_store(url) if url else "", checked_url(checkpoints, "`checkpoints`") if checkpoints else "")
    try:
        noted = read_note(directory)
    except ValueError:
        if not given.store:
            raise
        noted = given  # said again: the store itself knows which sweep it holds
    if noted.store and given.store and given.store != noted.store:
        raise ValueError(f"{directory}: this sweep is stored in {noted.store}, not in {given.store}")
    if noted.checkpoints:
        refuse_other_copies(directory, noted.checkpoints, given.checkpoints)
    store, copies = given.store or noted.store, given.checkpoints or noted.checkpoints
    if not store:
        return FolderStore(directory, lease, copies)
    return (BucketStore if is_objects(store) else PostgresStore)(directory, store, lease, copies)


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


def placed(place: str | Path, url: str = "", own: Path | None = None) -> tuple[Path, str]:
    """The folder on this machine and the URL of the store ("": as the folder says), for what names a sweep.

    place: the sweep's folder, or its URL among objects, whose last part is the sweep's name. url: of the store, if it
    is given apart. own: where the folder of a URL lies; else in results/, where that is this sweep's, or in the cache.
    """
    if isinstance(place, Path) or not is_place_of_objects(place):
        return Path(place), url
    if url:
        raise ValueError(f"the URL {checked_url(place)} already names the store; leave out `store`")
    store, _, name = checked_url(place).rpartition("/")
    directory = (own or Path("results")) / name
    if not name or store.endswith(":/"):
        raise ValueError(f"{place}: names no sweep; give s3://BUCKET/NAME or s3://BUCKET/PREFIX/NAME")
    with suppress(ValueError):
        if own or read_note(directory).store == store:
            return directory, store
    return cache_folder() / "sweeps" / hashlib.sha256(store.encode()).hexdigest()[:16] / name, store


def join(directory: Path, url: str) -> None:
    """Make `directory` this machine's folder of a sweep that was begun in the database. Raises ValueError if not."""
    store = open_store(directory, url=url)
    if isinstance(store, PostgresStore | BucketStore):
        store.fetch()


def add_store(command: argparse.ArgumentParser) -> None:
    """Add the option --store."""
    command.add_argument(
        "--store",
        default="",
        metavar="URL",
        help="for machines that share no folder: postgresql://USER@HOST/DATABASE (password: PGPASSWORD or ~/.pgpass), "
        "s3://BUCKET/PREFIX or gs://BUCKET/PREFIX",
    )
