"""Variables of the environment that open the places a sweep is kept in: for workers that do not inherit them."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from sweeps.store.base import Store
from sweeps.store.note import read_note

_POSTGRES = ("PGPASSWORD", "PGSSLMODE")
# By the scheme of a URL: who we are, and where the service is. What names a file or a profile must be there too.
VARIABLES: dict[str, tuple[str, ...]] = {
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT",
    ),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    "file": (),
}


def access(store: Store) -> dict[str, str]:
    """What this process has of the variables that the workers of a sweep need to reach its places; nothing where all
    of it is in the folder."""
    note = read_note(store.directory)
    schemes = [urlsplit(url).scheme for url in (note.store, note.checkpoints) if url]
    names = [name for scheme in schemes for name in VARIABLES[scheme]]
    return {name: os.environ[name] for name in names if name in os.environ}
