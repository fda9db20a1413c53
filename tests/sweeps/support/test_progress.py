"""Progress: what is told on a terminal and in a log, and that nothing stays silent for ten seconds."""

from __future__ import annotations

import io
import time
from contextlib import redirect_stderr

import pytest

from sweeps.support import console, progress
from sweeps.support.progress import BAR_EVERY, EVERY, SILENCE, Progress, bar, waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


STREAMS = pytest.mark.parametrize("kind", [Terminal, io.StringIO])


@pytest.fixture(autouse=True)
def silent_so_far(monkeypatch):
    monkeypatch.setattr(progress, "_said", progress._Said())


@pytest.fixture
def impatient(monkeypatch):
    for name in ("SILENCE", "EVERY", "REDRAW"):
        monkeypatch.setattr(progress, name, 0.02)


def test_a_bar_is_as_full_as_the_work_is_done():
    assert bar(0.5, 4) == "━━╌╌" and bar(7.0, 2) == "━━" and bar(-1.0, 2) == "╌╌"


@STREAMS
def test_progress_says_how_much_how_long_and_what_is_left(kind, monkeypatch):
    monkeypatch.setattr(progress, "REDRAW", 0.0)
    with redirect_stderr(kind()) as stderr, Progress("reading", 200, "pairs", every=0.0, done=100) as counted:
        counted.advance(50, "loss 1.5")
    text = stderr.getvalue()
    assert "reading: 150 of 200 pairs, 75 %, 0 s, 0 s left, loss 1.5" in text
    assert (bar(0.75) in text) == stderr.isatty()


@STREAMS
def test_what_takes_long_is_named_and_how_long_it_has_taken(kind, impatient):
    with redirect_stderr(kind()) as stderr, waiting("loading libraries"):
        time.sleep(1.2)
    text = stderr.getvalue()
    assert text.count("loading libraries ...") > 2 and "loading libraries ... 1 s" in text
    assert text.endswith("\r\x1b[K") == stderr.isatty()


@STREAMS
def test_what_is_short_leaves_no_line(kind):
    with redirect_stderr(kind()) as stderr:
        with waiting("reading"):
            pass
        with waiting("never told", quiet=True):
            time.sleep(0.3)
    assert stderr.getvalue() == ""


def test_many_short_waits_are_told_too(monkeypatch):
    monkeypatch.setattr(progress, "SILENCE", 0.1)
    with redirect_stderr(io.StringIO()) as stderr:
        for _ in range(6):
            with waiting("importing"):
                time.sleep(0.03)
    assert 1 <= stderr.getvalue().count("importing ...") < 6


def test_what_is_counted_is_not_named_beside(monkeypatch):
    with redirect_stderr(io.StringIO()) as stderr, waiting("hidden"), Progress("steps", 3, every=0.0) as counted:
        counted.advance()
        time.sleep(0.2)
    assert stderr.getvalue().startswith("steps: 1 of 3, 33 %") and "hidden" not in stderr.getvalue()


@STREAMS
def test_the_innermost_wait_is_named_and_one_for_logs_is_none_for_terminals(kind, impatient):
    with redirect_stderr(kind()) as stderr, waiting("embed", in_logs=True):
        time.sleep(0.1)
        with waiting("reading"):
            time.sleep(0.1)
    assert ("embed ..." in stderr.getvalue()) != stderr.isatty() and "reading ..." in stderr.getvalue()


def test_nothing_is_silent_for_ten_seconds():
    assert SILENCE < BAR_EVERY < EVERY <= 10


def test_silence_before_a_command_is_not_its_own(monkeypatch, capsys):
    """A second command of one process, long after the first, says nothing that the first would not have said."""
    monkeypatch.setattr(progress, "SILENCE", SILENCE)
    monkeypatch.setattr(progress._said, "at", time.monotonic() - 1000)

    def main():
        with waiting("fit"):
            time.sleep(0.2)

    assert console.run("fit", main) == 0
    assert capsys.readouterr().err == ""


def test_what_is_counted_quickly_is_told_by_its_bar_alone(monkeypatch):
    for name, value in {"SILENCE": 0.1, "EVERY": 0.3}.items():
        monkeypatch.setattr(progress, name, value)
    with redirect_stderr(io.StringIO()) as stderr, Progress("steps", 60, every=0.1) as counted, waiting("training"):
        for _ in range(60):
            counted.advance()
            time.sleep(0.01)
    assert stderr.getvalue().count("steps: ") > 2 and stderr.getvalue().count("training ...") <= 1
