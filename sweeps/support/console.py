"""What the four commands share: a parser whose help ends in examples, and errors as one line with exit code 2."""

from __future__ import annotations

import argparse
import atexit
import io
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from threading import Timer, current_thread, main_thread
from types import FrameType
from typing import Any, NoReturn, TextIO

from sweeps.support.extras import DISTRIBUTION, is_ours, lacking
from sweeps.support.progress import command_begins

SHELLS = ("bash", "zsh", "tcsh")


class Parser(argparse.ArgumentParser):
    """Refuses in one line, and refuses arguments that are empty."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does. An empty argument is mostly a shell variable that is not set."""
        given = sys.argv[1:] if args is None else list(args)
        for before, text in pairwise(["", *given]):
            if text == "" or (text.startswith("--") and text.endswith("=") and text.count("=") == 1):
                where = text.removesuffix("=") or (before if before.startswith("-") else "an argument")
                self.error(f"{where} is empty")
        return super().parse_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"{self.prog.split()[0]}: error: {message}; `{self.prog} --help` lists the options\n")


def parser(command: str, purpose: str, examples: str) -> argparse.ArgumentParser:
    """An argument parser for `command`; `examples` is printed under the options, as written."""
    made = Parser(
        prog=command,
        description=purpose,
        epilog=f"examples:\n{examples}",
        formatter_class=help_formatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    made.add_argument(
        "--print-completion",
        action=_Completion,
        choices=SHELLS,
        metavar="SHELL",
        help="print a script for completion in that shell",
    )
    return made


def help_formatter(prog: str) -> argparse.HelpFormatter:
    """What lays out the help of a command: in colours on a terminal, plain when it is piped or rich is not there."""
    if sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        try:
            from rich_argparse import RawDescriptionRichHelpFormatter
        except ImportError:
            pass
        else:
            return RawDescriptionRichHelpFormatter(prog)
    return argparse.RawDescriptionHelpFormatter(prog)


class _Version(argparse.Action):
    """Prints the version of this program and ends it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"{parser.prog} ({DISTRIBUTION}) {version()}")
        parser.exit()


class _Completion(argparse.Action):
    """Prints the script by which a shell completes the command, and ends it."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, shell: Any, *__: object) -> NoReturn:
        try:
            import shtab
        except ModuleNotFoundError as error:
            parser.exit(2, f"{parser.prog}: error: {lacking(error)}\n")
        try:
            print(shtab.complete(parser, shell), flush=True)
        except BrokenPipeError:  # nobody reads on
            _listen_no_more()
        parser.exit()


def version() -> str:
    """The installed version; "not installed" for a source tree."""
    from importlib import metadata  # only here: it takes longer than most commands

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "not installed"


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
    _settle_streams()
    command_begins()
    interrupted: list[int] = []
    try:
        with _noted(interrupted), named_as_flags(flags or {}):
            code = main() or 0
        _flush()
        return code
    except (KeyboardInterrupt, Exception) as error:
        if interrupted or isinstance(error, KeyboardInterrupt):  # what is just being imported may raise anything for it
            print(f"{command}: stopped", file=sys.stderr)
            return 130
        if isinstance(error, BrokenPipeError):
            _listen_no_more()
            return 141
        if isinstance(error, ModuleNotFoundError) and not is_ours(error.name or ""):
            print(f"{command}: error: {lacking(error)}", file=sys.stderr)
            return 2
        if not isinstance(error, (ValueError, OSError, MemoryError)):
            raise
        print(f"{command}: error: {sentence(error) or 'there is not enough memory'}", file=sys.stderr)
        return 2
    finally:
        atexit.unregister(_deaf)
        atexit.register(_deaf)  # before what libraries have registered


def _deaf() -> None:
    """Ctrl-C has nothing left to end but the interpreter, which would print the traceback of its clearing away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _noted(interrupted: list[int]) -> Iterator[None]:
    """Inside, Ctrl-C is noted before it does what it does; where it does something of its own, that alone.

    Python drops what is raised while an object is cleared away, and tells of it: Ctrl-C comes again shortly after.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or current_thread() is not main_thread():
        yield
        return

    def note(number: int, frame: FrameType | None) -> NoReturn:
        interrupted.append(number)
        raise KeyboardInterrupt

    tell, again = sys.unraisablehook, []

    def dropped(told: sys.UnraisableHookArgs) -> None:
        if not (interrupted and issubclass(told.exc_type, KeyboardInterrupt)):
            return tell(told)
        again.append(Timer(0.01, signal.pthread_kill, (main_thread().ident, signal.SIGINT)))
        return again[-1].start()

    signal.signal(signal.SIGINT, note)
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        sys.unraisablehook = tell
        for timer in again:
            timer.cancel()
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _settle_streams() -> None:
    """Have a stdout and a stderr that take what is said: closed ones lead nowhere, a narrow encoding gets escapes."""
    for number in (0, 1, 2):  # else the next file that is opened would be taken for one of them
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def _flush() -> None:
    """Raise OSError where what was printed cannot be written, such as to a full disk."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _listen_no_more()
        raise OSError(error.errno, error.strerror, "stdout") from None


def _listen_no_more() -> None:
    """Have what is left to be printed lead nowhere: the interpreter would complain about it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def flags_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """The flag of each option of a command, by the name of its parameter."""
    return {action.dest: action.option_strings[0] for action in parser._actions if action.option_strings}


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
