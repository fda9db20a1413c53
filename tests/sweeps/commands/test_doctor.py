"""A file system that breaks a promise is found out, and no sweep is begun on it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.missing import missing
from support.toy_sweeps import SWEEP, toy_main
from sweeps import cli
from sweeps.commands import doctor
from sweeps.commands.doctor import examine, follow, lead, refuse_unfit


def no_links(*_, **__):
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_a_local_disk_keeps_every_promise_and_nothing_is_left(tmp_path, capsys):
    assert cli.main(["doctor", str(tmp_path), "--json"]) == 0
    findings = {one["promise"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert len(findings) == 9 and all(one["holds"] for one in findings.values())
    for promise in ("of two processes that create a file, one wins", "of two processes that link a name, one wins"):
        figure = findings[promise]["figure"]
        assert figure.startswith("50 races") and figure.endswith("0 by both, 0 by none")
        assert 0 < int(figure.split()[2]) < 50, "one side was always first: that is no race"
    assert os.listdir(tmp_path) == []
    assert cli.main(["doctor", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("holds  requirement")


def test_two_machines_meet_in_the_folder(tmp_path):
    run = [sys.executable, "-m", "sweeps.cli", "doctor", str(tmp_path)]
    leader = subprocess.Popen([*run, "--two"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told = leader.stderr.readline()
    assert told == f"on the other machine: sweep doctor {tmp_path} --peer\n"
    assert subprocess.run([*run, "--peer"], capture_output=True, timeout=60).returncode == 0
    out, _ = leader.communicate(timeout=60)
    assert leader.returncode == 0 and out.count("\nyes") == 9


def test_nobody_on_the_other_side_is_an_error_in_time(tmp_path, capsys):
    assert cli.main(["doctor", str(tmp_path), "--two", "--seconds", "0.2"]) == 2
    assert "the other process gave no answer for 0.2 s" in capsys.readouterr().err
    assert cli.main(["doctor", str(tmp_path), "--peer", "--seconds", "0.2"]) == 2
    assert "the first process of this check has ended" in capsys.readouterr().err
    assert cli.main(["doctor", str(tmp_path / "none")]) == 2
    assert os.listdir(tmp_path) == []


def together(folder: Path) -> dict[str, bool]:
    """What is found with the follower in a thread, so that both see what a test has broken."""
    follower = threading.Thread(target=follow, args=(folder, 20.0))
    follower.start()
    held = {finding.promise: finding.holds for finding in lead(folder, 20.0)}
    follower.join()
    return held


def test_creation_that_both_win_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_create", lambda path: path.touch())
    assert together(tmp_path)["a file is created once"] is False


def test_links_that_both_win_are_found(tmp_path, monkeypatch):
    monkeypatch.setitem(doctor.TAKE, "link", lambda path, who: True)
    held = together(tmp_path)
    assert [promise for promise, holds in held.items() if not holds] == ["of two processes that link a name, one wins"]


def test_changes_that_are_never_seen_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LATE", 0.2)
    monkeypatch.setitem(doctor.FOLLOWED, "watch", blind)
    held = together(tmp_path)
    assert [promise for promise, holds in held.items() if not holds] == ["the other machine sees changes in time"]


def blind(meeting: Path, what: dict) -> dict:
    (meeting / f"watching-{what['what']}").touch()
    return {"seen": False}


def test_without_hard_links_the_command_says_no_and_no_sweep_begins(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(SWEEP)
    monkeypatch.setattr(os, "link", no_links)
    assert cli.main(["doctor", "."]) == 1
    text = capsys.readouterr().out
    assert "no hard links (Operation not permitted)" in text and "--store postgresql://" in text
    assert toy_main(["run", "toy.toml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sweep: error: results/toy: its file system cannot hold a sweep: of two hard links")
    assert "--store postgresql://" in said and said.count("\n") == 1
    assert os.listdir(tmp_path) == ["toy.toml"]


def test_a_real_file_system_without_links_is_refused(tmp_path):
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with open(image, "wb") as file:
        file.truncate(2_000_000)
    made = (
        subprocess.run(["mkfs.vfat", image], capture_output=True) if os.geteuid() == 0 and _has("mkfs.vfat") else None
    )
    if made is None or subprocess.run(["mount", "-o", "loop", image, disk], capture_output=True).returncode:
        missing("a file system without hard links", "no vfat image can be made and mounted here")
    try:
        with pytest.raises(ValueError, match="no hard links"):
            refuse_unfit(disk / "results")
        assert not all(finding.holds for finding in examine(str(disk)))
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _has(program: str) -> bool:
    return any((Path(folder) / program).exists() for folder in ("/sbin", "/usr/sbin", "/bin", "/usr/bin"))
