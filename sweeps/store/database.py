"""One connection to PostgreSQL that outlives a server's restart, and the tables of the sweeps in it.

sweep_names      the identity of the sweep of each name, as its folder's marker has it, and a hash of what it began as
sweep_queue      a row a sweep: its file and data, what is wanted in order, cancelled, what each takes, closed
sweep_trials     every trial by its key
sweep_attempts   claims: who, the last sign of life by the server's clock, the figures last told, how it ended
sweep_results    what a trial left; the first stays         sweep_failures   results that were tried again
sweep_places     where its checkpoints are kept             sweep_logs       pieces of its log, and of its trials' logs
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

PATIENCE = 60.0  # s that a lost connection is tried anew before the caller hears of it
PAUSE = 2.0  # s between the tries, at most
LOCK = 7_341_066_520  # of the tables' making, any number that is ours
# A trial's key is unique within its sweep, and so is the number of an attempt within its trial.
TABLES = """
CREATE TABLE IF NOT EXISTS sweep_names (sweep text PRIMARY KEY, identity text NOT NULL, begun text NOT NULL);
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
CREATE TABLE IF NOT EXISTS sweep_places (sweep text PRIMARY KEY, checkpoints text NOT NULL);
CREATE TABLE IF NOT EXISTS sweep_logs (number bigserial PRIMARY KEY, sweep text NOT NULL, key text NOT NULL,
    token text NOT NULL UNIQUE, said text NOT NULL);
CREATE INDEX IF NOT EXISTS sweep_logs_of_a_trial ON sweep_logs (sweep, key, number);
"""


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
        if not self._met and connection.execute("SELECT to_regclass('sweep_logs')").fetchone()[0] is None:
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


def without_password(url: str) -> str:
    """The address of a database less its password, which is put into PGPASSWORD. Raises ValueError on any other."""
    scheme, colons, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    if scheme not in ("postgresql", "postgres") or not colons or "@" in credentials + path or "password=" in url:
        # What is wrong may be the password, so nothing of it is repeated.
        raise ValueError(
            "`store` must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, in it / and @ as %2F and %40, or "
            "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX"
        )
    if password:
        os.environ["PGPASSWORD"] = unquote(password)
    return f"{scheme}://{user}{at}{host}{slash}{path}"
