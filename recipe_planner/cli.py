"""The commands as they are installed: each starts its package."""

from __future__ import annotations

import sys

# Command -> the module whose `main` it is.
COMMANDS = {"plan": "planner.cli", "sweep": "sweeps.cli", "fit": "analysis.cli", "embed": "runner.cli"}
HELP = """\
usage: recipe COMMAND ...

From a budget to a text-embedding model. Each command is also there under its own name.

commands:
  plan       the recipe to train for a budget, and how sure it is
  sweep      train a grid of trials, on one machine or a cluster
  fit        laws from the losses of a sweep or of any table of runs
  embed      train a recipe; evaluate, merge, export and use models

  recipe COMMAND --help tells more of each; recipe --version the version.
"""


def plan(argv: list[str] | None = None) -> int:
    """The command `plan`; returns its exit code."""
    return start("plan", argv)


def sweep(argv: list[str] | None = None) -> int:
    """The command `sweep`; returns its exit code."""
    return start("sweep", argv)


def fit(argv: list[str] | None = None) -> int:
    """The command `fit`; returns its exit code."""
    return start("fit", argv)


def embed(argv: list[str] | None = None) -> int:
    """The command `embed`; returns its exit code."""
    return start("embed", argv)


def recipe(argv: list[str] | None = None) -> int:
    """The command `recipe`, which is the others under one name; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] in (["-h"], ["--help"]):
        print(HELP, end="")
        return 0
    if words[:1] == ["--version"]:
        return start("plan", words)
    if words and words[0] in COMMANDS:
        if argv is None:
            del sys.argv[1]  # the command reads the rest
            return start(words[0], None)
        return start(words[0], words[1:])
    given = f"COMMAND is {words[0]!r}" if words else "COMMAND is missing"
    print(f"recipe: error: {given}; known: {', '.join(COMMANDS)}", file=sys.stderr)
    return 2


def start(command: str, argv: list[str] | None) -> int:
    """Run a command, whose process and its children's find our packages before all others; returns its exit code."""
    import importlib

    from recipe_planner.packages import ROOT

    sys.path.insert(0, str(ROOT))
    code: int = importlib.import_module(COMMANDS[command]).main(argv)
    return code
