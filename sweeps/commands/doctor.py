"""Whether a file system supports what sweeps need: locks, links, clocks. Checked by two processes or on two machines.

Claims rest on exclusive creation and hard links that let one win; results and queues on links and renames that show a
file whole or not at all; leases on times of the file server's own clock that others see in time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from sweeps.commands.bucket_doctor import follow as follow_objects
from sweeps.commands.bucket_doctor import probe_objects, verdict_on
from sweeps.commands.finding import LATE, Finding
from sweeps.store.objects import checked_url, is_place_of_objects
from sweeps.support.arguments import positive
from sweeps.support.atomic import write_text
from sweeps.support.processes import own_code
from sweeps.support.text import table

ROUNDS = 50  # races between the two
GLANCE = 0.002  # s between looks for what the other wrote
WAIT = 120.0  # s for the other machine to answer
FREE_BYTES, FREE_INODES = 100e6, 1000  # fewer are hardly a sweep's
MEETING = ".sweep-doctor"
INSTEAD = "use another folder, or `--store postgresql://...`, which needs no shared one"


def refuse_unfit(directory: Path) -> None:
    """Raise ValueError when the file system of `directory`, which may not exist yet, cannot hold a sweep.

    Takes milliseconds, and leaves nothing. OSError where nothing can be written at all.
    """
    parent = next(path for path in (directory.resolve(), *directory.resolve().parents) if path.is_dir())
    try:
        probe = Path(tempfile.mkdtemp(prefix=".probe-", dir=parent))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(directory)) from None
    try:
        for finding in (exclusive(probe), hard_link(probe), rename_over(probe)):
            if not finding.holds:
                raise ValueError(
                    f"{directory}: its file system cannot hold a sweep: {finding.promise}: {finding.figure}; {INSTEAD}"
                )
    finally:
        shutil.rmtree(probe, ignore_errors=True)


# -- one process


def exclusive(folder: Path) -> Finding:
    path = folder / "exclusive"
    _create(path)
    try:
        _create(path)
    except OSError as error:  # network file systems have more names for it than "exists"
        return Finding("a file is created once", True, f"the second time: {error.strerror}")
    return Finding("a file is created once", False, "the second time succeeded")


def _create(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def hard_link(folder: Path) -> Finding:
    first, second, name = folder / "one", folder / "two", folder / "linked"
    first.write_text("one")
    second.write_text("two")
    promise = "of two hard links with one name, the first wins"
    try:
        os.link(first, name)
    except OSError as error:
        return Finding(promise, False, f"no hard links ({error.strerror})")
    with suppress(OSError):
        os.link(second, name)
    kept = name.read_text()
    return Finding(promise, kept == "one", "the first stayed" if kept == "one" else "the second replaced it")


def rename_over(folder: Path) -> Finding:
    old, new = folder / "old", folder / "new"
    old.write_text("old")
    new.write_text("new")
    promise = "a rename replaces a file at once"
    try:
        os.replace(new, old)
    except OSError as error:
        return Finding(promise, False, str(error.strerror))
    return Finding(promise, old.read_text() == "new" and not new.exists(), "replaced")


def flushed(folder: Path) -> Finding:
    times = []
    try:
        for _ in range(5):
            begun = time.perf_counter()
            with open(folder / "flushed", "w") as file:
                file.write("x")
                file.flush()
                os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    except OSError as error:
        return Finding("flushed data are on the disk", False, f"fsync: {error.strerror}")
    return Finding("flushed data are on the disk", True, f"fsync takes {1000 * sorted(times)[2]:.1f} ms")


def room(folder: Path) -> Finding:
    disk = os.statvfs(folder)
    free, inodes = disk.f_bavail * disk.f_frsize, disk.f_favail
    counted = disk.f_files > 0  # some file systems do not count
    enough = free >= FREE_BYTES and (inodes >= FREE_INODES or not counted)
    files = f"{inodes:,} more files" if counted else "files are not counted"
    return Finding("there is room", enough, f"{free / 1e9:,.1f} GB, {files}")


# -- two: one leads, the other follows; they speak by files


def follow(meeting: Path, seconds: float = WAIT) -> None:
    """The other side: answers what `lead` writes until it says that it is over. Raises ValueError when nobody leads."""
    done, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not (order := _read(meeting / f"order-{done}")):
            time.sleep(GLANCE)
            continue
        what = json.loads(order)
        if what["do"] == "end":
            return
        answer = FOLLOWED[what["do"]](meeting, what)
        write_text(meeting / f"answer-{done}", json.dumps(answer), durable=False)
        done, deadline = done + 1, time.monotonic() + seconds
    raise ValueError(f"{meeting.parent}: the first process of this check has ended; start `sweep doctor` there first")


class Other:
    """The following process, as the leading one sees it."""

    def __init__(self, meeting: Path, seconds: float) -> None:
        self.meeting, self.seconds, self.asked = meeting, seconds, 0
        self.ordered = self.takes = 0.0  # when it was asked last, and how long it took

    def order(self, do: str, **what: object) -> None:
        self.ordered = time.monotonic()
        write_text(self.meeting / f"order-{self.asked}", json.dumps({"do": do, **what}), durable=False)

    def answer(self) -> dict[str, float]:
        path, deadline = self.meeting / f"answer-{self.asked}", time.monotonic() + self.seconds
        while not (text := _read(path)):
            if time.monotonic() > deadline:
                raise ValueError(f"{self.meeting.parent}: the other process gave no answer for {self.seconds:g} s")
            time.sleep(GLANCE)
        self.asked += 1
        self.takes = time.monotonic() - self.ordered
        answer: dict[str, float] = json.loads(text)
        return answer


def race(other: Other, do: str, promise: str) -> Finding:
    """Both do the same to one name at nearly the same time, again and again: exactly one must win."""
    wins, mine = [], 0
    for number in range(ROUNDS):
        other.order(do, name=f"{do}-{number}")
        time.sleep(random.uniform(0, other.takes))  # so that now one is first and now the other
        ours = TAKE[do](other.meeting / f"{do}-{number}", "leader")
        theirs = bool(other.answer()["won"])
        wins.append(ours + theirs)
        mine += ours
    twice, never = sum(won > 1 for won in wins), wins.count(0)
    return Finding(
        promise, not twice and not never, f"{ROUNDS} races, {mine} won here; {twice} by both, {never} by none"
    )


def _take_exclusively(path: Path, who: str) -> bool:
    try:
        _create(path)
    except OSError:
        return False
    return True


def _take_by_link(path: Path, who: str) -> bool:
    own = path.with_name(f"{path.name}-{who}")
    own.write_text(who)
    with suppress(OSError):
        os.link(own, path)
    return _read(path) == who  # a link may succeed and say otherwise


TAKE: dict[str, Callable[[Path, str], bool]] = {"create": _take_exclusively, "link": _take_by_link}


def seen_in_time(other: Other) -> Finding:
    """How long until the other sees a change of content, a new time and a new file."""
    path, lags = other.meeting / "changing", {}
    path.write_text("0")
    for what in ("content", "time", "file"):
        other.order("watch", what=what)
        deadline = time.monotonic() + other.seconds
        while not (other.meeting / f"watching-{what}").exists() and time.monotonic() < deadline:
            time.sleep(GLANCE)
        if what == "content":
            write_text(path, "1", durable=False)
        elif what == "time":
            os.utime(path, (0, 0))
        else:
            _create(other.meeting / "appeared")
        begun = time.monotonic()
        answer = other.answer()
        lags[what] = time.monotonic() - begun if answer["seen"] else float("inf")
    figure = ", ".join(f"{what} after {lag:.3f} s" for what, lag in lags.items())
    return Finding("the other machine sees changes in time", max(lags.values()) <= LATE, figure)


def _watch(meeting: Path, what: dict[str, str]) -> dict[str, float]:
    path, deadline = meeting / "changing", time.monotonic() + LATE
    before = (_read(path), path.stat().st_mtime)
    _create(meeting / f"watching-{what['what']}")
    while time.monotonic() < deadline:
        now = {"content": _read(path), "time": path.stat().st_mtime, "file": (meeting / "appeared").exists()}
        then = {"content": before[0], "time": before[1], "file": False}
        if now[what["what"]] != then[what["what"]]:
            return {"seen": True}
        time.sleep(GLANCE)
    return {"seen": False}


def clocks(other: Other) -> Finding:
    """The file server stamps a file touched by either at nearly the same time with nearly the same time."""
    other.order("touch")
    path = other.meeting / "touched-here"
    path.touch()
    here, server = time.time(), path.stat().st_mtime
    answer = other.answer()
    apart = abs(answer["server"] - server)
    figure = f"{apart:.3f} s apart; local clocks are off by {here - server:+.1f} s here, {answer['clock']:+.1f} s there"
    return Finding("times come from the file server", apart <= LATE, f"{figure} (harmless)")


def _touch(meeting: Path, _: dict[str, str]) -> dict[str, float]:
    path = meeting / "touched-there"
    path.touch()
    server = path.stat().st_mtime
    return {"server": server, "clock": time.time() - server}


def _take(meeting: Path, what: dict[str, str]) -> dict[str, float]:
    return {"won": TAKE[what["do"]](meeting / what["name"], "follower")}


FOLLOWED: dict[str, Callable[[Path, dict[str, str]], dict[str, float]]] = {
    **dict.fromkeys(TAKE, _take),
    "watch": _watch,
    "touch": _touch,
}


def lead(meeting: Path, seconds: float = WAIT) -> Iterator[Finding]:
    """All promises; what two processes do is left out when one alone fails already."""
    other, held = Other(meeting, seconds), True
    for probe in (exclusive, hard_link, rename_over, flushed, room):
        finding = probe(meeting)
        held = held and finding.holds
        yield finding
    if not held:
        other.order("end")
        return
    other.order("touch")  # waits for it to be there
    other.answer()
    yield race(other, "create", "of two processes that create a file, one wins")
    yield race(other, "link", "of two processes that link a name, one wins")
    yield seen_in_time(other)
    yield clocks(other)
    other.order("end")


# -- the command


def add_doctor(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", metavar="DIR", help="folder for sweeps, or s3://, gs:// or file:// URL")
    side = command.add_mutually_exclusive_group()
    side.add_argument("--two", action="store_true", help="check with a second machine, on which you start --peer")
    side.add_argument("--peer", action="store_true", help="run as the second machine of a check")
    command.add_argument(
        "--seconds",
        type=positive,
        default=WAIT,
        metavar="S",
        help="seconds to wait for the other machine (default: 120)",
    )
    command.add_argument("--json", action="store_true", help="print the findings as JSON")


def doctor(arguments: argparse.Namespace) -> int:
    """Exit code 1: a promise was not kept."""
    objects = is_place_of_objects(arguments.directory)
    place = checked_url(arguments.directory) if objects else arguments.directory
    if not objects and not Path(place).is_dir():
        raise ValueError(f"{place}: no such folder; name one on the file system to be checked")
    if arguments.peer:
        _follow(place, arguments.seconds)
        print("checked; the other machine prints the findings")
        return 0
    findings = (examine_objects if objects else examine)(place, arguments.two, arguments.seconds)
    held = all(finding.holds for finding in findings)
    if arguments.json:
        print(json.dumps({"directory": str(place), "findings": [asdict(finding) for finding in findings]}))
    else:
        rows = [["yes" if finding.holds else "NO", finding.promise, finding.figure] for finding in findings]
        print("\n".join(table([["holds", "requirement", "measured"], *rows])))
        if objects or not held:
            print(f"\n{verdict_on(findings) if objects else f'sweeps are not safe here: {INSTEAD}'}")
    return 0 if held else 1


def _follow(place: str, seconds: float) -> None:
    if is_place_of_objects(place):
        follow_objects(place, seconds)
    else:
        follow(Path(place) / MEETING, seconds)


def examine(place: str, two: bool = False, seconds: float = WAIT) -> list[Finding]:
    """All findings on a folder. two: with another machine, else with a process on this one. Leaves nothing."""
    meeting = Path(place) / MEETING
    shutil.rmtree(meeting, ignore_errors=True)  # of a probe that was cut off
    meeting.mkdir()
    peer = None
    try:
        peer = _start_other(str(Path(place).resolve()), two, seconds)
        return list(lead(meeting, seconds))
    finally:
        if peer:
            _await(peer)
        elif two:
            time.sleep(1.0)  # the other has yet to read that it is over
        shutil.rmtree(meeting, ignore_errors=True)


def examine_objects(place: str, two: bool = False, seconds: float = WAIT) -> list[Finding]:
    """The same on objects under a URL."""
    peers: list[subprocess.Popen[bytes] | None] = []
    try:
        return list(probe_objects(place, seconds, lambda: peers.append(_start_other(place, two, seconds))))
    finally:
        for peer in filter(None, peers):
            _await(peer)


def _start_other(place: str, two: bool, seconds: float) -> subprocess.Popen[bytes] | None:
    """The second process on this machine; None where one on another is asked for."""
    command = ["doctor", place, "--peer", "--seconds", str(seconds)]
    if two:
        print(f"on the other machine: sweep {' '.join(command[:3])}", file=sys.stderr, flush=True)
        return None
    run = [sys.executable, "-P", "-m", "sweeps.cli", *command]
    return subprocess.Popen(run, env=os.environ | own_code(), stdout=subprocess.DEVNULL)


def _await(peer: subprocess.Popen[bytes]) -> None:
    try:
        peer.wait(5)
    except subprocess.TimeoutExpired:
        peer.kill()
        peer.wait()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
