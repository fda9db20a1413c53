"""Errors are one line; a library names parameters, and only a command turns them into its options."""

import ast
import re
from pathlib import Path

import pytest

from sweeps.support import console

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = ("cli.py", "command.py")  # what parses options may name them, and so may all in a folder `commands`
OPTION = re.compile(r"(?<![\w-])--[a-z]")


def test_parameters_are_named_as_options():
    flags = {"store": "--store", "retry_failed": "--retry-failed"}
    with pytest.raises(ValueError, match="store") as caught, console.named_as_flags(flags):
        raise ValueError("`store` is 'x'; `sweep run` and `other` stay, with `retry_failed`")
    assert str(caught.value) == "--store is 'x'; `sweep run` and `other` stay, with --retry-failed"


def test_an_error_is_one_line_and_exit_code_2(capsys):
    def main():
        raise ValueError("of two\n   lines")

    assert console.run("sweep", main) == 2
    assert capsys.readouterr().err == "sweep: error: of two lines\n"


def refusals(tree: ast.AST) -> list[str]:
    """Texts of the errors that are raised in a module."""
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    texts = [node for error in raised for node in ast.walk(error) if isinstance(node, ast.Constant)]
    return [text.value for text in texts if isinstance(text.value, str)]


def library() -> list[Path]:
    sources = [
        path for package in ("sweeps", "planner", "runner", "analysis") for path in (ROOT / package).rglob("*.py")
    ]
    return [path for path in sources if path.name not in COMMANDS and path.parent.name != "commands"]


def test_library_errors_speak_of_parameters():
    texts = {str(path.relative_to(ROOT)): refusals(ast.parse(path.read_text("utf-8"))) for path in library()}
    assert sum(map(len, texts.values())) > 100
    named = {path: [text for text in told if OPTION.search(text)] for path, told in texts.items()}
    assert {path: told for path, told in named.items() if told} == ALLOWED


# An option of another command, which the error tells to use or whose file it is about.
ALLOWED: dict[str, list[str]] = {
    "sweeps/store/database.py": [
        ": is damaged, or was changed by hand; say the database again: `sweep status DIR --store URL`"
    ],
    "sweeps/store/postgres.py": [" --store URL`"],
    "analysis/tables/comparison.py": [": is not what `embed merge --surface` writes: "],
}


@pytest.mark.parametrize("line", ['raise ValueError("give another --out")', 'raise ValueError(f"{x}: --out is {x}")'])
def test_an_option_in_an_error_would_be_seen(line):
    assert any(OPTION.search(text) for text in refusals(ast.parse(line)))
