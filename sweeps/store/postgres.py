"""A store in a PostgreSQL database, for machines that share no folder. See database.py for its tables.

Checkpoints, states of trunks and exports stay in each machine's own folder; a trial that goes on elsewhere begins anew
unless a URL is given for copies of its checkpoints. The name of that folder is the sweep's name in the database.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from sweeps.experiment.sources import Data
from sweeps.machine.eligibility import Requirements
from sweeps.search.learning_rates import EVERYTHING
from sweeps.store.attempts import LEASE, Attempt, Claim, attempt_of, this_host
from sweeps.store.base import Store
from sweeps.store.database import Database
from sweeps.store.files import figures
from sweeps.store.identity import beginning, identity_of, mark, refuse_foreign
from sweeps.store.logs import Log, PieceLog
from sweeps.store.note import Note, refuse_other_copies, write_note
from sweeps.store.objects import checked_url
from sweeps.store.records import parse_record
from sweeps.support.json_io import parse_json
from sweeps.trial import Observation, Trial


@final
class PostgresStore(Store):
    """A store whose trials, claims and results are rows; `directory` holds what only this machine needs."""

    shares_folder = False  # to wait for a state on another machine is worth nothing
    looks_at_once = True

    def __init__(self, directory: Path, url: str, lease: float = LEASE, checkpoints: str = "") -> None:
        super().__init__(directory, lease, checkpoints)
        self.database = Database(url)
        self._finished: set[str] = set()  # keys, as last asked
        self._ours = False  # whether the name is known to be that of this folder's sweep

    def _ask(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        if not self._ours:
            self._refuse_another()
        return self._ask_any(statement, **values)

    def _ask_any(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        return self.database.ask(statement, {"sweep": self.name, **values})

    def _named(self) -> tuple[str, str]:
        """Identity of the sweep that has this name in the database, and a hash of what it began as; "" without one."""
        rows = self._ask_any("SELECT identity, begun FROM sweep_names WHERE sweep = %(sweep)s")
        return (str(rows[0][0]), str(rows[0][1])) if rows else ("", "")

    def _refuse_another(self) -> None:
        theirs, ours = self._named()[0], identity_of(self.directory)
        if theirs and ours and theirs != ours:
            raise ValueError(
                f"{self.database.url}: holds another sweep {self.name!r} than {self.directory}, with the same "
                "folder name; rename this folder"
            )
        self._ours = bool(theirs) and theirs == ours

    # -- what is wanted

    def admit(self, sweep_file: Path, data: Data) -> None:
        refuse_foreign(self.directory, sweep_file)
        self._refuse_another()
        theirs, begun = self._named()
        if not theirs or identity_of(self.directory):
            return
        # Begun on another machine, or somebody else's altogether.
        text = sweep_file.read_text(encoding="utf-8")
        rows = self._ask_any("SELECT file, data FROM sweep_queue WHERE sweep = %(sweep)s")
        if begun != beginning(text, data) and (text, json.dumps(data.to_json())) not in rows:
            raise ValueError(
                f"{self.database.url}: holds another sweep {self.name!r}, which is this folder's name; give another "
                f"folder. To continue that one: `sweep status {self.directory} --store URL`"
            )

    def begin(self, sweep_file: Path, data: Data) -> None:
        text = sweep_file.read_text(encoding="utf-8")
        self._ask_any(
            "INSERT INTO sweep_names VALUES (%(sweep)s, %(identity)s, %(begun)s) ON CONFLICT DO NOTHING",
            identity=identity_of(self.directory) or uuid.uuid4().hex,
            begun=beginning(text, data),
        )
        self.admit(sweep_file, data)
        mark(self.directory, sweep_file, self._named()[0])
        self.files.begin(text, json.dumps(data.to_json(), indent=1) + "\n")
        self._settle_place()
        self._ask(
            "INSERT INTO sweep_queue (sweep, file, data) VALUES (%(sweep)s, %(file)s, %(data)s) ON CONFLICT (sweep) "
            "DO UPDATE SET file = excluded.file, data = excluded.data, closed = false",
            file=text,
            data=json.dumps(data.to_json()),
        )

    def fetch(self) -> None:
        """Make this machine's folder of a sweep that another machine began. Raises ValueError when none did."""
        rows = self._ask("SELECT file, data FROM sweep_queue WHERE sweep = %(sweep)s")
        if not rows:
            raise ValueError(f"{self.database.url}: holds no sweep {self.name!r}, which is this folder's name")
        mark(self.directory, identity=self._named()[0])
        self.files.begin(*rows[0])
        self._settle_place()

    def _settle_place(self) -> None:
        """Leave in the database where checkpoints are copied to, unless it says so already, and the note in the folder.

        Raises ValueError where it says another place than was given here.
        """
        if self.copies:
            self._ask("INSERT INTO sweep_places VALUES (%(sweep)s, %(url)s) ON CONFLICT DO NOTHING", url=self.copies)
        rows = self._ask("SELECT checkpoints FROM sweep_places WHERE sweep = %(sweep)s")
        place = checked_url(rows[0][0]) if rows else ""
        refuse_other_copies(self.directory, place, self.copies)
        self.copies = place
        write_note(self.directory, Note(self.database.url, place))

    def insert(self, trials: Sequence[Trial]) -> None:
        self._ask(
            "INSERT INTO sweep_trials SELECT %(sweep)s, * FROM unnest(%(keys)s::text[], %(trials)s::text[]) "
            "ON CONFLICT DO NOTHING",
            keys=[trial.key for trial in trials],
            trials=[json.dumps(trial.to_json()) for trial in trials],
        )

    def set_queue(self, keys: Sequence[str]) -> None:
        self._ask("UPDATE sweep_queue SET wanted = %(keys)s WHERE sweep = %(sweep)s", keys=list(keys))

    def _queue_row(self, columns: str) -> Any:
        """Columns of the sweep's row; None before it is begun."""
        return next(iter(self._ask(f"SELECT {columns} FROM sweep_queue WHERE sweep = %(sweep)s")), None)

    def queue(self) -> list[str]:
        wanted, gone = self._queue_row("wanted, cancelled") or ([], [])
        return [] if EVERYTHING in gone else [key for key in wanted if key not in set(gone)]

    def cancel(self, keys: Iterable[str]) -> None:
        self._ask(
            "UPDATE sweep_queue SET cancelled = ARRAY(SELECT DISTINCT unnest(cancelled || %(keys)s::text[])) "
            "WHERE sweep = %(sweep)s",
            keys=list(keys),
        )

    def requeue(self, keys: Iterable[str]) -> None:
        self._ask(
            "UPDATE sweep_queue SET cancelled = ARRAY(SELECT unnest(cancelled) EXCEPT SELECT unnest(%(keys)s::text[])) "
            "WHERE sweep = %(sweep)s",
            keys=list(keys),
        )

    def cancelled(self) -> frozenset[str]:
        return frozenset(key for keys in self._queue_row("cancelled") or () for key in keys)

    def require(self, requirements: Requirements) -> None:
        text = json.dumps(requirements.to_json())
        self._ask("UPDATE sweep_queue SET needs = %(needs)s WHERE sweep = %(sweep)s", needs=text)

    def requirements(self) -> Requirements:
        row = self._queue_row("needs")
        where = f"{self.database.url}: what its trials take"
        return Requirements.from_json(parse_json(row[0]), where) if row else Requirements()

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

    def unfinished(self) -> list[str]:
        self.refresh()
        return [key for key in self.queue() if key not in self._finished]

    # -- who runs what

    def refresh(self) -> None:
        self._finished = {key for (key,) in self._ask("SELECT key FROM sweep_results WHERE sweep = %(sweep)s")}

    def busy(self) -> Set[str]:
        """Asked for all at once. Attempts of this host are looked at one by one: their process may be gone."""
        rows = self._ask(
            "SELECT key FROM (SELECT DISTINCT ON (key) * FROM sweep_attempts WHERE sweep = %(sweep)s "
            "ORDER BY key, number DESC) newest WHERE cause IS NULL AND position('\"pid\": ' IN holder) > 0 "
            "AND position(%(host)s IN holder) = 0 AND seen > clock_timestamp() - make_interval(secs => %(lease)s)",
            host=json.dumps({"host": this_host()})[1:-1],
            lease=self.lease,
        )
        return self._finished | {key for (key,) in rows}

    def attempt(self, key: str, number: int, holder: Mapping[str, Any]) -> bool:
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
        own = "SELECT 1 FROM sweep_attempts WHERE sweep = %(sweep)s AND key = %(key)s AND token = %(token)s"
        if not self._ask(own, key=key, token=token):
            return False
        self.folder(key).mkdir(parents=True, exist_ok=True)  # of its checkpoint
        return True

    def silence(self, key: str, number: int) -> float:
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
            attempt_of(number, _loads(holder), cause or "", said or cause or "") for number, holder, cause, said in rows
        ]

    def renew(self, claim: Claim) -> bool:
        self._ask(
            "UPDATE sweep_attempts SET seen = clock_timestamp(), figures = %(figures)s "
            "WHERE sweep = %(sweep)s AND key = %(key)s AND number = %(number)s",
            key=claim.trial.key,
            number=claim.attempt,
            figures=json.dumps(self.files.progress(claim.trial.key)),
        )
        return self.check(claim)

    def check(self, claim: Claim) -> bool:
        rows = self._ask(
            "SELECT max(number) FROM sweep_attempts WHERE sweep = %(sweep)s AND key = %(key)s", key=claim.trial.key
        )
        return rows[0][0] == claim.attempt and not self.finished(claim.trial.key)

    def record_end(self, key: str, number: int, cause: str, reason: str) -> None:
        self._ask(
            "UPDATE sweep_attempts SET cause = %(cause)s, said = %(said)s "
            "WHERE sweep = %(sweep)s AND key = %(key)s AND number = %(number)s AND cause IS NULL",
            key=key,
            number=number,
            cause=cause,
            said=reason,
        )

    def record_result(self, key: str, text: str) -> bool:
        self._ask(
            "INSERT INTO sweep_results VALUES (%(sweep)s, %(key)s, %(text)s) ON CONFLICT DO NOTHING", key=key, text=text
        )
        return self._result_text(key) == text

    def set_aside(self, key: str, last: int) -> None:
        self._ask(
            "WITH gone AS (DELETE FROM sweep_results WHERE sweep = %(sweep)s AND key = %(key)s RETURNING *) "
            "INSERT INTO sweep_failures SELECT sweep, key, %(last)s, observation FROM gone ON CONFLICT DO NOTHING",
            key=key,
            last=last,
        )
        self._finished.discard(key)
        self.folder(key).mkdir(parents=True, exist_ok=True)  # of its log: it may have run elsewhere

    def retried(self, key: str) -> int:
        newest = "SELECT max(attempt) FROM sweep_failures WHERE sweep = %(sweep)s AND key = %(key)s"
        return self._ask(newest, key=key)[0][0] or 0

    # -- what was said

    def share_log(self, key: str, text: str) -> None:
        self._ask(
            "INSERT INTO sweep_logs (sweep, key, token, said) VALUES (%(sweep)s, %(key)s, %(token)s, %(said)s) "
            "ON CONFLICT DO NOTHING",
            key=key,
            token=uuid.uuid4().hex,  # a statement that is repeated says nothing twice
            said=text.replace("\0", "\ufffd"),  # which the database takes in no text
        )

    def open_log(self, key: str = "") -> Log:
        return PieceLog(lambda known: self._pieces(key, known))

    def _pieces(self, key: str, known: Sequence[str]) -> list[tuple[str, str]]:
        """Numbers and texts of the pieces of a log after the known ones: of a log never read, the last thousand."""
        rows = self._ask(
            "SELECT number, said FROM sweep_logs WHERE sweep = %(sweep)s AND key = %(key)s AND number > %(after)s "
            "ORDER BY number DESC LIMIT 1000",
            key=key,
            after=int(known[-1]) if known else 0,
        )
        return [(str(number), said) for number, said in reversed(rows)]

    def publish(self, paths: Iterable[Path]) -> None:
        """Nothing: exports stay on the machine that conducts the sweep."""

    # -- what is known

    def read_trial(self, key: str) -> Trial:
        rows = self._ask("SELECT trial FROM sweep_trials WHERE sweep = %(sweep)s AND key = %(key)s", key=key)
        where = f"{self.database.url}: trial {key}"
        if not rows:
            raise ValueError(f"{where} does not exist")
        trial: Trial = parse_record(Trial, rows[0][0], where)
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
        self.refresh()
        new = [key for key in self._finished if key not in known]
        for start in range(0, len(new), 500):
            rows = self._ask(
                "SELECT key, observation FROM sweep_results WHERE sweep = %(sweep)s AND key = ANY(%(keys)s)",
                keys=new[start : start + 500],
            )
            for key, text in rows:
                yield self._parse(key, text)

    def _parse(self, key: str, text: str) -> Observation:
        where = f"{self.database.url}: result of {key}"
        observation: Observation = parse_record(Observation, text, where)
        return observation

    def keys(self) -> list[str]:
        return [key for (key,) in self._ask("SELECT key FROM sweep_trials WHERE sweep = %(sweep)s")]

    def running(self) -> Iterator[tuple[Trial, Attempt, dict[str, Any]]]:
        rows = self._ask(
            "SELECT DISTINCT ON (key) key, number, holder, cause, figures, trial, "
            "extract(epoch FROM clock_timestamp() - seen)::float FROM sweep_attempts JOIN sweep_trials "
            "USING (sweep, key) WHERE sweep = %(sweep)s ORDER BY key, number DESC"
        )
        newest = {key: rest for key, *rest in rows}
        for key in self.unfinished():
            if key in newest:
                number, note, cause, told, trial, silent = newest[key]
                last = attempt_of(number, _loads(note), cause or "", cause or "")
                if not last.ended and not last.gone and silent <= self.lease:
                    here = self.files.progress(key) if last.here else {}  # newer than what the last renewal told
                    where = f"{self.database.url}: trial {key}"
                    yield parse_record(Trial, trial, where), last, here or figures(_loads(told))


def _loads(text: str) -> Any:
    """What JSON in the database says; None where it is none."""
    with suppress(ValueError):
        return parse_json(text)
    return None
