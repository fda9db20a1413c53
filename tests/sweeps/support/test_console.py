"""Errors are one line; a library names parameters, and only a command turns them into its options."""

import argparse
import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from sweeps.machine.measured import cache_folder
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


def test_ctrl_c_while_an_object_is_cleared_away_is_not_lost(capsys):
    """Python drops what is raised there: the command went on to its end, after a traceback."""

    def main():
        thing = type("Thing", (), {"__del__": lambda _: signal.raise_signal(signal.SIGINT)})()
        del thing
        time.sleep(60)

    before = sys.unraisablehook
    assert console.run("fit", main) == 130
    assert capsys.readouterr().err == "fit: stopped\n" and sys.unraisablehook is before


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
    "sweeps/store/bucket.py": [" --store "],
    "sweeps/store/note.py": [
        ": is damaged, or was changed by hand; name the store again: `sweep status DIR --store URL`"
    ],
    "sweeps/store/postgres.py": [" --store URL`"],
    "analysis/tables/comparison.py": [": is not what `embed merge --surface` writes: "],
}


@pytest.mark.parametrize("line", ['raise ValueError("give another --out")', 'raise ValueError(f"{x}: --out is {x}")'])
def test_an_option_in_an_error_would_be_seen(line):
    assert any(OPTION.search(text) for text in refusals(ast.parse(line)))


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&-", ">/dev/full", "| head -c 1 >/dev/null"])
@pytest.mark.parametrize("command", ["plan --budget 1e19", "plan --budget x", "sweep status results/reference"])
def test_a_closed_or_full_stream_is_a_line_at_most(redirection, command):
    """Whatever is closed: no traceback, and a full disk is an error."""
    module, _, rest = command.partition(" ")
    name = {"plan": "planner.cli", "sweep": "sweeps.cli"}[module]
    line = f"{shlex.quote(sys.executable)} -m {name} {rest} {redirection}"
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr and done.stderr.count("\n") <= 1
    if redirection == ">/dev/full" and " x" not in command:
        assert done.returncode == 2 and "No space left on device" in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
        {"SLURM_JOB_ID": "nonsense", "SLURM_RESTART_COUNT": "x", "SLURM_ARRAY_JOB_ID": "-1"},
        {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "many", "SLURM_ARRAY_TASK_ID": "\u0663"},
        {"RECIPE_PLANNER_CACHE": "/proc/no/such"},
        {"HOME": "/nowhere"},
    ],
)
def test_an_odd_environment_is_a_line_at_most(environment):
    code = "from sweeps.workers import this_job; job = this_job(); job and job.port; "
    code += "import sys; from sweeps.cli import main; sys.exit(main(['status', 'results/reference']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr and done.returncode in (0, 2), done.stderr


def test_without_a_home_it_is_said_what_to_set(monkeypatch):
    monkeypatch.delenv("RECIPE_PLANNER_CACHE")
    monkeypatch.setattr(Path, "home", mock.Mock(side_effect=RuntimeError("no home")))
    with pytest.raises(ValueError, match="no home folder; set RECIPE_PLANNER_CACHE"):
        cache_folder()
    monkeypatch.setenv("RECIPE_PLANNER_CACHE", "/proc/no/such")
    with pytest.raises(ValueError, match="set RECIPE_PLANNER_CACHE to another folder"):
        cache_folder()


def test_help_is_plain_where_it_is_piped_and_coloured_on_a_terminal(monkeypatch):
    pytest.importorskip("rich_argparse")
    assert type(console.help_formatter("plan")) is argparse.RawDescriptionHelpFormatter
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert type(console.help_formatter("plan")).__name__ == "RawDescriptionRichHelpFormatter"
    monkeypatch.setenv("NO_COLOR", "1")
    assert type(console.help_formatter("plan")) is argparse.RawDescriptionHelpFormatter


@pytest.mark.parametrize("shell", console.SHELLS)
def test_completion_of_a_shell_knows_the_options(shell, capsys):
    pytest.importorskip("shtab")
    parser = console.parser("plan", "A purpose.", "  plan\n")
    parser.add_argument("--budget")
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--print-completion", shell])
    out = capsys.readouterr().out
    assert end.value.code == 0 and "budget" in out and "plan" in out


def test_the_version_is_that_of_the_distribution(capsys):
    with pytest.raises(SystemExit):
        console.parser("plan", "A purpose.", "").parse_args(["--version"])
    assert capsys.readouterr().out == f"plan (recipe-planner) {console.version()}\n"
