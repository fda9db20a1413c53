"""Where there is no GPU: the steps it would take keep to one device, and wait for it once, to read the loss."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parents[1] / "support"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real one; see test_gpu")
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_step_keeps_to_the_gpu_and_waits_for_it_once(tmp_path):
    torch_folder, library = Path(torch.__file__).parent, tmp_path / "fake_gpu.so"
    compiler = ["g++", "-std=c++20", "-shared", "-fPIC", f"-I{torch_folder / 'include'}", HERE / "fake_gpu.cpp"]
    subprocess.run([*compiler, "-o", library, f"-L{torch_folder / 'lib'}", "-lc10", "-ltorch_cpu"], check=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", HERE / "fake_gpu.py", library],
        env={
            "PYTHONPATH": f"{HERE.parents[1]}:{HERE.parent}",
            "PATH": "/usr/bin:/bin",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases) > 8
    assert [case for case in cases if case.get("read") != 1] == []
