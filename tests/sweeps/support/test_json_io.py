"""JSON of any size, depth and kind of file is read or refused at once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from sweeps.support.json_io import DEEPEST, read_end, read_json, read_lines, too_deep
from sweeps.support.toml_io import read_toml


def refusal(read, path: Path) -> str:
    begun = time.monotonic()
    with pytest.raises((ValueError, OSError)) as caught:
        read(path)
    assert time.monotonic() - begun < 5.0
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("read", [read_json, lambda path: list(read_lines(path)), read_toml])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    assert "is a named pipe; it must be a file" in refusal(read, tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert "is a device; it must be a file" in refusal(read, tmp_path / "zero")
    assert "Is a directory" in refusal(read, tmp_path)
    refusal(read, tmp_path / "missing")
    (tmp_path / "lost").symlink_to("nowhere")
    assert "is a broken link to nowhere" in refusal(read, tmp_path / "lost")


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1_500_000_000)
    assert "has 1,500,000,000 bytes; at most" in refusal(read_json, path)
    assert ":1: has more than" in refusal(lambda path: list(read_lines(path)), path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested more than 30"),
        ("[" * 100_000 + "]" * 100_000, "nested more than 30"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested more than 30"),
        ("1" * 5000, "thousands of digits"),
        ("{", "not JSON"),
        ("", "not JSON"),
    ],
)
def test_what_is_no_json_of_ours_is_said(tmp_path, text, words):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert words in refusal(read_json, path)


def test_depth_is_counted_where_it_lies():
    content: object = 1
    for depth in range(1, DEEPEST + 2):
        content = [0, {"a": content}] if depth % 2 else [content]
        assert too_deep(json.loads(json.dumps(content)), 3 * depth // 2 + 1) is False
    assert too_deep(content)


def test_of_a_long_log_the_end_is_read_and_of_none_nothing(tmp_path):
    path = tmp_path / "log.txt"
    assert read_end(path) == ""
    path.write_bytes(b"a" * 100 + b"\xff\nlast\n")
    assert read_end(path, 8) == "a\ufffd\nlast\n"
    os.truncate(path, 1_500_000_000)
    assert len(read_end(path, 8)) == 8
    path.unlink()
    os.mkfifo(path)
    assert "is a named pipe" in refusal(read_end, path)
