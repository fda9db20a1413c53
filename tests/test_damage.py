"""Every file of a results folder, a law book, a cache and a model folder, damaged in random ways: one line or nothing.

`python tests/test_damage.py 2000` damages as many times and prints what came of it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import pytest

from analysis.tables.sweep_table import sweep_table
from planner import cli as plan
from runner.data.pairs import prepare
from runner.data.tokenizer import training_tokenizer
from runner.model.pretrained import load_backbone
from support.damage import damage
from support.toy_sweeps import SWEEP, toy_main
from sweeps import cli as sweep
from sweeps.models import find_model, read_model
from sweeps.support import console
from sweeps.trial import Training

LONGEST = 60  # s that anything may take
GONE = "gone"  # what nobody can miss who does not know that it was there
SAID = {"truncated", "nested", "filled", "a folder", "a link", "a pipe"}  # never another plausible value


@contextmanager
def no_hang() -> Iterator[None]:
    """Raises TimeoutError inside, once it takes too long."""

    def ring(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def asked(command: Callable[[], object]) -> tuple[int, str, str]:
    """Exit code, output and errors of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), no_hang():
        code = command()
    return int(code or 0), out.getvalue(), err.getvalue()


def library(function: Callable[[], object]) -> Callable[[], object]:
    """A function as a command, whose outcome is printed."""
    return lambda: console.run("damage", lambda: print(function()))


class Subject:
    """Files that are damaged, and what is asked of them."""

    def __init__(self, folder: Path, commands: list[Callable[[], object]]) -> None:
        self.folder, self.commands = folder, commands
        self.kept = folder.with_name(f"{folder.name}-kept")
        self.undisturbed = [asked(command) for command in commands]
        shutil.copytree(folder, self.kept)

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def put_back(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)


def results(folder: Path) -> Subject:
    """A finished sweep."""
    (folder / "toy.toml").write_text(SWEEP)
    where = folder / "swept" / "toy"
    assert asked(lambda: toy_main(["run", str(folder / "toy.toml"), "--out", str(where)]))[0] == 0
    key = sorted(path.name for path in (where / "trials").iterdir())[0]

    def status() -> int:
        return sweep.main(["status", str(where), "--json"])

    def exported() -> int:
        code = sweep.main(["export", str(where), "--csv", str(folder / "t.csv"), "--force", "--json"])
        print((folder / "t.csv").read_text() if code == 0 else "")
        return code

    def measured() -> list[object]:
        table = sweep_table(where, min_steps=1)
        rows = [(one.key, one.loss, one.flops, one.tokens, one.params) for one in table.observations]
        return [*rows, table.excluded]

    return Subject(
        where, [status, lambda: sweep.main(["logs", str(where), key, "--json"]), exported, library(measured)]
    )


def law_book(folder: Path) -> Subject:
    place = folder / "book"
    place.mkdir()
    shutil.copy(Path(__file__).parents[1] / "results" / "reference" / "laws.json", place)
    return Subject(place, [lambda: plan.main(["--laws", str(place / "laws.json"), "--budget", "1e13", "--json"])])


def model(folder: Path) -> Subject:
    place = Path(shutil.copytree(find_model("nano-7k").source, folder / "model"))

    def weights() -> float:
        spec = read_model(place)
        training_tokenizer(str(place), "mean")
        return float(sum(float(value.double().sum()) for value in load_backbone(spec).parameters()))

    return Subject(place, [library(weights)])


def cache(folder: Path) -> Subject:
    place, pairs = folder / "cache", folder / "pairs.jsonl"
    place.mkdir()
    texts = ({"query": f"what is number {i}", "positive": f"number {i} is {i * i}"} for i in range(1500))
    pairs.write_text("".join(json.dumps(row) + "\n" for row in texts))
    training = Training(data=str(pairs), batch_size=8, pool_size=16, pools=1)

    def tokens() -> str:
        with mock.patch.dict(os.environ, RECIPE_PLANNER_CACHE=str(place)):
            made = prepare(training, find_model("nano-7k").source)
            return f"{made.data_hash} {made.pairs.query[3].tolist()} {made.pairs.held_out.sum()}"

    return Subject(place, [library(tokens)])


def told(path: Path, before: str, after: str) -> bool:
    """Whether an answer names the damaged file, or says that something is damaged, as the undisturbed one does not."""
    return any(after.count(word) > before.count(word) for word in (path.name, "is damaged"))


def unnoticed(path: Path, how: str) -> bool:
    """Whether nobody can notice: what is gone, and other numbers in the weights of a model, which has no checksum."""
    return how == GONE or (path.suffix == ".safetensors" and how not in SAID)


def differing(before: str, after: str) -> str:
    """Where two answers part."""
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    return f"{before[max(at - 30, 0) : at + 60]!r} {after[max(at - 30, 0) : at + 60]!r}"


SUBJECTS = {"results": results, "law book": law_book, "model": model, "cache": cache}


def faults(subject: Subject, seed: int) -> list[str]:
    """What went wrong after one file was damaged."""
    files = subject.files()
    path = files[seed % len(files)]
    how = damage(path, seed)
    where, found = f"{path.relative_to(subject.folder)} {how} (seed {seed})", []
    for command, undisturbed in zip(subject.commands, subject.undisturbed, strict=True):
        try:
            code, out, err = asked(command)
        except (Exception, SystemExit) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            found.append(f"{where}: {type(error).__name__}: {str(error)[:200]} ({place.filename}:{place.lineno})")
            continue
        if code == 2 and err.count("\n") != 1:
            found.append(f"{where}: said {err[:300]!r}")
        if (
            not unnoticed(path, how)
            and not err
            and (code, out) != undisturbed[:2]
            and not told(path, undisturbed[1], out)
        ):
            found.append(f"{where}: differs without a word: {differing(undisturbed[1], out)}")
    subject.put_back()
    return found


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_damaged_file_is_one_line_or_nothing(tmp_path, name):
    subject = SUBJECTS[name](tmp_path)
    count = {"results": 40, "law book": 40, "model": 25, "cache": 12}[name]
    found = [fault for seed in range(count) for fault in faults(subject, seed)]
    assert not found, "\n".join(found)


def main(count: int, first: int = 10_000) -> int:
    """Damage so many times, in turn each of the subjects; returns how many faults there were."""
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        subjects = {kind: make(Path(tempfile.mkdtemp(dir=name))) for kind, make in SUBJECTS.items()}
        for seed in range(first, first + count):
            kind = list(subjects)[seed % len(subjects)]
            found = faults(subjects[kind], seed // len(subjects))
            total[kind] += 1
            total["faults"] += len(found)
            for fault in found:
                print(kind, fault, flush=True)
            if seed % 100 == 0:
                print(dict(total), flush=True)
    print(dict(total))
    return total["faults"]


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1])) > 0)
