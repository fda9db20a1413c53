"""What holds for a sweep in a folder holds for one in a database, also while the server dies and comes back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from support.postgres_server import PASSWORD
from support.store_truths import StoreTruths
from support.sweep_process import started
from support.toy_stores import fill, python, start, wanted_trials
from support.toy_sweeps import SWEEP, observe, toy_main
from support.waiting import wait_for
from sweeps import cli
from sweeps.store import database
from sweeps.store.base import Store
from sweeps.store.database import without_password
from sweeps.store.open import open_store
from sweeps.store.postgres import PostgresStore
from sweeps.store.retry import LOST
from sweeps.trial import failure


@pytest.fixture
def new_store(tmp_path, database):
    """Makes the store of a sweep of so many seeds, all its trials wanted; see support.toy_stores.fill."""

    def make(seeds: int, closed: bool = True, **options) -> tuple[Store, list]:
        store = open_store(tmp_path / "sweep", url=database)
        return store, fill(store, seeds, closed, **options)

    return make


class TestADatabase(StoreTruths):
    """What holds for any store holds for one in a database."""


def results(store: Store) -> dict:
    return {seen.key: seen for seen in store.results()}


def test_a_server_that_dies_and_comes_back_costs_nothing(new_store, postgres):
    """Stopped as by a power cut until every worker stands at the end of its trial."""
    store, wanted = new_store(24, seconds=0.5)
    workers = [start(store) for _ in range(3)]
    wait_for(lambda: len(results(store)) >= 2)
    postgres.stop()
    steps = {trial.key: trial.steps for trial in wanted}
    wait_for(lambda: all(store.files.progress(key).get("step") == steps[key] for key in started(store.directory)))
    assert [worker.poll() for worker in workers] == [None] * 3
    postgres.start()
    assert [worker.wait(60) for worker in workers] == [0] * 3
    assert results(store) == {trial.key: observe(trial) for trial in wanted}
    assert sorted(started(store.directory)) == sorted(trial.key for trial in wanted)  # none was trained twice
    assert all(len(store.attempts(trial.key)) == 1 for trial in wanted)


def test_no_reply_that_is_lost_changes_what_happened(new_store, monkeypatch):
    """Every statement is carried out, and then its connection breaks: it is repeated and says the same."""
    import psycopg

    store, (first, second) = new_store(2)
    once, lost = database.Database._once, []

    def deaf(self, psycopg_, statement, values):
        rows = once(self, psycopg_, statement, values)
        if not lost or lost[-1] != (statement, values):
            lost.append((statement, values))
            self._connection.close()
            self._connection = None
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        lost.append(None)
        return rows

    monkeypatch.setattr(database.Database, "_once", deaf)
    store.add([first, second])
    claim = store.claim()
    assert (claim.trial, claim.attempt) == (first, 1) and store.check(claim) and store.renew(claim)
    store.end(first.key, 1, LOST, "killed")
    assert [(seen.number, seen.ended) for seen in store.attempts(first.key)] == [(1, "killed")]
    assert store.claim().attempt == 2
    assert store.finish(observe(first)) and not store.finish(failure(first, "too late"))
    assert store.finish(failure(second, "broken"))
    assert [seen.key for seen in store.retry_failed()] == [second.key]
    assert store.claim().trial == second
    assert results(store) == {first.key: observe(first)}
    assert len(lost) > 20


def test_a_command_without_a_server_says_so_in_one_line(new_store, postgres, capsys):
    store, _ = new_store(1)
    postgres.stop()
    try:
        assert cli.main(["status", str(store.directory)]) == 2
    finally:
        postgres.start()
    said = capsys.readouterr().err
    assert said.startswith("sweep: error: postgresql://tests@127.0.0.1") and said.count("\n") == 1


BEGIN = """
import json, sys
from pathlib import Path
from sweeps.store.open import open_store
from sweeps.trial import Trial
from support.toy_sweeps import DATA
store = open_store(Path(sys.argv[1]), url=sys.argv[2])
store.begin(Path(sys.argv[3]), DATA)
store.add([Trial.from_json(one) for one in json.loads(Path(sys.argv[4]).read_text())])
"""


def test_six_begin_at_once_in_an_empty_database(tmp_path, database):
    file = tmp_path / "sweep-file.toml"
    wanted = wanted_trials(file, 20)
    (tmp_path / "wanted.json").write_text(json.dumps([trial.to_json() for trial in wanted]))
    folders = [tmp_path / str(index) / "sweep" for index in range(6)]
    beginning = [python(BEGIN, folder, database, file, tmp_path / "wanted.json") for folder in folders]
    assert [process.wait(60) for process in beginning] == [0] * 6
    for folder in folders:
        store = open_store(folder)
        assert store.queue() == [trial.key for trial in wanted] and sorted(store.keys()) == sorted(store.queue())
        assert [store.read_trial(key) for key in store.queue()] == wanted


WORKER = """
import sys
from pathlib import Path
from sweeps.workers import loop
from sweeps.store.open import join
from support.toy_sweeps import toy_train
loop.IDLE = 0.1
join(Path(sys.argv[1]), sys.argv[2])
sys.exit(loop.work(Path(sys.argv[1]), toy_train))
"""


def test_machines_that_share_no_folder_share_a_sweep(new_store, tmp_path, database):
    store, wanted = new_store(20, seconds=0.1)
    folders = [tmp_path / "one" / "sweep", tmp_path / "two" / "sweep"]
    workers = [python(WORKER, folder, database) for folder in folders]
    for folder in folders:  # the toy's orders
        wait_for((folder / "sweep.toml").exists)
        (folder / "toy.json").write_text('{"seconds": 0.1, "checkpoints": true}')
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert results(store) == {trial.key: observe(trial) for trial in wanted}
    begun = [(folder / "started.txt").read_text().split()[::2] for folder in folders]
    assert all(begun) and sorted(begun[0] + begun[1]) == sorted(trial.key for trial in wanted)
    assert not list(tmp_path.glob("*/sweep/trials/*/*.safetensors"))


def test_a_whole_sweep_without_a_word_of_its_password(tmp_path, monkeypatch, capsys, postgres, database):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    Path("toy.toml").write_text(SWEEP)
    secret = database.replace("tests@", "tests:" + PASSWORD.replace("/", "%2F").replace("@", "%40") + "@")
    assert toy_main(["run", "toy.toml", "--store", secret, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["done"] == 13
    assert json.loads(Path("results/toy/store.json").read_text())["store"] == database
    assert toy_main(["run", "toy.toml"]) == 0  # continues, and there is nothing more to do
    assert cli.main(["status", "elsewhere/toy", "--store", database]) == 0  # as on another machine
    captured += capsys.readouterr()
    assert "13 trials: 13 done" in captured[2]
    assert cli.main(["logs", "elsewhere/toy", "--store", database]) == 0  # what the other machine wrote
    assert "learning rate of" in capsys.readouterr().out
    assert not any("s3cret" in text for text in captured)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5 and not any(b"s3cret" in path.read_bytes() for path in written)
    assert cli.main(["status", "elsewhere/other", "--store", database]) == 2
    assert "holds no sweep 'other'" in capsys.readouterr().err


def reading_arguments(process: subprocess.Popen, longest: float = 5.0) -> set[int]:
    """Until a process ends: the processes among whose arguments the password was seen, for `longest` s at most each.

    Python itself has to begin before anything can be taken away.
    """
    seen: dict[int, float] = {}
    while process.poll() is None:
        for other in psutil.process_iter():
            with suppress(psutil.Error):
                if any("s3cret" in argument for argument in other.cmdline()):
                    assert time.time() - seen.setdefault(other.pid, time.time()) < longest, other.cmdline()
        time.sleep(0.02)
    return set(seen)


def test_the_password_stands_in_no_process_list_log_file_or_output(tmp_path, database, monkeypatch):
    """A sweep and another machine's worker are given it in their address; all processes and files are looked at."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    Path("toy.toml").write_text(SWEEP)
    secret = database.replace("tests@", f"tests:{PASSWORD.replace('/', '%2F').replace('@', '%40')}@")
    for main, arguments in (
        ("toy_main", ["run", "toy.toml", "--store", secret]),
        ("toy_worker", ["--sweep", "other/toy", f"--store={secret}", "--patience", "1"]),
        ("toy_main", ["status", "another/toy", f"--store={secret}"]),
    ):
        code = f"import sys; from support import toy_sweeps; sys.exit(toy_sweeps.{main}(sys.argv[1:]))"
        with open("output.txt", "ab") as output:
            process = python(code, *arguments, stdout=output, stderr=output)
            assert reading_arguments(process) <= {process.pid}
        assert process.wait() == 0, Path("output.txt").read_text()
    assert "13 done" in Path("output.txt").read_text()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 30 and not [path for path in files if b"s3cret" in path.read_bytes()]


def test_a_service_or_password_file_does_as_well(tmp_path, database, postgres, monkeypatch):
    """The address then holds none, and neither does anything that is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "toy.toml").write_text(SWEEP)
    (tmp_path / "passwords").write_text(f"127.0.0.1:{postgres.port}:*:tests:{PASSWORD.replace(':', chr(92) + ':')}\n")
    (tmp_path / "passwords").chmod(0o600)
    (tmp_path / "services").write_text(f"[ours]\nhost=127.0.0.1\nport={postgres.port}\nuser=tests\ndbname=postgres\n")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    schema = database.partition("?")[2]
    assert toy_main(["run", "toy.toml", "--store", f"postgresql:///?service=ours&{schema}"]) == 0
    assert len(results(open_store(Path("results/toy")))) == 13


@pytest.mark.parametrize(
    "wrong", ["postgresql://u:s3cret/x@h/d", "postgresql://u:s3cret@x@h/d", "mysql://u:s3cret@h/d", "s3cret"]
)
def test_an_address_that_is_none_is_not_repeated(tmp_path, wrong, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(SWEEP)
    assert toy_main(["run", "toy.toml", "--store", wrong]) == 2
    said = capsys.readouterr().err
    assert "--store must be postgresql://" in said and "s3cret" not in said and said.count("\n") == 1
    assert not Path("results").exists()


def test_a_wrong_password_is_one_sentence(tmp_path, postgres, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    Path("toy.toml").write_text(SWEEP)
    wrong = postgres.url(password=False).replace("tests@", "tests:gu3ssed@")
    monkeypatch.setenv("PGPASSWORD", "")  # put back after the test
    assert toy_main(["run", "toy.toml", "--store", wrong]) == 2
    said = capsys.readouterr().err
    assert "password authentication failed" in said and "gu3ssed" not in said and said.count("\n") == 1


def test_a_sweep_stays_in_its_database(new_store, database):
    store, _ = new_store(1)
    with pytest.raises(ValueError, match="this sweep is stored in"):
        open_store(store.directory, url=database.replace("postgres?", "other?"))
    assert isinstance(open_store(store.directory), PostgresStore)


def test_two_sweeps_of_one_name_are_not_mixed(tmp_path, monkeypatch, capsys, database):
    """Two users, each with a folder called alike: the second is refused, and nothing of the first changes."""
    for user, budget in (("one", "3e11"), ("two", "9e11")):
        (tmp_path / user).mkdir()
        (tmp_path / user / "toy.toml").write_text(SWEEP.replace("3e11", budget))
    monkeypatch.chdir(tmp_path / "one")
    assert toy_main(["run", "toy.toml", "--store", database]) == 0
    store = open_store(Path("results/toy"))
    before = (store.queue(), sorted(store.keys()), results(store))
    monkeypatch.chdir(tmp_path / "two")
    assert toy_main(["run", "toy.toml", "--store", database]) == 2
    assert "holds another sweep 'toy', which is this folder's name" in capsys.readouterr().err
    assert not (tmp_path / "two" / "results").exists()
    assert toy_main(["run", "toy.toml"]) == 0  # in the folder alone
    with pytest.raises(ValueError, match="holds another sweep 'toy' than"):
        open_store(Path("results/toy"), url=database).queue()
    assert (store.queue(), sorted(store.keys()), results(store)) == before


def test_a_note_that_was_changed_by_hand_is_neither_repeated_nor_connected_to(new_store, database, capsys, monkeypatch):
    store, _ = new_store(1)
    note = store.directory / "store.json"
    kept = note.read_text()
    evil = database.replace("127.0.0.1", "ev1l.example").replace("tests@", "tests:s3cret@")
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.store.database._psycopg", lambda: pytest.fail("it connected"))
        for text in (
            kept.replace(database, evil),
            kept.replace(database, "5"),
            json.dumps({"postgresql": evil}),
            '{"postgresql": ["s3cret"]}',
            '"s3cret"',
            "",
        ):
            note.write_text(text)
            for command in (["status"], ["cancel"], ["logs"], ["export", "--csv", "x.csv"]):
                assert cli.main([command[0], str(store.directory), *command[1:]]) == 2
                said = capsys.readouterr().err
                assert (
                    "was changed by hand; name the store again: `sweep status DIR --store URL`" in said
                    and said.count("\n") == 1
                )
                assert "ev1l" not in said and "s3cret" not in said
    assert open_store(store.directory, url=database).queue() == store.queue()


def test_without_psycopg_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match="needs the extra postgres"):
        open_store(tmp_path / "sweep", url="postgresql://h/d").queue()


@pytest.mark.parametrize("url", ["postgresql:///d?host=/run/pg", "postgresql://h:5432/d", "postgres://u@h,g/d"])
def test_an_address_without_a_password_stays_as_it_is(url):
    assert without_password(url) == url
