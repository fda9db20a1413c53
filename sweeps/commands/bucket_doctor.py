"""Whether objects under a URL keep the promises that a sweep rests on, probed by two processes, or on two machines.

Claims and results rest on a conditional put that lets one of two win; checkpoints, queues and logs on objects that are
whole, and seen by others as soon as they are written; leases on one clock that stamps what all machines write.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from sweeps.commands.finding import LATE, Finding
from sweeps.store.objects import Objects, open_objects

ROUNDS = 25  # races between the two
GLANCE = 0.05  # s between looks for what the other wrote
MEETING = ".sweep-doctor"
CLAIMS = "of two writers that create one name, one wins"
ONCE = "a name is created once"
INSTEAD = (
    "this place ignores conditional puts (If-None-Match), so two workers could claim one trial: keep trials in a "
    "database (`--store postgresql://...`) or a shared folder. Checkpoints (`--checkpoints URL`) need only the other "
    "properties"
)


def refuse_unfit_objects(url: str, claims: bool) -> None:
    """Raise ValueError when a sweep cannot be kept under this URL, OSError when nothing can be written there.

    claims: whether trials are claimed there, which needs conditional puts; copies of checkpoints do not. Takes four
    requests, and leaves nothing.
    """
    objects, name = open_objects(url), f".probe-{uuid.uuid4().hex}"
    try:
        objects.write(name, b"one")
        if objects.read(name) != b"one":
            raise ValueError(f"{url}: data read back differ from the data written")
        if claims and objects.create_once(name, b"two"):
            raise ValueError(f"{url}: cannot hold a sweep: {INSTEAD}")
    finally:
        with suppress(OSError):
            objects.delete([name])


# -- one process


def written_is_read(objects: Objects) -> Finding:
    times: dict[str, list[float]] = {"put": [], "get": []}
    wrong = 0
    for number in range(10):
        begun = time.perf_counter()
        objects.write("overwritten", b"%d" % number)
        put = time.perf_counter()
        wrong += objects.read("overwritten") != b"%d" % number
        times["put"].append(put - begun)
        times["get"].append(time.perf_counter() - put)
    figure = ", ".join(f"{name} takes {1000 * sorted(each)[5]:.1f} ms" for name, each in times.items())
    return Finding("writes are visible at once", not wrong, f"{wrong} of 10 not; {figure}")


def listed_at_once(objects: Objects) -> Finding:
    wrong = 0
    for number in range(10):
        name = f"listed/{number}"
        objects.write(name, b"")
        wrong += name not in [entry.name for entry in objects.listed("listed")]
        objects.delete([name])
        wrong += name in [entry.name for entry in objects.listed("listed")]
    return Finding("listings show writes and deletions at once", not wrong, f"{wrong} of 20 not")


def created_once(objects: Objects) -> Finding:
    objects.create_once("created", b"one")
    again = objects.create_once("created", b"two")
    kept = objects.read("created")
    figure = "the second time succeeded" if again else f"the second was refused; {kept.decode()!r} stayed"
    return Finding(ONCE, not again and kept == b"one", figure)


# -- two: one leads, the other follows; they speak by objects


def follow(url: str, seconds: float) -> None:
    """The other side: answers what `examine_objects` writes until it says that it is over. Raises ValueError when
    nobody leads."""
    objects, number, deadline = _meeting(url), 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            order: dict[str, Any] = json.loads(objects.read(f"order-{number}"))
        except FileNotFoundError:
            time.sleep(GLANCE)
            continue
        if order["do"] == "end":
            return
        objects.write(f"answer-{number}", json.dumps(ANSWERS[order["do"]](objects, order)).encode())
        number, deadline = number + 1, time.monotonic() + seconds
    raise ValueError(f"{url}: the first process of this check has ended; start `sweep doctor` there first")


ANSWERS: dict[str, Callable[[Objects, dict[str, Any]], object]] = {
    "create": lambda objects, order: objects.create_once(order["name"], b"the other"),
    "read": lambda objects, order: objects.read(order["name"]).decode(),
    "stamp": lambda objects, order: objects.stamp(order["name"]),
}


class Other:
    """The following process, as the leading one sees it."""

    def __init__(self, objects: Objects, seconds: float) -> None:
        self.objects, self.seconds, self.asked = objects, seconds, 0
        self.ordered = self.takes = 0.0  # when it was asked last, and how long it took

    def order(self, do: str, **what: object) -> None:
        self.ordered = time.monotonic()
        self.objects.write(f"order-{self.asked}", json.dumps({"do": do, **what}).encode())

    def answer(self) -> Any:
        deadline = time.monotonic() + self.seconds
        while True:
            try:
                answer = json.loads(self.objects.read(f"answer-{self.asked}"))
            except FileNotFoundError:
                if time.monotonic() > deadline:
                    raise ValueError(f"the other process gave no answer for {self.seconds:g} s") from None
                time.sleep(GLANCE)
                continue
            self.asked += 1
            self.takes = time.monotonic() - self.ordered
            return answer


def race(other: Other) -> Finding:
    """Both create one name at nearly the same time, again and again: exactly one must win."""
    wins, mine = [], 0
    for number in range(ROUNDS):
        other.order("create", name=f"raced-{number}")
        time.sleep(random.uniform(0, min(other.takes, 0.5)))  # so that now one is first and now the other
        ours = other.objects.create_once(f"raced-{number}", b"this one")
        wins.append(ours + bool(other.answer()))
        mine += ours
    twice, never = sum(won > 1 for won in wins), wins.count(0)
    figure = f"{ROUNDS} races, {mine} won here; {twice} by both, {never} by none"
    return Finding(CLAIMS, not twice and not never, figure)


def others_see_it(other: Other) -> Finding:
    wrong = 0
    for number in range(10):
        other.objects.write("changing", b"%d" % number)
        other.order("read", name="changing")
        wrong += other.answer() != str(number)
    return Finding("the other machine sees writes at once", not wrong, f"{wrong} of 10 not")


def one_clock(other: Other) -> Finding:
    """Both write at nearly the same time; what they wrote must be stamped so."""
    other.order("stamp", name="stamped-there")
    here, own = other.objects.stamp("stamped-here"), time.time()
    there = float(other.answer())
    figure = f"{abs(there - here):.0f} s apart; the clock here is off by {own - here:+.0f} s (harmless)"
    return Finding("all times come from one clock", abs(there - here) <= LATE, figure)


def probe_objects(url: str, seconds: float, start_other: Callable[[], object]) -> Iterator[Finding]:
    """All promises, with another process that `start_other` starts; it is not where listings lag. Leaves nothing."""
    objects = _meeting(url)
    objects.delete([entry.name for entry in objects.listed("")])  # of a probe that was cut off
    other = Other(objects, seconds)
    try:
        yield written_is_read(objects)
        listed = listed_at_once(objects)
        yield listed
        yield created_once(objects)
        if not listed.holds:  # what two do rests on it
            return
        start_other()
        other.order("stamp", name="there")  # waits for it to be there
        other.answer()
        yield race(other)
        yield others_see_it(other)
        yield one_clock(other)
    finally:
        other.order("end")
        time.sleep(1.0)  # the other has yet to read that it is over
        objects.delete([entry.name for entry in objects.listed("")])


def _meeting(url: str) -> Objects:
    return open_objects(f"{url.rstrip('/')}/{MEETING}")


def verdict_on(findings: list[Finding]) -> str:
    """What holds, in plain words."""
    failed = {finding.promise for finding in findings if not finding.holds}
    if not failed:
        return "sweeps can be stored here: `--store URL`, `--out URL` and `--checkpoints URL`"
    if failed <= {CLAIMS, ONCE}:
        return f"checkpoints are safe here, claims are not: {INSTEAD}"
    return "neither sweeps nor checkpoints are safe here"
