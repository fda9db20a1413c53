"""What the four commands share: a parser whose help ends in examples, and errors as one line with exit code 2."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


def parser(command: str, purpose: str, examples: str) -> argparse.ArgumentParser:
    """An argument parser for `command`; `examples` is printed under the options, as written."""
    return argparse.ArgumentParser(
        prog=command,
        description=purpose,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def positive(flag: str, text: str, wanted: str, number: str | None = None) -> float:
    """`text`, or the part of it that is the `number`, as a positive finite number.

    Raises ValueError naming the flag, the whole text and what is wanted.
    """
    try:
        value = float(text if number is None else number)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{flag} is {text!r}; it must be {wanted}")
    return value


def run(command: str, main: Callable[[], int | None], flags: Mapping[str, str] | None = None) -> int:
    """Exit code of `main`: bad input is 2 with one line on stderr, Ctrl-C is 130, a closed pipe is quiet.

    flags: see `named_as_flags`.
    """
    try:
        with named_as_flags(flags or {}):
            return main() or 0
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to say, nobody listens
            return 141
        print(f"{command}: error: {sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{command}: stopped", file=sys.stderr)
        return 130


def flags_of(arguments: argparse.Namespace) -> dict[str, str]:
    """The flag of each parameter of a command whose flags are named as its parameters are."""
    return {name: f"--{name.replace('_', '-')}" for name in vars(arguments)}


@contextmanager
def named_as_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Inside, what library errors name in backquotes is named as on the command line. flags: parameter -> its flag."""
    try:
        yield
    except ValueError as error:
        raise ValueError(flagged(str(error), flags)) from error


def flagged(text: str, flags: Mapping[str, str]) -> str:
    """`text` with what stands in backquotes named as on the command line. flags: parameter -> its flag."""
    return re.sub(r"`(\w+)`", lambda name: flags.get(name[1], name[0]), text)


def sentence(error: Exception) -> str:
    """What went wrong, in one line; of an error of the operating system the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
