"""The commands as they are installed: each starts its package, and says in one line what another one has overwritten.

A file of its own, for the packages' names are plain words: a neighbour that installs a package `sweeps`, as that of
Weights & Biases does, writes over ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

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
    """Run a command; returns its exit code, 2 where its packages are not those of this program."""
    try:
        main = _main(COMMANDS[command])
    except (ImportError, AttributeError) as error:
        print(f"{command}: error: {reason(error)}", file=sys.stderr)
        return 2
    return main(argv)


def _main(module: str) -> Callable[[list[str] | None], int]:
    import importlib

    main: Callable[[list[str] | None], int] = importlib.import_module(module).main
    return main


def public(package: str, homes: Mapping[str, str], name: str) -> Any:
    """A public name of a package, from the module that `homes` gives (name -> module inside the package).

    Raises AttributeError for a name that is not among them, ImportError with the reason where the module does not load.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
    except ImportError as error:
        raise ImportError(reason(error), name=error.name, path=error.path) from error


def reason(error: Exception) -> str:
    """What stands in the way of the packages, and what to do. Nothing of them is imported: none may be ours."""
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    for package in ("sweeps", "planner", "runner", "analysis"):
        others = [name for name in owners.get(package, ()) if name.lower().replace("_", "-") != "recipe-planner"]
        if others:
            return (
                f"the package {package} was overwritten by that of the distribution {others[0]}: pip uninstall -y "
                f"{others[0]} and install recipe-planner again with --force-reinstall --no-deps, or keep the two apart "
                "with uv tool install or pipx"
            )
    return " ".join(str(error).split())


if __name__ == "__main__":
    raise SystemExit(recipe())
