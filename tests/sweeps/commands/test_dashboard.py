"""A sweep in optuna-dashboard: the real server shows it, and what comes while it is open."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request

import pytest

from support.sweep_process import begin, spawn
from support.toy_sweeps import toy_main
from support.waiting import wait_for
from sweeps import cli
from sweeps.commands import dashboard


def asked(address: str, path: str) -> dict:
    with urllib.request.urlopen(f"{address}api/{path}", timeout=30) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_the_server_shows_the_study_and_follows_the_sweep(store, capsys):
    before = {path: path.stat().st_mtime_ns for path in store.directory.rglob("*")}
    process = spawn("dashboard", "results/toy", "--port", "0", "--no-browser", stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stderr if "trials at" in line)
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
        (study,) = asked(address, "studies")["study_summaries"]
        assert study["study_name"] == "toy"

        def shown() -> list[dict]:
            return asked(address, f"studies/{study['study_id']}?after=0")["trials"]

        assert len(shown()) == len(list(store.results()))
        assert cli.main(["dashboard", "results/toy", "--port", address.split(":")[2].strip("/")]) == 2
        assert "which cannot be used" in capsys.readouterr().err
        assert {path: path.stat().st_mtime_ns for path in store.directory.rglob("*")} == before
        count = len(shown())
        begin("results/toy")
        assert toy_main(["run", "toy.toml", "--retry-failed"]) == 0
        wait_for(lambda: len(shown()) > count)  # those that were tried again
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0 and "Traceback" not in said


def test_without_the_extra_it_is_said_how_to_get_it(store, monkeypatch, capsys):
    monkeypatch.setattr(dashboard, "find_spec", lambda name: None)
    assert cli.main(["dashboard", "results/toy"]) == 2
    assert "pip install 'recipe-planner[dashboard]'" in capsys.readouterr().err
