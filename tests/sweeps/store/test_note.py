"""The note of where a sweep is kept is believed only as it was written."""

from __future__ import annotations

import hashlib
import json

import pytest

from sweeps.store.identity import identity_of, mark
from sweeps.store.note import Note, checked_store, read_note, write_note

URL = "postgresql://h/d"


@pytest.mark.parametrize(
    "note", [Note(), Note(URL), Note("s3://b/x"), Note(URL, "s3://b/x"), Note("", "file:///mnt/x")]
)
def test_a_note_is_read_as_it_was_written(tmp_path, note):
    mark(tmp_path)
    assert read_note(tmp_path) == Note()
    if note:
        write_note(tmp_path, note)
    assert read_note(tmp_path) == note


def test_a_note_of_an_earlier_version_is_read(tmp_path):
    mark(tmp_path)
    check = hashlib.sha256(f"{identity_of(tmp_path)} {URL}".encode()).hexdigest()[:16]
    (tmp_path / "store.json").write_text(json.dumps({"postgresql": URL, "check": check}))
    assert read_note(tmp_path) == Note(URL)


def test_a_note_whose_checkpoints_were_changed_is_not_followed(tmp_path):
    mark(tmp_path)
    write_note(tmp_path, Note(URL, "s3://ours/x"))
    path = tmp_path / "store.json"
    path.write_text(path.read_text().replace("ours", "theirs"))
    with pytest.raises(ValueError, match="changed by hand") as refused:
        read_note(tmp_path)
    assert "theirs" not in str(refused.value)


@pytest.mark.parametrize("url", ["s3://key:s3cret@bucket/x", "postgresql://u:s3cret@x@h/d", "s3cret"])
def test_what_is_no_store_is_not_repeated(url):
    with pytest.raises(ValueError, match="must be") as refused:
        checked_store(url)
    assert "s3cret" not in str(refused.value)
