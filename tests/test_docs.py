"""What the documentation says holds: examples run, commands and files it names are there."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import planner.cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
COMMANDS = {"plan": "planner.cli", "fit": "analysis.cli", "sweep": "sweeps.cli", "embed": "runner.cli"}


# What a stranger stumbles over, in code or on a page, and what is said instead.
ODD = {
    "way back": "backward pass",
    "forget activations": "gradient checkpointing",
    "lend no negatives": "are not used as negatives",
    "as dear": "costs as much",
    "evenly apart": "evenly spaced",
    "hardly told": "not identifiable",
    "laws that ship": "bundled laws",
    "results that ship": "bundled results",
    "keeps the promises": "supports what sweeps need",
    "none begins so": "no trial key starts with",
    "what to mind": "caveats",
    "as of plain": "see Plain",
    "the way of an answer": "how it works",
    "gives away": "has a regret of",
    "given away": "regret",
    "makes the choice surer": "lowers the expected regret",
    "with commas between": "comma-separated",
    "no law can come": "the trials cannot give a law",
    "gone on from": "continued from",
}


def test_no_page_and_no_code_has_an_odd_phrase():
    sources = [path for folder in ("sweeps", "planner", "runner", "analysis") for path in (ROOT / folder).rglob("*.py")]
    for path in [*PAGES, *sources, ROOT / "results" / "README.md"]:
        text = " ".join(path.read_text(encoding="utf-8").lower().split())
        found = {odd: plain for odd, plain in ODD.items() if odd in text}
        assert not found, f"{path.relative_to(ROOT)}: {found}"


@pytest.mark.parametrize("name", ["planner.recipe", "analysis"])
def test_examples_in_docstrings_run(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted >= 2 and not found.failed


# Python on a page; a file with a title belongs to the tutorial, whose test runs it.
SNIPPETS = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    )
    if page.name != "CONTRIBUTING.md"  # tests/test_walk.py puts that where it belongs
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_python_on_a_page_runs(code, tmp_path, monkeypatch, capsys):
    grid = [(size, tokens) for size in (10, 30, 100, 300) for tokens in (3, 10, 30, 100)]
    rows = [
        f"{size},{tokens},{1.7 + 400 / (size * 1e6) ** 0.34 + 410 / (tokens * 1e9) ** 0.28}" for size, tokens in grid
    ]
    (tmp_path / "runs.csv").write_text("\n".join(["size,tokens,loss", *rows]))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "page", "exec"), {})
    assert capsys.readouterr().out


def test_some_pages_show_python():
    assert len(SNIPPETS) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert re.match(r"https?://", target) or (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_warning_of_a_fit_is_documented_by_its_code():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "analysis").rglob("*.py")]
    codes = {code for text in sources for code in re.findall(r'\b(?:Caveat|warn)\(\s*"(\w+)"', text)}
    known = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "laws-json.md").read_text(encoding="utf-8")))
    assert {"lack_of_fit", "E_unidentified"} <= codes <= known, sorted(codes - known)


def test_a_release_fits_a_screen_and_the_newest_one_is_this_version():
    unreleased, *releases = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[
        1:
    ]
    heads = [re.match(r"\[([\d.]+)\] - (\d{4}-\d\d-\d\d): \w", release) for release in releases]
    assert unreleased.startswith("[Unreleased]") and all(heads)
    assert [len(release.strip().splitlines()) for release in releases if len(release.strip().splitlines()) > 20] == []
    dates = [head[2] for head in heads if head]
    assert dates == sorted(dates, reverse=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert heads[0] and version == heads[0][1] and f"\nversion: {version}\n" in cited


def commands() -> dict[tuple[str, str], list[str]]:
    """Options that the pages use, by command and subcommand; sorted, for every process must name its tests alike."""
    used: dict[tuple[str, str], set[str]] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        whole_lines = re.findall(r"^(?:\$ | {4})?((?:plan|fit|sweep|embed) (?!.*->).*)$", text, re.MULTILINE)
        for line in re.findall(r"`([^`\n]+)`", text) + whole_lines:
            words = line.removeprefix("$ ").split()
            if words and words[0] in COMMANDS and len(words) > 1:
                subcommand = words[1] if words[0] in ("sweep", "embed") and re.fullmatch("[a-z]+", words[1]) else ""
                options = {word.partition("=")[0].rstrip(",;") for word in words if word.startswith("--")}
                used.setdefault((words[0], subcommand), set()).update(options)
    return {program: sorted(options) for program, options in used.items()}


def test_the_pages_show_every_command():
    assert {command for command, _ in commands()} == set(COMMANDS)


@pytest.mark.parametrize(("command", "options"), commands().items(), ids=lambda value: " ".join(value).strip())
def test_every_option_that_a_page_names_is_there(command, options, capsys):
    name, subcommand = command
    with pytest.raises(SystemExit) as end:
        importlib.import_module(COMMANDS[name]).main([*shlex.split(subcommand), "--help"])
    shown = capsys.readouterr().out
    assert not end.value.code
    missing = {option for option in options if not re.search(rf"{re.escape(option)}\b", shown)}
    assert not missing


def test_the_reference_of_the_commands_is_that_of_todays_parsers():
    program = [sys.executable, "-c", "import commands; print(commands.page(), end='')"]
    shown = subprocess.run(program, cwd=ROOT / "docs", capture_output=True, text=True, check=True).stdout
    assert shown == (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), "run python docs/commands.py"


PLANS = [
    (page, command, shown.rstrip("\n").split("\n"))
    for page in PAGES
    for block in re.findall(r"^```\n(\$ plan .*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for command, shown in re.findall(r"^\$ (plan [^\n]*)\n(.*?)(?=^\$ |\Z)", block, re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize(("page", "command", "shown"), PLANS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_plan_in_the_documentation_is_what_the_command_prints(page, command, shown, capsys):
    if not shown[0]:
        pytest.skip("a command without what it prints")
    assert planner.cli.main(shlex.split(command)[1:]) == 0
    assert "\n".join(shown) in capsys.readouterr().out
