"""Objects: whole pieces under a name, of which one of several writers wins; in a folder and in a bucket alike."""

from __future__ import annotations

import io
import threading
import time

import pytest

from support.s3_server import UNCONDITIONAL
from sweeps.store.objects import NO_CREDENTIALS, _first_line, open_objects

BIG = 11_000_000  # bytes: more than one part of an upload


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path):
    return f"file://{tmp_path}/a%20folder" if request.param == "file" else request.getfixturevalue("s3")


def test_what_was_written_is_read_listed_and_deleted(url):
    objects, content = open_objects(url), bytes(range(256)) * (BIG // 256)
    objects.write("a/one", b"1")
    objects.upload("a/b/two", io.BytesIO(content))
    objects.write("ab/three", b"")
    assert objects.read("a/one") == b"1" and b"".join(objects.chunks("a/b/two")) == content
    listed = {entry.name: entry for entry in objects.listed("a")}
    assert {name: entry.size for name, entry in listed.items()} == {"a/one": 1, "a/b/two": len(content)}
    assert all(abs(time.time() - entry.modified) < 60 for entry in listed.values())
    objects.write("a/one", b"other")
    assert objects.read("a/one") == b"other"
    objects.delete(["a/one", "a/never"])
    objects.delete([])
    assert [entry.name for entry in objects.listed("a")] == ["a/b/two"] and objects.listed("nowhere") == []
    with pytest.raises(FileNotFoundError, match="a/one"):
        objects.read("a/one")
    with pytest.raises(FileNotFoundError):
        list(objects.chunks("a/one"))


def test_of_several_that_create_one_name_one_wins(url):
    for number in range(20):
        start, won = threading.Barrier(8), []

        def create(writer, number=number, start=start, won=won):
            objects = open_objects(url)
            start.wait()
            if objects.create(f"raced/{number}", b"writer %d" % writer):
                won.append(writer)

        threads = [threading.Thread(target=create, args=(writer,)) for writer in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1 and open_objects(url).read(f"raced/{number}") == b"writer %d" % won[0]


def test_a_creation_whose_answer_was_lost_is_known_as_ones_own(url):
    """The request is repeated, and finds what it had made itself."""
    objects = open_objects(url)
    assert objects.create("name", b"mine") and objects.create("name", b"mine")
    assert not objects.create("name", b"another's") and objects.read("name") == b"mine"


def test_several_are_asked_for_at_once(url):
    objects = open_objects(url)
    objects.each(lambda number: objects.write(f"n/{number}", b"%d" % number), range(40))
    assert objects.each(lambda number: objects.read(f"n/{number}"), range(40)) == [b"%d" % n for n in range(40)]


@pytest.mark.parametrize(
    "url",
    ["s3://key:s3cret@bucket/x", "s3:///s3cret", "http://s3cret/x", "s3cret", "file://", "file:///", "s3://b/x?s3cret"],
)
def test_a_url_that_is_none_is_not_repeated(url):
    with pytest.raises(ValueError, match="must be s3://BUCKET/PREFIX") as refused:
        open_objects(url)
    assert "s3cret" not in str(refused.value)


def test_what_cannot_be_reached_is_one_line_that_names_it(monkeypatch, s3):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=f"^{s3}/name: .*127.0.0.1:9") as refused:
        open_objects(s3).read("name")
    assert "\n" not in str(refused.value)


def test_a_service_that_ignores_conditions_lets_all_win(s3):
    """Which is what `sweep doctor` is there to find."""
    objects = open_objects(s3.replace("sweeps/", f"{UNCONDITIONAL}/"))
    assert objects.create("name", b"one") and objects.create("name", b"two")


def test_without_obstore_it_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ValueError, match=r"obstore is not installed; pip install 'recipe-planner\[s3\]'"):
        open_objects("s3://bucket/x")


@pytest.mark.parametrize(
    ("library", "said"),
    [
        (
            "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 12.7ms - Server said "
            "403 Forbidden",
            NO_CREDENTIALS,
        ),
        (
            "Generic GCS error: Error performing token request: Error performing GET "
            "http://169.254.169.254/computeMetadata/v1/instance in 1.8ms",
            NO_CREDENTIALS,
        ),
        ("Generic S3 error:\n  no answer\n\nDebug source:\nGeneric { }", "Generic S3 error: no answer"),
    ],
)
def test_of_what_the_library_says_one_line_is_told_and_what_to_do_without_credentials(library, said):
    assert _first_line(RuntimeError(library)) == said
