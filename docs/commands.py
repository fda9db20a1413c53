"""The reference of the commands, from their parsers: `python docs/commands.py` writes docs/commands.md."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from recipe_planner.cli import COMMANDS  # noqa: E402 (found by the line above)

PAGE = ROOT / "docs" / "commands.md"
HIDDEN = {"rank"}  # started by another command, never by hand
HEAD = """\
# Commands

Every option of every command. `COMMAND --help` shows the same. Made from the code by `python docs/commands.py`.

| exit code | when |
| --- | --- |
| 0 | success |
| 1 | `sweep run`: a trial failed |
| 2 | wrong input; one line says what is wrong |
| 130 | Ctrl-C |
"""


class Built(Exception):
    """Carries the parser of a command out of its `main`."""

    def __init__(self, parser: argparse.ArgumentParser):
        super().__init__()
        self.parser = parser


def parser_of(module: str) -> argparse.ArgumentParser:
    """The parser with which a command reads its arguments."""

    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Built(parser)

    with patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            importlib.import_module(module).main([])
        except Built as built:
            return built.parser
    raise RuntimeError(f"{module}.main reads no arguments")


def page() -> str:
    """The reference as Markdown."""
    return "\n".join([HEAD, *(part for name, module in COMMANDS.items() for part in _command(name, parser_of(module)))])


def _command(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    commands = subcommands(parser)
    yield f"## {name}\n\n{_sentence(parser)}\n"
    if commands:
        rows = [[f"[`{name} {key}`](#{name}-{key})", _sentence(command)] for key, command in commands.items()]
        yield _table(("command", "what it does"), rows)
    yield from _options(parser)
    yield from _examples(parser, name)
    for key, command in commands.items():
        yield f"### {name} {key}\n\n{_sentence(command)}\n"
        yield from _options(command)


def subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The subcommands that people type."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {key: command for key, command in action.choices.items() if key not in HIDDEN}
    return {}


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:
        left_out = (argparse._HelpAction, argparse._SubParsersAction)
        actions = [action for action in group._group_actions if not isinstance(action, left_out)]
        if rows := [[_name(action), _help(parser, action)] for action in actions if action.help != argparse.SUPPRESS]:
            title = group.title if group.title not in ("positional arguments", "options") else ""
            yield _table(("argument" if not actions[0].option_strings else "option", "what it does"), rows, title or "")


def _name(action: argparse.Action) -> str:
    shown = str(action.metavar or action.dest.upper()) if action.nargs != 0 else ""
    shown = f"{shown} ..." if action.nargs in ("+", "*") else shown
    return ", ".join(f"`{f'{flag} {shown}'.strip()}`" for flag in action.option_strings) or f"`{shown}`"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser.formatter_class(prog=parser.prog)._expand_help(action) if action.help else ""
    choices = [str(choice) for choice in action.choices or ()]
    known = f"one of {', '.join(f'`{choice}`' for choice in choices)}" if choices else ""
    needed = "required" if action.required and action.option_strings else ""
    return "; ".join(part for part in (text, known, needed) if part)


def _examples(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    lines = (parser.epilog or "").splitlines()[1:]
    if lines:
        yield "\n".join(["```text", *(line.removeprefix("  ") for line in lines), "```", ""])


def _sentence(parser: argparse.ArgumentParser) -> str:
    text = (parser.description or "").strip()
    text = text.partition(": ")[2] if text.startswith("`") else text
    return text[:1].upper() + text[1:]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in (head, *rows)]
    lines.insert(1, f"|{' --- |' * len(head)}")
    return "\n".join([*([f"**{title}**", ""] if title else []), *lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
