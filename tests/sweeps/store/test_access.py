"""Workers that inherit nothing get what opens the places of their sweep, and no other secret."""

from __future__ import annotations

import pytest

from sweeps.store.access import VARIABLES, access
from sweeps.store.identity import mark
from sweeps.store.note import Note, write_note
from sweeps.store.objects import SCHEMES
from sweeps.store.open import open_store

SECRETS = {"PGPASSWORD": "p", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "GOOGLE_SERVICE_ACCOUNT": "g"}


@pytest.mark.parametrize(
    ("note", "given"),
    [
        (Note(), ""),
        (Note("postgresql://u@h/d"), "PG"),
        (Note("postgresql://u@h/d", "s3://b/p"), "PG AWS"),
        (Note("s3://b/p"), "AWS"),
        (Note(checkpoints="gs://b/p"), "GOOGLE"),
        (Note("postgres://u@h/d", "file:///shared"), "PG"),
    ],
)
def test_what_opens_the_places_is_given_and_nothing_else(tmp_path, monkeypatch, note, given):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    mark(tmp_path)
    if note:
        write_note(tmp_path, note)
    known = {name for name in SECRETS if name.startswith(tuple(given.split()))} if given else set()
    opened = access(open_store(tmp_path))
    assert {name: value for name, value in opened.items() if name in SECRETS} == {name: SECRETS[name] for name in known}


def test_every_scheme_of_objects_says_what_opens_it():
    assert set(SCHEMES) <= set(VARIABLES)
