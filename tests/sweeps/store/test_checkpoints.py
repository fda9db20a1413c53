"""Copies of checkpoints: whole or not at all, the newest of the newest attempt, in a folder and in a bucket."""

from __future__ import annotations

import os

import pytest

from sweeps.store.checkpoints import Checkpoints
from sweeps.store.files import CHECKPOINT
from sweeps.store.objects import open_objects
from sweeps.support.checksum import sealed

KEY, PART = "0123456789abcdef", "00000000000000aa"
BIG = 11_000_000  # bytes: more than one part of an upload


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path):
    return f"file://{tmp_path}/copies" if request.param == "file" else request.getfixturevalue("s3")


@pytest.fixture
def node(tmp_path):
    """Makes the folder of a trial on a machine of its own."""

    def make(name: str):
        folder = tmp_path / name / "trials" / KEY
        folder.mkdir(parents=True)
        return folder

    return make


def save(checkpoints: Checkpoints, folder, attempt: int, content: bytes, at: int) -> int:
    """Write a checkpoint, its best state and a part as at that time, ns, and copy them."""
    parts = folder.parents[1] / "parts"
    parts.mkdir(exist_ok=True)
    paths = [folder / CHECKPOINT, folder / f"best-{CHECKPOINT}", parts / f"{PART}.safetensors"]
    for path, suffix in zip(paths, (b"", b"best", b"part"), strict=True):
        path.write_bytes(content + suffix)
        os.utime(path, ns=(at, at))
    return checkpoints.save(KEY, attempt, [*paths, parts / "ffffffffffffffff.safetensors"])


def fetched(checkpoints: Checkpoints, folder) -> tuple[bytes, list[str]]:
    """The checkpoint that a machine goes on from, "" without one, and what was said of it."""
    said = checkpoints.fetch(KEY, folder, folder.parents[1] / "parts")
    path = folder / CHECKPOINT
    return path.read_bytes() if path.exists() else b"", said


def test_another_machine_has_it_with_all_that_belongs_to_it(url, node):
    here, there = node("here"), node("there")
    content = os.urandom(BIG)
    assert Checkpoints(url).newest(KEY) == 0 and fetched(Checkpoints(url), there) == (b"", [])
    assert save(Checkpoints(url), here, 1, content, at=5_000_000_001) == 5_000_000_001
    elsewhere = Checkpoints(url)
    assert elsewhere.newest(KEY) == 5_000_000_001
    assert fetched(elsewhere, there) == (content, [])
    assert (there / f"best-{CHECKPOINT}").read_bytes() == content + b"best"
    assert (there.parents[1] / "parts" / f"{PART}.safetensors").read_bytes() == content + b"part"
    assert (there / CHECKPOINT).stat().st_mtime_ns == 5_000_000_001  # so that both machines name it alike
    assert sorted(path.name for path in there.iterdir()) == sorted([CHECKPOINT, f"best-{CHECKPOINT}"])
    elsewhere.drop(KEY)
    assert not open_objects(url).listed(KEY) and Checkpoints(url).newest(KEY) == 0


def test_an_attempt_that_was_cut_off_and_goes_on_saving_changes_nothing(url, node):
    late, next_one = node("late"), node("next")
    save(Checkpoints(url), late, 1, b"first", at=10)
    save(Checkpoints(url), next_one, 2, b"second", at=20)
    save(Checkpoints(url), late, 1, b"further", at=30)
    assert Checkpoints(url).newest(KEY) == 20
    assert fetched(Checkpoints(url), node("third"))[0] == b"second"


def test_only_the_newest_is_kept_and_one_as_new_here_is_left_alone(url, node):
    here = node("here")
    save(Checkpoints(url), here, 1, b"first", at=10)
    save(Checkpoints(url), here, 1, b"second", at=20)
    assert len(open_objects(url).listed(KEY)) == 4  # a description and three files
    (here / CHECKPOINT).write_bytes(b"third, not copied")
    assert fetched(Checkpoints(url), here)[0] == b"third, not copied"


def test_what_was_changed_is_refused_and_said_and_the_attempt_before_is_gone_on_from(url, node):
    here, objects = node("here"), open_objects(url)
    save(Checkpoints(url), here, 1, b"first", at=10)
    kept = {entry.name: objects.read(entry.name) for entry in objects.listed(KEY)}
    save(Checkpoints(url), here, 2, b"second", at=20)
    for name, content in kept.items():  # of an attempt that was cut off
        objects.write(name, content)
    objects.write(f"{KEY}/0002-20/{CHECKPOINT}", b"secund")
    content, said = fetched(Checkpoints(url), node("there"))
    assert content == b"first" and len(said) == 1
    assert said[0].endswith(f"0002-20/{CHECKPOINT}: differs from what was written (6 of 6 bytes); it is not used")


WRONG = {
    "a path": [{"name": "../../x", "size": 1, "sha256": "", "changed": 20}],
    "a link's name": [{"name": "trial.json", "size": 1, "sha256": "", "changed": 20}],
    "no list": 5,
    "a size": [{"name": CHECKPOINT, "size": -1, "sha256": "", "changed": 20}],
}


@pytest.mark.parametrize("files", WRONG.values(), ids=WRONG.keys())
def test_a_description_that_is_none_of_ours_names_no_file(tmp_path, node, files):
    url, there = f"file://{tmp_path}/copies", node("there")
    open_objects(url).write(f"{KEY}/0001-20.json", sealed({"key": KEY, "files": files}).encode())
    content, said = fetched(Checkpoints(url), there)
    assert content == b"" and len(said) == 1 and said[0].startswith(f"{url}/{KEY}/0001-20.json: ")
    assert not list(there.iterdir())


def test_a_torn_description_is_refused(tmp_path, node):
    url = f"file://{tmp_path}/copies"
    save(Checkpoints(url), node("here"), 1, b"first", at=10)
    objects = open_objects(url)
    objects.write(f"{KEY}/0001-10.json", objects.read(f"{KEY}/0001-10.json").replace(b'"size": 5', b'"size": 6'))
    content, said = fetched(Checkpoints(url), node("there"))
    assert content == b"" and "changed since it was written" in said[0]
