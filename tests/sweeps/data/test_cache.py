"""What is kept to save doing something again costs nobody an answer: damaged or not to be written, it is said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from sweeps.data import cache
from sweeps.data.cache import keep_json, kept_json, recalled
from sweeps.support.processes import own_code


def test_what_was_kept_is_read_again_and_what_was_changed_is_made_anew_with_a_word(tmp_path, capsys):
    path = tmp_path / "kept.json"
    keep_json(path, {"pairs": 12})
    assert recalled(path, kept_json) == {"pairs": 12}
    path.write_text(path.read_text().replace("12", "13"))
    assert recalled(path, kept_json) is None and not path.exists()
    assert f"{path}: cannot be used and is made anew: it is not what was written" in capsys.readouterr().err


def test_a_cache_that_may_not_be_written_to_is_told_and_the_answer_stands(tmp_path, monkeypatch, capsys):
    def denied(path, text):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(cache, "write_text", denied)
    keep_json(tmp_path / "kept.json", {"pairs": 12})
    said = capsys.readouterr().err
    assert f"{tmp_path / 'kept.json'}: Read-only file system: not kept" in said and "RECIPE_PLANNER_CACHE" in said


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root mounts a file system")
def test_a_plan_by_own_data_is_answered_with_a_cache_on_a_file_system_that_is_read_only(tmp_path):
    (tmp_path / "cache").mkdir()
    rows = (f'{{"query": "what is {i}", "positive": "{i} is {i * i}"}}\n' for i in range(400))
    (tmp_path / "pairs.jsonl").write_text("".join(rows))
    plan = [sys.executable, "-m", "planner.cli", "--budget", "1e11", "--data", "pairs.jsonl", "--min-steps", "1"]
    mount = 'mount -t tmpfs -o ro none cache && exec "$@"'
    command = ["unshare", "-m", "bash", "-c", mount, "--", *plan]
    variables = os.environ | own_code() | {"RECIPE_PLANNER_CACHE": str(tmp_path / "cache")}
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no namespace can be made here")
    run = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert run.returncode == 0 and "Read-only file system: not kept for the next time" in run.stderr, run.stderr
    assert run.stdout.startswith("model")
