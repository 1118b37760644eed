"""The suite's own PostgreSQL: killed on demand, and with gates that hold a server at a chosen step of a job."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy
from tests.support.waiting import wait_until

from blade_server.storage.database import Database
from blade_server.storage.embedded.binaries import installed_binaries
from blade_server.storage.embedded.postgres import EmbeddedPostgres
from blade_server.storage.migrate import migrate

_GATE_FUNCTION = """
    CREATE OR REPLACE FUNCTION fault_gate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::bigint);
        RETURN NULL;
    END $$
"""

STEPS = {
    "planning": ("NEW.plan <> OLD.plan", "job"),
    "intending": ("true", "job_block"),
    "recording": ("NEW.success_count > OLD.success_count", "job"),
    "finishing": ("NEW.status = 'COMPLETED'", "job"),
}
"""What a job writes from its start to its end, as `when` and `table` of a gate."""


class Postgres:
    """A PostgreSQL with a database for the servers under test."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self._embedded = embedded
        name = f"faults_{secrets.token_hex(4)}"
        with self._session("postgres") as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        self._name = name
        self.url = embedded.url.replace("/postgres?", f"/{name}?", 1)
        migrate(self.url)
        with self._session(name) as cursor:
            cursor.execute(_GATE_FUNCTION)
        self.database = Database(self.url, pool_size=4)

    @contextmanager
    def _session(self, database: str = "") -> Iterator[Any]:
        """A cursor of a connection of its own, without transactions."""
        url = sqlalchemy.make_url(self._embedded.url.replace("+psycopg2", ""))
        connection = psycopg2.connect(
            dbname=database or self._name,
            user=url.username,
            host=url.query["host"],
            port=url.query["port"],
            application_name="faults",
        )
        connection.autocommit = True
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._session() as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def kill(self) -> None:
        """kill -9 of the postmaster; returns when the server that its supervisor starts answers."""
        os.kill(self._embedded.postmaster_pid(), signal.SIGKILL)
        self._embedded.start()

    def dump(self, file: Path) -> None:
        """A backup by pg_dump."""
        self._run("pg_dump", "--format=custom", f"--file={file}", self._plain_url(self._name))

    def restore(self, file: Path) -> None:
        """Puts a database out of such a backup in the place of this one, whoever uses it."""
        new = f"{self._name}_new"
        with self._session("postgres") as cursor:
            cursor.execute(f"CREATE DATABASE {new} TEMPLATE template0")
            self._run("pg_restore", "--exit-on-error", f"--dbname={self._plain_url(new)}", str(file))
            cursor.execute(f"DROP DATABASE {self._name} WITH (FORCE)")
            cursor.execute(f"ALTER DATABASE {new} RENAME TO {self._name}")

    def _plain_url(self, database: str) -> str:
        return self._embedded.url.replace("+psycopg2", "").replace("/postgres?", f"/{database}?", 1)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([installed_binaries() / program, *arguments], check=True)

    def snapshot(self, folder: Path) -> None:
        """A copy of all its files at one moment, as a storage system makes one."""
        with self.frozen():
            shutil.copytree(self._pgdata, folder, symlinks=True)

    def put_back(self, folder: Path) -> None:
        """Puts such a copy in the place of its files, whoever uses it; returns when it answers."""
        postmaster = self._embedded.postmaster_pid()
        supervisor = _parent(postmaster)
        os.kill(supervisor, signal.SIGSTOP)
        children = _children(postmaster)
        os.kill(postmaster, signal.SIGKILL)
        wait_until(lambda: not any(_parent(pid) for pid in children))
        owner = self._pgdata.stat()
        shutil.rmtree(self._pgdata)
        shutil.copytree(folder, self._pgdata, symlinks=True)
        for path in (self._pgdata, *self._pgdata.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        os.kill(supervisor, signal.SIGCONT)
        self._embedded.start()

    @property
    def _pgdata(self) -> Path:
        return self._embedded.data_dir / "pgdata"

    def break_off(self, application: str) -> int:
        """Breaks off the connections that bear such a name (a pattern of LIKE). Returns how many."""
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE %s AND pid <> pg_backend_pid() AND datname = current_database()"
        )
        return len(self.ask(query, application))

    def connections(self) -> int:
        """Connections of BLADE servers."""
        query = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name LIKE 'blade%%' AND datname = current_database()"
        )
        return int(self.ask(query)[0][0])

    @contextmanager
    def commits_unanswered(self) -> Iterator[None]:
        """COMMITs are carried out for good, but nobody gets an answer, nor sees them, as long as this lasts."""
        # They wait for a standby that does not exist.
        with self._setting("synchronous_standby_names", "nobody"):
            yield

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Every write fails as long as this lasts."""
        with self._setting("default_transaction_read_only", "on"):
            yield

    @contextmanager
    def _setting(self, name: str, value: str) -> Iterator[None]:
        self.ask(f"ALTER SYSTEM SET {name} = '{value}'")
        self.ask("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            self.ask(f"ALTER SYSTEM RESET {name}")
            self.ask("SELECT pg_reload_conf()")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP of all its processes: it keeps its connections and says nothing as long as this lasts."""
        postmaster = self._embedded.postmaster_pid()
        os.kill(postmaster, signal.SIGSTOP)  # first, so that no child is started meanwhile
        children = _children(postmaster)
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in [*children, postmaster]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Nobody reads or writes the table as long as this lasts."""
        with self._session() as cursor:
            cursor.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
            cursor.execute("ROLLBACK")

    @contextmanager
    def failing(self, job_id: str, sqlstate: str) -> Iterator[Callable[[], int]]:
        """Every change of this job's rows fails with this SQLSTATE. Yields what tells how often it has."""
        name = f"failing_{secrets.token_hex(4)}"
        tables = ("job", "job_block")
        self.ask(
            f"CREATE SEQUENCE {name};"  # what a sequence counts is not rolled back
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('{name}');"
            f" RAISE EXCEPTION 'on purpose' USING ERRCODE = '{sqlstate}'; END $$"
        )
        for table in tables:
            self.ask(
                f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW"
                f" WHEN (NEW.job_id = '{job_id}') EXECUTE FUNCTION {name}()"
            )
        try:
            yield lambda: int(self.ask(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {name}")[0][0])
        finally:
            for table in tables:
                self.ask(f"DROP TRIGGER {name} ON {table}")
            self.ask(f"DROP FUNCTION {name}(); DROP SEQUENCE {name}")

    def unanswered(self, table: str) -> bool:
        """Whether a COMMIT that changed this table waits for its answer."""
        query = (
            "SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid)"
            " WHERE wait_event = 'SyncRep' AND datname = current_database()"
            " AND relation = %s::regclass AND mode = 'RowExclusiveLock'"
        )
        return bool(self.ask(query, table)[0][0])

    @contextmanager
    def gate(self, job_id: str, when: str, *, table: str = "job", at_commit: bool = False) -> Iterator[Gate]:
        """Stops the next transaction that changes a row of this job (empty: of any) as `when` says, until it is opened.

        `when` is a condition over OLD and NEW. The transaction stands still in its statement: whoever sent it can be
        killed with nothing committed. With `at_commit` in its COMMIT: it takes place although its sender is dead.
        """
        key = secrets.randbits(31)
        happens = "INSERT" if table == "job_block" else "UPDATE"
        trigger = f"gate_{key}"
        kind, defer = ("CONSTRAINT TRIGGER", "DEFERRABLE INITIALLY DEFERRED") if at_commit else ("TRIGGER", "")
        with self._session() as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", (key,))
            self.ask(
                f"CREATE {kind} {trigger} AFTER {happens} ON {table} {defer} FOR EACH ROW"
                f" WHEN ('{job_id}' IN ('', NEW.job_id) AND {when}) EXECUTE FUNCTION fault_gate({key})"
            )
            gate = Gate(self, holder, key)
            try:
                yield gate
            finally:
                gate.open()
                self.ask(f"DROP TRIGGER {trigger} ON {table}")


class Gate:
    """One held step."""

    def __init__(self, postgres: Postgres, holder: Any, key: int) -> None:
        self._postgres = postgres
        self._holder = holder
        self._key = key
        self._shut = True

    def wait_reached(self, timeout_s: float = 20.0) -> None:
        """Returns once a server stands before the gate."""
        query = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        deadline_s = time.monotonic() + timeout_s
        while not self._postgres.ask(query, self._key)[0][0]:
            assert time.monotonic() < deadline_s, f"no server reached the gate within {timeout_s} s"
            time.sleep(0.02)

    def open(self) -> None:
        """Lets everybody pass from now on."""
        if self._shut:
            self._shut = False
            with suppress(psycopg2.Error):  # PostgreSQL may have been killed meanwhile, and the lock with it
                self._holder.execute("SELECT pg_advisory_unlock(%s)", (self._key,))


def _children(parent: int) -> list[int]:
    running = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in running if _parent(pid) == parent]


def _parent(pid: int) -> int:
    """Of a process; 0 if it has gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
