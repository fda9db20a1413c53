"""What is not ours is never touched: foreign folders, links to elsewhere, two sweeps in one folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.toy_stores import LADDER, fill
from support.toy_sweeps import SWEEP, toy_main, toy_train
from sweeps.store.folder import FolderStore
from sweeps.store.identity import MARKER, WITHIN, identity_of, mark
from sweeps.store.trunks import Trunks, parts_folder, trunk_of
from sweeps.workers.loop import work
from sweeps.workers.options import WorkerOptions


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(SWEEP)
    return tmp_path


@pytest.fixture
def project(here) -> Path:
    """Somebody's own folder, with names in it that a sweep uses too."""
    for name in ("trunks/0123456789abcdef/7.safetensors", "parts/0123456789abcdef.safetensors", "sweep.toml"):
        path = here / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    return here / "project"


def test_a_folder_that_is_no_sweep_is_refused_and_stays_as_it_is(project, capsys):
    before = everything(project)
    assert toy_main(["run", "toy.toml", "--out", "project"]) == 2
    assert "project: is not empty and holds no sweep" in capsys.readouterr().err
    assert everything(project) == before


def test_a_sweep_deletes_only_what_it_has_made(here):
    """A folder that became a sweep's keeps what somebody put beside the states, even under names much like theirs."""
    mark(here / "sweep")
    trunks, parts = here / "sweep" / "trunks", here / "sweep" / "parts"
    mine = [trunks / "notes.txt", trunks / "0123456789abcdef" / "notes.txt", parts / "weights.safetensors"]
    ours = [trunks / "0123456789abcdef" / "7.safetensors", parts / "0123456789abcdef.safetensors"]
    for path in mine + ours:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("it")
    Trunks(here / "sweep").share([])
    assert all(path.exists() for path in mine) and not any(path.exists() for path in ours)


@pytest.mark.parametrize("name", WITHIN)
def test_a_folder_that_is_a_link_is_not_followed(finished, name, capsys):
    elsewhere = finished / "elsewhere"
    (elsewhere / "0123456789abcdef").mkdir(parents=True)
    for path in ("0123456789abcdef.safetensors", "0123456789abcdef/7.safetensors", "wanted.json"):
        (elsewhere / path).write_text("mine")
    place = finished / "results" / "toy" / name
    if place.exists():
        place.rename(finished / "moved")
    place.symlink_to(elsewhere)
    before = everything(elsewhere)
    for command in (["run", "toy.toml", "--fresh"], ["cancel", "results/toy"], ["retry", "results/toy", "--cancelled"]):
        assert toy_main(command) == 2
        assert f"results/toy/{name}: is a link to" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is a link"):
        work(Path("results/toy"), toy_train)
    assert everything(elsewhere) == before


def test_no_link_inside_is_followed(here, tmp_path):
    store = FolderStore(here / "sweep")
    first, *_ = fill(store, 1, text=LADDER)
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "checkpoint.safetensors").write_text("mine")
    (elsewhere / "7.safetensors").write_text("mine")
    before = everything(elsewhere)
    trial = store.folder(first.key)
    (trial / "trial.json").rename(here / "trial.json")
    trial.rmdir()
    trial.symlink_to(elsewhere)
    (store.trunks.directory / first.trunk).symlink_to(elsewhere)
    for write in (
        lambda: store.insert([first]),
        lambda: store.attempt(first.key, 1, {}),
        lambda: store.files.drop_checkpoint(first.key),
        lambda: store.files.log_trial(first.key, "a sentence"),
        lambda: store.set_aside(first.key, 1),
        lambda: trunk_of(trial, first),
        lambda: store.trunks.share([]),
    ):
        with pytest.raises(ValueError, match="is a link"):
            write()
    (here / "parts").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="is a link"):
        parts_folder(here)
    assert everything(elsewhere) == before


def test_no_file_of_a_log_or_a_cancellation_is_written_through_a_link(here):
    store = FolderStore(here / "sweep")
    (trial,) = fill(store, 1)
    target = here / "mine.txt"
    target.write_text("mine")
    (store.directory / "cancelled").mkdir()
    for link in (
        store.files.logs / "sweep.log",
        store.folder(trial.key) / "log.txt",
        store.directory / "cancelled" / trial.key,
    ):
        link.symlink_to(target)
    for write in (
        lambda: store.files.log("a sentence"),
        lambda: store.files.log_trial(trial.key, "a sentence"),
        lambda: store.cancel([trial.key]),
    ):
        with pytest.raises(OSError, match="is a link, which is not followed"):
            write()
    assert target.read_text() == "mine"


def test_no_file_of_a_sweep_is_written_through_a_link(finished):
    """The next run replaces the link by a file of its own, of whatever a sweep writes."""
    folder, theirs = finished / "results" / "toy", finished / "theirs"
    theirs.mkdir()
    names = [path.name for path in folder.iterdir() if path.is_file() and path.name != "started.txt"]
    assert {"queue.json", "observations.jsonl", "data.json", "rates.json", "closed", MARKER} <= set(names)
    for name in names:
        (folder / name).rename(theirs / name)
        (folder / name).symlink_to(theirs / name)
    before = everything(theirs)
    assert toy_main(["run", "toy.toml"]) == 0
    assert everything(theirs) == before
    assert not [name for name in names if (folder / name).is_symlink()]


def test_two_sweep_files_do_not_share_a_folder(finished, capsys):
    (finished / "other.toml").write_text(SWEEP.replace("3e11", "9e11"))
    before = everything(finished / "results")
    assert toy_main(["run", "other.toml", "--out", "results/toy"]) == 2
    assert "holds the sweep of" in (said := capsys.readouterr().err) and "toy.toml, and other.toml is another" in said
    assert everything(finished / "results") == before


def test_an_edited_a_moved_and_a_copied_sweep_file_are_still_the_same_sweep(finished):
    identity = identity_of(finished / "results" / "toy")
    (finished / "toy.toml").write_text(SWEEP.replace("3e11", "9e11"))
    assert toy_main(["run", "toy.toml"]) == 0
    (finished / "toy.toml").rename(finished / "moved.toml")
    assert toy_main(["run", "moved.toml", "--out", "results/toy"]) == 0
    copy = finished / "results" / "toy" / "sweep.toml"
    copy.write_text(SWEEP)
    assert toy_main(["run", "results/toy/sweep.toml"]) == 0
    assert identity and identity_of(finished / "results" / "toy") == identity


def test_a_committed_folder_is_known_without_its_marker(finished):
    (finished / "results" / "toy" / MARKER).unlink()
    assert toy_main(["run", "results/toy/sweep.toml"]) == 0
    (finished / "results" / "toy" / MARKER).write_text('{"sw')
    assert toy_main(["run", "toy.toml"]) == 0
    assert json.loads((finished / "results" / "toy" / MARKER).read_text())["sweep"]


def test_of_two_that_begin_at_once_the_first_has_the_folder(here, monkeypatch):
    other = here / "other.toml"
    other.write_text(SWEEP.replace("3e11", "9e11"))
    from sweeps.store import identity

    publish = identity.publish_text

    def late(path: Path, text: str) -> None:
        monkeypatch.setattr(identity, "publish_text", publish)
        mark(here / "one", here / "toy.toml")
        publish(path, text)

    monkeypatch.setattr(identity, "publish_text", late)
    with pytest.raises(ValueError, match=r"holds the sweep of .*toy\.toml"):
        mark(here / "one", other)


def test_a_folder_in_which_a_sweep_died_at_its_beginning_is_free(here):
    (here / "one").mkdir()
    (here / "one" / f".{MARKER}.0123456789abcdef.tmp").write_text('{"sw')
    identity = mark(here / "one", here / "toy.toml")
    assert identity and mark(here / "one", here / "toy.toml") == identity


def test_one_that_begins_between_two_looks_keeps_its_identity_and_its_folder(here, monkeypatch):
    """Of the same sweep both go on as one; another sweep is refused."""
    (here / "other.toml").write_text(SWEEP.replace("3e11", "9e11"))
    for number, file in enumerate(("toy.toml", "other.toml")):
        folder, listdir = here / str(number), os.listdir

        def late(path: Path, folder=folder, listdir=listdir) -> list[str]:
            monkeypatch.undo()
            mark(folder, here / "toy.toml")
            return listdir(path)

        monkeypatch.setattr(os, "listdir", late)
        if file == "toy.toml":
            assert mark(folder, here / file) == identity_of(folder) != ""
        else:
            with pytest.raises(ValueError, match=r"holds the sweep of .*toy\.toml"):
                mark(folder, here / file)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is denied to root")
def test_a_worker_that_may_not_write_into_a_trial_says_so(here, capsys):
    store = FolderStore(here / "sweep")
    denied, allowed = fill(store, 2)
    store.folder(denied.key).chmod(0o555)
    try:
        assert work(store.directory, toy_train, options=WorkerOptions(patience=0.1)) == 0
    finally:
        store.folder(denied.key).chmod(0o755)
    said = capsys.readouterr().err
    assert f"{store.folder(denied.key)}: Permission denied" in said and "nothing to do" in said
    assert store.finished(allowed.key) and not store.finished(denied.key)


def test_a_denied_trial_is_told_and_blocks_no_other(here, monkeypatch, capsys):
    """As above, for a user to whom nothing is denied."""
    store = FolderStore(here / "sweep")
    denied, allowed = fill(store, 2)
    attempt = FolderStore.attempt

    def deny(self, key, number, holder):
        if key == denied.key:
            raise PermissionError(13, "Permission denied", str(self.folder(key)))
        return attempt(self, key, number, holder)

    monkeypatch.setattr(FolderStore, "attempt", deny)
    monkeypatch.setattr("sweeps.workers.loop.IDLE", 0.01)
    assert work(store.directory, toy_train, options=WorkerOptions(patience=0.1)) == 0
    said = capsys.readouterr().err
    assert said.count(f"waiting: {store.folder(denied.key)}: Permission denied") == 1
    assert f"because {store.folder(denied.key)}" in said
    assert store.finished(allowed.key) and not store.finished(denied.key)


def test_a_dry_run_refuses_as_the_run_does(project, capsys):
    assert toy_main(["run", "toy.toml", "--out", "project", "--dry-run"]) == 2
    assert "holds no sweep" in capsys.readouterr().err


def test_a_change_that_moves_observations_aside_is_said(finished, capsys):
    """Of the conditions, and of the data, such as other installed packages: nothing is lost, and it is told."""
    assert toy_main(["run", "toy.toml"]) == 0
    assert "other-conditions.jsonl" not in capsys.readouterr().err
    (finished / "toy.toml").write_text(f"{SWEEP}[training]\nbatch_size = 128\n")
    assert toy_main(["run", "toy.toml"]) == 0
    said = capsys.readouterr().err
    assert said.count("13 observations were made under other conditions") == 1 and "other-conditions.jsonl" in said
    file = finished / "results" / "toy" / "data.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data_hash": "before"}))
    assert toy_main(["run", "toy.toml"]) == 0
    said = capsys.readouterr().err
    assert "the data changed since the last run: 200,000 training pairs of hash before were" in said
