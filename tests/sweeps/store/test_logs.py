"""A log is read once from its end, and then what was added."""

from __future__ import annotations

from sweeps.store.logs import FileLog, PieceLog
from sweeps.support.json_io import MOST_END


def test_a_file_gives_its_end_and_then_whole_lines_that_were_added(tmp_path):
    path = tmp_path / "log.txt"
    log = FileLog(path)
    assert log.new() == ""
    path.write_text("one\n")
    assert log.new() == "one\n" and log.new() == ""
    with open(path, "a") as file:
        file.write("two\nthr")
        file.flush()
        assert log.new() == "two\n"
        file.write("ee\n")
    assert log.new() == "three\n"


def test_of_a_large_file_only_the_end_is_read(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * MOST_END + b"\nlast \xff")
    assert len(FileLog(path).new()) == MOST_END and FileLog(path).new().endswith("last \ufffd")


def test_pieces_are_given_once_each():
    pieces = {"1": "one\n"}
    log = PieceLog(lambda known: [(name, text) for name, text in pieces.items() if name not in known])
    assert log.new() == "one\n" and log.new() == ""
    pieces["2"] = "two\n"
    assert log.new() == "two\n"
