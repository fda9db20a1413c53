"""The probe of a bucket finds what holds there, and says it in plain words."""

from __future__ import annotations

import json

import pytest

from support.s3_server import UNCONDITIONAL
from sweeps import cli
from sweeps.commands.bucket_doctor import CLAIMS, MEETING, ONCE, refuse_unfit_objects
from sweeps.store.objects import FolderObjects, open_objects


def findings(capsys, *arguments: str) -> dict[str, bool]:
    """What each promise was found to be."""
    code = cli.main(["doctor", *arguments, "--json"])
    found = {each["promise"]: each["holds"] for each in json.loads(capsys.readouterr().out)["findings"]}
    assert code == (0 if all(found.values()) else 1)
    return found


def test_a_fit_bucket_keeps_every_promise_and_nothing_is_left_there(s3, capsys):
    found = findings(capsys, s3)
    assert len(found) == 6 and all(found.values())
    assert not open_objects(s3).listed(MEETING)


def test_in_a_bucket_that_ignores_conditions_both_win_and_checkpoints_alone_are_safe(s3, capsys):
    place = s3.replace("sweeps/", f"{UNCONDITIONAL}/")
    assert cli.main(["doctor", place]) == 1
    said = capsys.readouterr().out
    broken = [line for line in said.splitlines() if line.startswith("NO")]
    assert len(broken) == 2 and ONCE in broken[0] and CLAIMS in broken[1]
    assert "25 by both" in said and "checkpoints are safe here, claims are not" in said


@pytest.mark.parametrize("claims", [True, False])
def test_what_a_run_asks_first_leaves_nothing(s3, claims):
    refuse_unfit_objects(s3, claims)
    assert not open_objects(s3).listed("")


def test_a_bucket_that_is_not_there_is_one_line(s3, capsys):
    assert cli.main(["doctor", "s3://nowhere/x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sweep: error: s3://nowhere/x") and said.count("\n") == 1


@pytest.mark.parametrize("command", ["doctor", "status"])
@pytest.mark.parametrize("url", ["az://bucket/x", "postgresql://u:s3cret@h/d"])
def test_a_url_of_another_service_is_told_what_there_is(command, url, capsys):
    assert cli.main([command, url]) == 2
    said = capsys.readouterr().err
    assert "give a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER" in said and said.count("\n") == 1
    assert "s3cret" not in said


def test_a_place_that_lists_late_is_found_and_two_are_not_tried(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(FolderObjects, "listed", lambda self, folder: [])
    assert cli.main(["doctor", f"file://{tmp_path}"]) == 1
    said = capsys.readouterr()
    assert [line[:2] for line in said.out.splitlines()[1:4]] == ["ye", "NO", "ye"]
    assert "neither sweeps nor checkpoints are safe here" in said.out and "process" not in said.err
