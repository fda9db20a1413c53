"""A sweep's claims and results in a PostgreSQL database, for machines that share no folder.

    sweep_queue      a row a sweep: its file and data, what is wanted in order, cancelled, what each takes, closed
    sweep_trials     every trial by its key
    sweep_attempts   claims: who, the last sign of life by the server's clock, the figures last told, how it ended
    sweep_results    what a trial left; the first stays         sweep_failures   results that were tried again

Checkpoints, states of trunks, logs and exports stay in each machine's own folder, so a trial that goes on elsewhere
begins anew. The name of that folder is the sweep's name in the database; store.json in it says which database, without
the password: that comes from PGPASSWORD or ~/.pgpass.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sweeps.experiment.grid import Data
from sweeps.machine.eligibility import ANY_TRIAL, Eligibility, Requirements
from sweeps.search.learning_rates import EVERYTHING
from sweeps.store.folder import LEASE, PROGRESS, Attempt, Claim, Store, Trunk, holder_of, lenient, parse
from sweeps.support.atomic import write_text
from sweeps.trial import Observation, Trial

PATIENCE = 60.0  # s that a lost connection is tried anew before the caller hears of it
PAUSE = 2.0  # s between the tries, at most
LOCK = 7_341_066_520  # of the tables' making, any number that is ours
NOTE = "store.json"
# A trial's key is unique within its sweep, and so is the number of an attempt within its trial.
TABLES = """
CREATE TABLE IF NOT EXISTS sweep_queue (sweep text PRIMARY KEY, file text NOT NULL, data text NOT NULL,
    wanted text[] NOT NULL DEFAULT '{}', cancelled text[] NOT NULL DEFAULT '{}', needs text NOT NULL DEFAULT '{}',
    closed boolean NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS sweep_trials (sweep text, key text, trial text NOT NULL, PRIMARY KEY (sweep, key));
CREATE TABLE IF NOT EXISTS sweep_attempts (sweep text, key text, number integer, holder text NOT NULL,
    token text NOT NULL, seen timestamptz NOT NULL DEFAULT clock_timestamp(), figures text NOT NULL DEFAULT '{}',
    cause text, said text, PRIMARY KEY (sweep, key, number));
CREATE TABLE IF NOT EXISTS sweep_failures (sweep text, key text, attempt integer, observation text NOT NULL,
    PRIMARY KEY (sweep, key, attempt));
CREATE TABLE IF NOT EXISTS sweep_results (sweep text, key text, observation text NOT NULL, PRIMARY KEY (sweep, key));
"""


def open_store(directory: Path, lease: float = LEASE, url: str = "") -> Store:
    """The store of the sweep in `directory`: in the database at `url`, or in the one that store.json names, or there.

    Raises ValueError when the sweep is in another database already. The password of `url` goes into PGPASSWORD, for
    this process and those that it starts, and nowhere else.
    """
    noted = lenient(directory / NOTE).get("postgresql", "")
    url = without_password(url) if url else noted
    if noted and url != noted:
        raise ValueError(f"{directory}: this sweep is kept in {noted}, not in {url}")
    return PostgresStore(directory, url, lease) if url else Store(directory, lease)


def join(directory: Path, url: str) -> None:
    """Make `directory` this machine's folder of a sweep that was begun in the database. Raises ValueError if not."""
    store = open_store(directory, url=url)
    if isinstance(store, PostgresStore):
        store.fetch()


def add_store(command: argparse.ArgumentParser) -> None:
    """The option --store."""
    command.add_argument(
        "--store",
        default="",
        metavar="URL",
        help="postgresql://USER@HOST/DATABASE, for machines that share no folder (password: PGPASSWORD or ~/.pgpass)",
    )


def without_password(url: str) -> str:
    """The address of a database less its password, which is put into PGPASSWORD. Raises ValueError on any other."""
    scheme, colons, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    if scheme not in ("postgresql", "postgres") or not colons or "@" in credentials + path or "password=" in url:
        # What is wrong may be the password, so nothing of it is repeated.
        raise ValueError("--store is to be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, in it / and @ as %2F and %40")
    if password:
        os.environ["PGPASSWORD"] = unquote(password)
    return f"{scheme}://{user}{at}{host}{slash}{path}"


class Database:
    """One connection, made anew when it is lost. Every statement given to `ask` is one that may be carried out twice:
    after a lost connection nobody knows whether it was carried out once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.RLock()  # the lease is kept from a thread of its own
        self._connection: Any = None
        self._met = False

    def ask(self, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """The rows of one statement. Raises OSError when the server cannot be reached for PATIENCE or refuses."""
        psycopg = _psycopg()
        deadline, pause = time.monotonic() + PATIENCE, 0.05
        while True:
            try:
                with self._lock:
                    return self._once(psycopg, statement, values)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if not self._met or time.monotonic() > deadline:
                    raise ConnectionError(f"{self.url}: {_first_line(error)}") from None
            except psycopg.Error as error:
                raise OSError(f"{self.url}: {_first_line(error)}") from None
            time.sleep(pause)
            pause = min(2 * pause, PAUSE)

    def _once(self, psycopg: Any, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        try:
            if self._connection is None:
                self._connection = self._connect(psycopg)
            cursor = self._connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
        except BaseException:  # a signal too may come in the middle of a statement
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise

    def _connect(self, psycopg: Any) -> Any:
        connection = psycopg.connect(
            self.url,
            autocommit=True,
            connect_timeout=5,
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            application_name="sweep",
            prepare_threshold=None,  # poolers in between may not keep prepared statements
        )
        connection.execute("SET statement_timeout = '30s'")
        if not self._met and connection.execute("SELECT to_regclass('sweep_results')").fetchone()[0] is None:
            with connection.transaction():  # IF NOT EXISTS alone fails when two do it at once
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                connection.execute(TABLES)
        self._met = True
        return connection


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise ValueError("a sweep in PostgreSQL needs the extra postgres: pip install 'psycopg[binary]'") from None
    return psycopg


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class PostgresStore(Store):
    """A Store whose trials, claims and results are rows; `directory` holds what only this machine needs."""

    def __init__(self, directory: Path, url: str, lease: float = LEASE) -> None:
        super().__init__(directory, lease)
        self.name = directory.resolve().name
        self._database = Database(url)

    def _ask(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        return self._database.ask(statement, {"sweep": self.name, **values})

    # -- what is wanted

    def begin(self, sweep_file: Path, data: Data) -> None:
        super().begin(sweep_file, data)
        self._note_database()
        self._ask(
            "INSERT INTO sweep_queue (sweep, file, data) VALUES (%(sweep)s, %(file)s, %(data)s) ON CONFLICT (sweep) "
            "DO UPDATE SET file = excluded.file, data = excluded.data, closed = false",
            file=sweep_file.read_text(encoding="utf-8"),
            data=json.dumps(data.to_json()),
        )

    def fetch(self) -> None:
        """Make this machine's folder of a sweep that another machine began. Raises ValueError when none did."""
        rows = self._ask("SELECT file, data FROM sweep_queue WHERE sweep = %(sweep)s")
        if not rows:
            raise ValueError(f"{self._database.url}: holds no sweep {self.name!r}, which is this folder's name")
        for path in (self.trials, self.directory / "logs"):
            path.mkdir(parents=True, exist_ok=True)
        for name, text in zip(("sweep.toml", "data.json"), rows[0], strict=True):
            write_text(self.directory / name, text)
        self._note_database()

    def _note_database(self) -> None:
        write_text(self.directory / NOTE, json.dumps({"postgresql": self._database.url}) + "\n")

    def add(self, trials: Sequence[Trial]) -> None:
        self._insert(trials)
        keys = [trial.key for trial in trials]
        self._ask("UPDATE sweep_queue SET wanted = %(keys)s WHERE sweep = %(sweep)s", keys=keys)

    def _create(self, trial: Trial) -> None:
        self._insert([trial])

    def _insert(self, trials: Sequence[Trial]) -> None:
        self._ask(
            "INSERT INTO sweep_trials SELECT %(sweep)s, * FROM unnest(%(keys)s::text[], %(trials)s::text[]) "
            "ON CONFLICT DO NOTHING",
            keys=[trial.key for trial in trials],
            trials=[json.dumps(trial.to_json()) for trial in trials],
        )

    def _queue_row(self, columns: str) -> Any:
        """Columns of the sweep's row; None before it is begun."""
        return next(iter(self._ask(f"SELECT {columns} FROM sweep_queue WHERE sweep = %(sweep)s")), None)

    def queue(self) -> list[str]:
        wanted, gone = self._queue_row("wanted, cancelled") or ([], [])
        return [] if EVERYTHING in gone else [key for key in wanted if key not in set(gone)]

    def unfinished(self) -> list[str]:
        self._learn()
        return [key for key in self.queue() if key not in self._finished]

    def cancel(self, keys: Iterable[str]) -> None:
        self._ask(
            "UPDATE sweep_queue SET cancelled = ARRAY(SELECT DISTINCT unnest(cancelled || %(keys)s::text[])) "
            "WHERE sweep = %(sweep)s",
            keys=list(keys),
        )

    def want_again(self, keys: Iterable[str]) -> None:
        self._ask(
            "UPDATE sweep_queue SET cancelled = ARRAY(SELECT unnest(cancelled) EXCEPT SELECT unnest(%(keys)s::text[])) "
            "WHERE sweep = %(sweep)s",
            keys=list(keys),
        )

    def cancelled(self) -> frozenset[str]:
        return frozenset(key for keys in self._queue_row("cancelled") or () for key in keys)

    def is_cancelled(self, key: str) -> bool:
        return bool({key, EVERYTHING} & self.cancelled())

    def require(self, requirements: Requirements) -> None:
        text = json.dumps(requirements.to_json())
        self._ask("UPDATE sweep_queue SET needs = %(needs)s WHERE sweep = %(sweep)s", needs=text)

    def requirements(self) -> Requirements:
        row = self._queue_row("needs")
        return Requirements.from_json(json.loads(row[0])) if row else Requirements()

    def close(self) -> None:
        self._ask("UPDATE sweep_queue SET closed = true WHERE sweep = %(sweep)s")

    def reopen(self) -> None:
        self._ask("UPDATE sweep_queue SET closed = false WHERE sweep = %(sweep)s")

    @property
    def closed(self) -> bool:
        row = self._queue_row("closed")
        return bool(row and row[0])

    def finished(self, key: str) -> bool:
        if key not in self._finished and self._result_text(key) is not None:
            self._finished.add(key)
        return key in self._finished

    def _learn(self) -> None:
        """Ask at once which trials are finished."""
        self._finished = {key for (key,) in self._ask("SELECT key FROM sweep_results WHERE sweep = %(sweep)s")}

    # -- who runs what

    def claim(self, eligibility: Eligibility = ANY_TRIAL) -> Claim | None:
        self._learn()
        claim = super().claim(eligibility)
        if claim:
            self.folder(claim.trial.key).mkdir(parents=True, exist_ok=True)  # of its checkpoint
        return claim

    def _trunk(self, key: str) -> Trunk | None:
        return None  # states lie on one machine: to wait for them is worth nothing on the others

    def _begin(self, key: str, number: int, holder: Mapping[str, Any]) -> bool:
        token = uuid.uuid4().hex  # tells our own row from another's when the statement had to be repeated
        self._ask(
            "INSERT INTO sweep_attempts (sweep, key, number, holder, token) "
            "SELECT %(sweep)s, %(key)s, %(number)s, %(holder)s, %(token)s WHERE NOT EXISTS "
            "(SELECT FROM sweep_results WHERE sweep = %(sweep)s AND key = %(key)s) ON CONFLICT DO NOTHING",
            key=key,
            number=number,
            holder=json.dumps(holder),
            token=token,
        )
        ours = "SELECT 1 FROM sweep_attempts WHERE sweep = %(sweep)s AND key = %(key)s AND token = %(token)s"
        return bool(self._ask(ours, key=key, token=token))

    def _answered(self, key: str) -> int:
        newest = "SELECT max(attempt) FROM sweep_failures WHERE sweep = %(sweep)s AND key = %(key)s"
        return self._ask(newest, key=key)[0][0] or 0

    def _age(self, key: str, number: int) -> float:
        rows = self._ask(
            "SELECT extract(epoch FROM clock_timestamp() - seen)::float FROM sweep_attempts "
            "WHERE sweep = %(sweep)s AND key = %(key)s AND number = %(number)s",
            key=key,
            number=number,
        )
        return rows[0][0] if rows else 0.0

    def attempts(self, key: str) -> list[Attempt]:
        rows = self._ask(
            "SELECT number, holder, cause, said FROM sweep_attempts WHERE sweep = %(sweep)s AND key = %(key)s "
            "ORDER BY number",
            key=key,
        )
        return [
            Attempt(number, **holder_of(json.loads(holder)), cause=cause or "", ended=said or cause or "")
            for number, holder, cause, said in rows
        ]

    def renew(self, claim: Claim) -> bool:
        self._ask(
            "UPDATE sweep_attempts SET seen = clock_timestamp(), figures = %(figures)s "
            "WHERE sweep = %(sweep)s AND key = %(key)s AND number = %(number)s",
            key=claim.trial.key,
            number=claim.attempt,
            figures=json.dumps(lenient(self.folder(claim.trial.key) / PROGRESS)),
        )
        return self.check(claim)

    def check(self, claim: Claim) -> bool:
        rows = self._ask(
            "SELECT max(number) FROM sweep_attempts WHERE sweep = %(sweep)s AND key = %(key)s", key=claim.trial.key
        )
        return rows[0][0] == claim.attempt and not self.finished(claim.trial.key)

    def _end(self, key: str, number: int, cause: str, said: str) -> None:
        self._ask(
            "UPDATE sweep_attempts SET cause = %(cause)s, said = %(said)s "
            "WHERE sweep = %(sweep)s AND key = %(key)s AND number = %(number)s AND cause IS NULL",
            key=key,
            number=number,
            cause=cause,
            said=said,
        )

    def _leave(self, key: str, text: str) -> bool:
        self._ask(
            "INSERT INTO sweep_results VALUES (%(sweep)s, %(key)s, %(text)s) ON CONFLICT DO NOTHING", key=key, text=text
        )
        return self._result_text(key) == text

    def _set_aside(self, key: str, last: int) -> None:
        self._ask(
            "WITH gone AS (DELETE FROM sweep_results WHERE sweep = %(sweep)s AND key = %(key)s RETURNING *) "
            "INSERT INTO sweep_failures SELECT sweep, key, %(last)s, observation FROM gone ON CONFLICT DO NOTHING",
            key=key,
            last=last,
        )

    # -- what is known

    def read_trial(self, key: str) -> Trial:
        rows = self._ask("SELECT trial FROM sweep_trials WHERE sweep = %(sweep)s AND key = %(key)s", key=key)
        where = f"{self._database.url}: trial {key}"
        if not rows:
            raise ValueError(f"{where} is not there")
        trial: Trial = parse(Trial, json.loads(rows[0][0]), where)
        if trial.key != key:
            raise ValueError(f"{where}: holds a trial whose key is {trial.key}")
        return trial

    def result(self, key: str) -> Observation | None:
        text = self._result_text(self.folder(key).name)
        return None if text is None else self._parse(key, text)

    def _result_text(self, key: str) -> str | None:
        rows = self._ask("SELECT observation FROM sweep_results WHERE sweep = %(sweep)s AND key = %(key)s", key=key)
        return rows[0][0] if rows else None

    def results(self, known: Container[str] = ()) -> Iterator[Observation]:
        self._learn()
        new = [key for key in self._finished if key not in known]
        for start in range(0, len(new), 500):
            rows = self._ask(
                "SELECT key, observation FROM sweep_results WHERE sweep = %(sweep)s AND key = ANY(%(keys)s)",
                keys=new[start : start + 500],
            )
            for key, text in rows:
                yield self._parse(key, text)

    def _parse(self, key: str, text: str) -> Observation:
        seen: Observation = parse(Observation, json.loads(text), f"{self._database.url}: result of {key}")
        return seen

    def keys(self) -> list[str]:
        return [key for (key,) in self._ask("SELECT key FROM sweep_trials WHERE sweep = %(sweep)s")]

    def running(self) -> Iterator[tuple[Trial, Attempt, dict[str, Any]]]:
        rows = self._ask("SELECT key, figures FROM sweep_attempts WHERE sweep = %(sweep)s AND cause IS NULL")
        figures = dict(rows)
        for key in self.unfinished():
            if key in figures and (last := self.attempts(key)[-1]) and not last.ended and not self._dead(key, last):
                here = lenient(self.folder(key) / PROGRESS)  # newer than what the last renewal told
                yield self.read_trial(key), last, here if last.here and here else json.loads(figures[key])

    def log_trial(self, key: str, text: str) -> None:
        self.folder(key).mkdir(parents=True, exist_ok=True)
        super().log_trial(key, text)
