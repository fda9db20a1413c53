"""What is wrong with an option is told in one line by its flag, its value and the choices."""

from __future__ import annotations

import argparse
import importlib
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipe_planner.cli import COMMANDS
from support.known_laws import write_laws
from support.known_runs import TRUTH, grid

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = runpy.run_path(str(ROOT / "docs" / "commands.py"))
BAD = "WRONG"
# By command: arguments beside which every option that takes a text is tried, and options that take any text, or whose
# text is looked at elsewhere: what lies at a path, and what only a file of runs or a server can tell.
TEXTS = {
    "plan": (["--budget", "1e13", "--laws", "laws.json", "--hardware", "h100"], {"--out"}),
    "sweep init": (["new.toml"], set()),
    "sweep run": (["asked.toml", "--dry-run", "--hardware", "h100"], {"--out", "--profile"}),
    "fit": (["runs.csv", "--n", "N", "--d", "D", "--loss", "loss", "--family", "tied"], {"--figures"}),
}


def options() -> Iterator[tuple[str, argparse.Action]]:
    """Command and option of everything that takes a value."""
    for name, module in COMMANDS.items():
        parser = REFERENCE["parser_of"](module)
        commands = REFERENCE["subcommands"](parser)
        parsers = {f"{name} {command}": each for command, each in commands.items()} if commands else {name: parser}
        for command, each in parsers.items():
            yield from ((command, action) for action in each._actions if action.option_strings and action.nargs != 0)


def is_text(action: argparse.Action) -> bool:
    return action.choices is None and action.type in (None, Path)


def refused(command: str, arguments: list[str], capsys) -> str:
    """The one line with which a command refuses its arguments."""
    name, *sub = command.split()
    main = importlib.import_module(COMMANDS[name]).main
    try:
        code = main([*sub, *arguments])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert code == 2 and said.out == "", said
    line = said.err.splitlines()[-1]  # what takes time says so before, on a slow machine
    assert line.startswith(f"{name}: error: ") and said.err.count("error: ") == 1, said.err
    return line


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_laws(tmp_path / "laws.json")
    grid(TRUTH).to_csv("runs.csv", index=False)
    Path("asked.toml").write_text('models = ["nano-7k"]\nbudgets = [1e9]\n[[methods]]\nname = "full"\nlr = 1e-3\n')


CHECKED = [(command, action) for command, action in options() if not is_text(action)]


@pytest.mark.parametrize(("command", "action"), CHECKED, ids=lambda each: getattr(each, "option_strings", [each])[0])
def test_a_number_or_a_choice_that_is_none_is_named(command, action, capsys):
    for bad in (BAD,) if action.choices else (BAD, "-1e400", "nan"):
        line = refused(command, [f"{action.option_strings[0]}={bad}"], capsys)
        assert action.option_strings[0] in line and bad in line and f"`{command} --help`" in line
        assert all(str(choice) in line for choice in action.choices or ())


TRIED = [
    (command, action)
    for command, action in options()
    if command in TEXTS and is_text(action) and action.option_strings[0] not in TEXTS[command][1]
]


@pytest.mark.parametrize(("command", "action"), TRIED, ids=lambda each: getattr(each, "option_strings", [each])[0])
def test_a_text_that_means_nothing_is_named(command, action, capsys):
    flag = action.option_strings[0]
    beside = list(TEXTS[command][0])
    if flag in beside:
        del beside[beside.index(flag) : beside.index(flag) + 2]
    line = refused(command, [*beside, f"{flag}={BAD}"], capsys)
    assert flag in line, line


@pytest.mark.parametrize("arguments", [["--laws="], ["--laws", ""], ["--budget", ""]])
def test_an_empty_argument_is_refused(arguments, capsys):
    given = arguments if "--budget" in arguments else ["--budget", "1e13", *arguments]
    assert refused("plan", given, capsys).startswith(f"plan: error: {arguments[0].removesuffix('=')} is empty")
    assert "an argument is empty" in refused("fit", [""], capsys)
