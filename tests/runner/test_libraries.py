"""What libraries say of a disk is said as of any other file."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
from pathlib import Path

import pytest
import torch

from runner.libraries import disk_errors
from runner.training.checkpoint import write_tensors
from sweeps.support.console import sentence


def _limited(path: Path, answers: multiprocessing.Queue) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    try:
        write_tensors(path, {"weights": torch.zeros(10_000)}, {"key": "k"})
    except OSError as error:
        answers.put(sentence(error))


def test_a_checkpoint_that_meets_a_limit_of_files_names_the_file_and_leaves_none(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=_limited, args=(tmp_path / "checkpoint.safetensors", answers))
    process.start()
    assert answers.get(timeout=60) == f"{tmp_path / 'checkpoint.safetensors'}: {os.strerror(errno.EFBIG)}"
    process.join()
    assert os.listdir(tmp_path) == []


def test_what_is_wrong_with_tensors_stays_what_it_is(tmp_path):
    from safetensors import SafetensorError

    with pytest.raises(SafetensorError, match="header"), disk_errors(tmp_path):
        raise SafetensorError("the header is too large")
