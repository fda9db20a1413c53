"""The heavy libraries, loaded and kept quiet: what a command prints is its own."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

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
