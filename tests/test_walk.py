"""Adding one thing as CONTRIBUTING.md shows it: its code, in a copy of the source, passes the checks that it names.

And the same with a mistake in it fails them: what is listed is tested.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("docs", "recipe_planner", "sweeps", "planner", "runner", "analysis", "results", "tests")
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Adding one thing\n")[1].split("\n## ")[0]
PLACE = re.compile(r"^# (?P<file>\S+\.py), (?P<where>new|imports|above|in)(?: (?P<name>\w+))?$")


@dataclass(frozen=True)
class Piece:
    """Code that a paragraph shows: a new file, or what stands among a file's imports, above an assignment or in it."""

    file: str
    where: str
    name: str
    code: str


@dataclass(frozen=True)
class Paragraph:
    """How one thing is added. prepare: commands that follow the code, of other programs. checks: of pytest."""

    pieces: tuple[Piece, ...]
    prepare: tuple[str, ...]
    checks: str


def paragraphs() -> dict[str, Paragraph]:
    """The guide's paragraphs that show code, by what they add."""
    found = {}
    for section in GUIDE.split("\n### ")[1:]:
        title, _, text = section.partition("\n")
        prose, *blocks = re.split(r"```python\n(.*?)```", text, flags=re.DOTALL)
        if blocks:
            code, prose = "".join(blocks[::2]), prose + "".join(blocks[1::2])
            commands = [line.split(maxsplit=1) for line in re.findall(r"^    (.+)$", prose, re.MULTILINE)]
            (checks,) = [rest for program, rest in commands if program == "pytest"]
            prepare = tuple(f"{program} {rest}" for program, rest in commands if program != "pytest")
            found[title] = Paragraph(tuple(pieces(code)), prepare, checks)
    return found


def pieces(code: str) -> list[Piece]:
    """The code under each line that names a place."""
    found: list[Piece] = []
    for line in code.splitlines(keepends=True):
        if place := PLACE.match(line.rstrip()):
            found.append(Piece(place["file"], place["where"], place["name"] or "", ""))
        else:
            found[-1] = Piece(found[-1].file, found[-1].where, found[-1].name, found[-1].code + line)
    return found


def put(piece: Piece, root: Path) -> None:
    """Write a piece where it says."""
    path = root / piece.file
    if piece.where == "new":
        assert not path.exists()
        path.write_text(piece.code, encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    lines, tree = text.splitlines(keepends=True), ast.parse(text)
    if piece.where == "imports":
        last = max(node.end_lineno for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)))
        lines.insert(last, piece.code.strip("\n") + "\n")
    else:
        node = next(node for node in tree.body if piece.name in targets(node))
        if piece.where == "above":
            above = node.lineno - 1
            while lines[above - 1].startswith("#"):  # a comment on the list stays with it
                above -= 1
            lines.insert(above, piece.code.strip("\n") + "\n\n\n")
        else:  # before the bracket that closes the list
            line, column = node.value.end_lineno - 1, node.value.end_col_offset - 1
            before, after = lines[line][:column], lines[line][column:]
            comma = "" if text_before(lines, line, column).rstrip().endswith((",", "{", "[")) else ", "
            lines[line] = before + comma + piece.code.strip("\n") + ("\n" if not before.strip() else "") + after
    path.write_text("".join(lines), encoding="utf-8")


def targets(node: ast.stmt) -> list[str]:
    """Names that a statement assigns."""
    named = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in named if isinstance(target, ast.Name)]


def text_before(lines: list[str], line: int, column: int) -> str:
    return "".join(lines[:line]) + lines[line][:column]


@dataclass(frozen=True)
class Mistake:
    """What to write wrongly, and the test that must notice."""

    right: str
    wrong: str
    noticed_by: str


MISTAKES = {
    "A tuning method": Mistake("+ model.width", "", "test_counted_trainable_is_what_torch_counts"),
    "A law family": Mistake("D**self.beta", "D**self.alpha", "test_a_family_recovers_its_own_law"),
    "A launcher": Mistake('("nice", ', '("false", ', "test_a_sweep_of_two_trials_is_run"),
    "A reader of pairs": Mistake(
        "enumerate(table, 1)", "enumerate(list(table)[1:], 1)", "test_every_format_gives_the_same"
    ),
    "A figure": Mistake("(FLOP)", "", "test_words_never_collide_and_stay_inside"),
}


@pytest.fixture(params=list(MISTAKES))
def kind(request) -> str:
    return request.param


@pytest.fixture
def copy(tmp_path) -> Path:
    """The source without what none of it needs; what Python compiled of it comes along, or each process would again."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("benchmarks"))
    for name in ("pyproject.toml", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def check(paragraph: Paragraph, root: Path) -> subprocess.CompletedProcess[str]:
    """Add what a paragraph shows to a copy, and run its checks there."""
    for piece in paragraph.pieces:
        put(piece, root)
    environment = os.environ | {"PYTHONPATH": str(root)}
    programs = [shlex.split(command) for command in paragraph.prepare]
    programs += [["pytest", "-v", "-p", "no:cacheprovider", *shlex.split(paragraph.checks)]]
    for name, *arguments in programs:
        command = [sys.executable, *(["-m", name] if name != "python" else []), *arguments]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0 or name == "pytest", done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_what_is_added_as_shown_passes_its_checks(kind, copy):
    paragraph = paragraphs()[kind]
    done = check(paragraph, copy)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = [word for word in shlex.split(paragraph.checks) if word.startswith("tests/")]
    assert asked and all(re.search(rf"^{path}.*::.* PASSED", done.stdout, re.MULTILINE) for path in asked), done.stdout


@pytest.mark.slow
def test_a_mistake_in_it_is_noticed(kind, copy):
    paragraph, mistake = paragraphs()[kind], MISTAKES[kind]
    wrong = [Piece(p.file, p.where, p.name, p.code.replace(mistake.right, mistake.wrong)) for p in paragraph.pieces]
    assert wrong != list(paragraph.pieces)
    done = check(Paragraph(tuple(wrong), paragraph.prepare, f"{paragraph.checks} -x"), copy)
    assert done.returncode == 1, done.stdout + done.stderr
    failed = re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE)
    assert any(name.startswith(mistake.noticed_by) for name in failed), done.stdout


def test_every_paragraph_with_code_is_walked():
    assert set(paragraphs()) == set(MISTAKES)
    for paragraph in paragraphs().values():
        code = [piece for piece in paragraph.pieces if not piece.file.startswith("tests/")]
        assert (
            len({piece.file for piece in code if piece.where not in ("in", "imports")}) == 1
        )  # one file, and its line
