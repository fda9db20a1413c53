"""What holds for a sweep in a folder holds for one in a bucket, by conditional puts alone; on a real S3 server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from support.store_truths import StoreTruths
from support.toy_stores import fill, python
from support.toy_sweeps import SWEEP, observe, toy_main
from support.waiting import wait_for
from sweeps import cli
from sweeps.store import attempts
from sweeps.store.base import DOUBTED, Store
from sweeps.store.bucket import BucketStore
from sweeps.store.open import join, open_store, placed
from sweeps.store.records import read_observations
from sweeps.store.retry import LOST
from sweeps.trial import failure


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nobody pays for a look here."""
    monkeypatch.setattr(BucketStore, "pause", 0.0)


@pytest.fixture
def new_store(tmp_path, s3):
    """Makes the store of a sweep of so many seeds, all its trials wanted; see support.toy_stores.fill."""

    def make(seeds: int, closed: bool = True, **options) -> tuple[Store, list]:
        store = open_store(tmp_path / "sweep", url=s3)
        return store, fill(store, seeds, closed, **options)

    return make


@pytest.mark.slow
class TestABucket(StoreTruths):
    """What holds for any store holds for one of objects; in a folder here, which takes less time than a server."""

    @pytest.fixture
    def s3(self, tmp_path):
        return f"file://{tmp_path}/objects"


WORKER = """
import sys
from pathlib import Path
from sweeps.store import attempts
from sweeps.store.bucket import BucketStore
from sweeps.store.open import join
from sweeps.workers import loop
from support.toy_sweeps import toy_train
loop.IDLE = BucketStore.pause = 0.1
attempts.host_and_boot = lambda: (sys.argv[3], "")
join(Path(sys.argv[1]), sys.argv[2])
sys.exit(loop.work(Path(sys.argv[1]), toy_train, lease=4.0))
"""


def test_a_lost_nodes_trial_goes_on_elsewhere_from_its_checkpoint(new_store, tmp_path, s3):
    """The nodes share nothing but the bucket."""
    store, (trial,) = new_store(1)
    folders = [tmp_path / node / "sweep" for node in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
    join(folders[0], s3)
    (folders[0] / "toy.json").write_text('{"seconds": 90, "checkpoints": true}')
    lost = python(WORKER, folders[0], s3, "one")
    wait_for(lambda: store.checkpointed(trial.key))
    lost.kill()
    lost.wait()
    assert python(WORKER, folders[1], s3, "two").wait(60) == 0
    one, two = store.attempts(trial.key)
    assert (one.host, two.host, one.cause) == ("one", "two", LOST) and one.state == 0 < two.state
    assert store.result(trial.key) == observe(trial)
    assert not store.objects.listed("checkpoints")


def test_the_first_claim_and_the_first_result_win_and_a_retry_makes_room_for_another(new_store, tmp_path, s3):
    store, (trial,) = new_store(1)
    other = open_store(tmp_path / "other" / "sweep", url=s3)
    other.fetch()
    claims = [store.attempt(trial.key, 1, {"pid": 1}), other.attempt(trial.key, 1, {"pid": 2})]
    assert claims == [True, False]
    assert store.finish(failure(trial, "bad")) and not other.finish(observe(trial))
    assert [seen.reason for seen in other.retry_failed()] == ["bad"]
    assert store.result(trial.key) is None and store.retried(trial.key) == 1
    assert store.finish(observe(trial)) and list(other.results()) == [observe(trial)]


def test_a_claim_reads_no_more_notes_where_more_workers_run(tmp_path, monkeypatch):
    many = 5 * DOUBTED
    fill(open_store(tmp_path / "sweep", url=f"file://{tmp_path}/objects"), many + 1)
    for number in range(many):
        monkeypatch.setattr(attempts, "host_and_boot", lambda number=number: (f"host-{number}", ""))
        assert open_store(tmp_path / "sweep").claim()
    late, read = open_store(tmp_path / "sweep"), []
    ask = late.objects.read
    monkeypatch.setattr(late.objects, "read", lambda name: read.append(name) or ask(name))
    assert late.claim() and sum("attempt" in name for name in read) <= DOUBTED
    assert not late.claim() and len(late.busy()) == many + 1


def test_a_sign_of_life_is_stamped_by_the_buckets_clock(new_store, monkeypatch):
    """This machine's own clock may be wrong by an hour."""
    store, _ = new_store(1)
    claim = store.claim()
    monkeypatch.setattr(time, "time", lambda real=time.time: real() + 3600)
    assert store.silence(claim.trial.key, 1) < 5
    time.sleep(1.1)
    assert store.renew(claim) and store.silence(claim.trial.key, 1) < 2.5


def test_a_whole_sweep_by_its_url_seen_from_a_laptop(tmp_path, monkeypatch, capsys, s3):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "laptop").mkdir()
    monkeypatch.chdir(tmp_path / "cluster")
    Path("toy.toml").write_text(SWEEP)
    assert toy_main(["run", "toy.toml", "--out", f"{s3}/toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 13
    assert toy_main(["run", "toy.toml", "--out", f"{s3}/toy", "--json"]) == 0  # nothing more to do
    assert len(list(read_observations(Path("results/toy/observations.jsonl")))) == 13
    monkeypatch.chdir(tmp_path / "laptop")
    capsys.readouterr()
    assert cli.main(["status", f"{s3}/toy"]) == 0
    assert "13 trials: 13 done" in capsys.readouterr().out
    store = open_store(placed(f"{s3}/toy")[0])
    key = store.keys()[0]
    assert cli.main(["logs", f"{s3}/toy"]) == 0
    assert "learning rate of" in capsys.readouterr().out
    assert cli.main(["logs", f"{s3}/toy", key[:8], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "done"
    assert cli.main(["export", "toy", "--store", s3, "--csv", "toy.csv"]) == 0
    assert "13 observations" in capsys.readouterr().out
    assert store.objects.read("observations.jsonl").count(b"\n") == 13
    assert not Path("results").exists()  # a look leaves its folder in the cache
    assert cli.main(["status", f"{s3}/other"]) == 2
    assert f"{s3}/other: there is no sweep" in capsys.readouterr().err


def test_a_bucket_that_ignores_conditions_is_refused_before_anything_is_begun(tmp_path, monkeypatch, capsys, s3):
    from support.s3_server import UNCONDITIONAL

    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(SWEEP)
    place = s3.replace("sweeps/", f"{UNCONDITIONAL}/")
    assert toy_main(["run", "toy.toml", "--store", place]) == 2
    said = capsys.readouterr().err
    assert "cannot hold a sweep: this place ignores conditional puts" in said and said.count("\n") == 1
    assert not Path("results").exists()
    assert toy_main(["run", "toy.toml", "--checkpoints", place, "--json"]) == 0  # which need none


def test_two_sweeps_of_one_name_are_not_mixed(tmp_path, monkeypatch, capsys, s3):
    for user, budget in (("one", "3e11"), ("two", "9e11")):
        (tmp_path / user).mkdir()
        (tmp_path / user / "toy.toml").write_text(SWEEP.replace("3e11", budget))
    store = open_store(tmp_path / "one" / "results" / "toy", url=s3)
    fill(store, 1)
    monkeypatch.chdir(tmp_path / "two")
    assert toy_main(["run", "toy.toml", "--store", s3]) == 2
    assert "holds another sweep with this folder's name" in capsys.readouterr().err
    assert not Path("results").exists()


def test_a_damaged_marker_is_said_and_nothing_is_written_over_it(new_store, tmp_path, s3):
    store, _ = new_store(1)
    store.objects.write("sweep.json", b'{"sweep": "to')
    with pytest.raises(ValueError, match=r"sweep.json: is damaged"):
        open_store(tmp_path / "other" / "sweep", url=s3).fetch()
    assert store.objects.read("sweep.json") == b'{"sweep": "to'


def test_a_laptop_without_the_models_shows_what_is_known(new_store, tmp_path, monkeypatch, capsys, s3):
    """The sweep's model lies on the cluster alone."""
    store, wanted = new_store(3)
    store.finish(observe(wanted[0]))
    store.claim()
    store.objects.write("file.json", _with_a_folder_for_a_model(store.objects.read("file.json")))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["status", f"{s3}/sweep", "--json"]) == 0
    said = capsys.readouterr()
    assert "so the time left is unknown" in said.err and said.err.count("\n") == 1
    told = json.loads(said.out)
    assert (told["done"], len(told["running"]), told["waiting"]) == (1, 1, 1)


def _with_a_folder_for_a_model(text: bytes) -> bytes:
    content = json.loads(text)
    content.pop("checksum")
    content["file"] = content["file"].replace("nano-25k", "models/ours")
    return json.dumps(content).encode()
