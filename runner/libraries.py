"""The heavy libraries, loaded and kept quiet: what a command prints is its own."""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from sweeps.support.progress import waiting

LOUD = ("sentence_transformers", "datasets", "mteb", "huggingface_hub", "torch", "filelock")  # loggers


def quiet_libraries(told: bool = True) -> None:
    """Load the heavy libraries, and silence their bars and notices, which would drown our own.

    told: whether it is said on stderr that this takes a while.
    """
    warnings.simplefilter("ignore")  # ours are lines of their own
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
    with waiting("loading libraries", quiet=not told):
        import torch  # noqa: F401 (most of the wait)
        import transformers
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def silenced(what: str) -> Iterator[None]:
    """Inside, drop what libraries print on stderr, bars above all; how long `what` takes is told instead."""
    with waiting(what), redirect_stderr(io.StringIO()):
        yield


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Inside, a full disk or a limit that safetensors meets while it writes to `path` is the OSError that it is."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if not (number := re.search(r"os error (\d+)", str(error))):
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), os.fspath(path)) from None
