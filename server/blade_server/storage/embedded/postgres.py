"""The embedded PostgreSQL: the database of a BLADE that was given no DATABASE_URL.

This is the side of the user of the database. Any number of processes may share one data folder: the first
starts the server, the last to leave stops it, also when they leave by kill -9. `supervisor.py` holds
the server and says how; `binaries.py` finds the programs.

Nothing here believes a process id found in a file. Whether a server is there is decided by locks, and whether
it can be used by connecting to it; one that answers "starting up" or "too many clients" is alive and waited
for.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import platformdirs
import psycopg2
import psycopg2.extensions

from blade_server.storage.embedded import supervisor
from blade_server.storage.embedded.binaries import BinariesMissingError, binaries_for, installed_binaries
from blade_server.storage.embedded.supervisor import BUSY, PORT, ROLE, Account, Cluster, try_lock

_POLL_S = 0.02
_STOP_TIMEOUT_S = 45.0  # above the supervisor's own patience with a server that hangs
_LOG_LINES = 6
_SERVICE_ACCOUNTS = ("postgres", "nobody")
_PASSED_ON = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be started or reached; the message names the reason and the way out."""


def default_data_dir() -> Path:
    """The folder for the data of an embedded PostgreSQL that was told none."""
    return Path(platformdirs.user_data_dir("blade", appauthor=False)) / "postgres"


class EmbeddedPostgres:
    """One process's use of the PostgreSQL server of a data folder.

    As root the server runs as the owner of the existing data, else as `postgres` or `nobody`, whichever
    exists: no account is added and no permission outside the data folder changes, wherever that folder is.
    (Linux; elsewhere the folder must be one that account can reach.)

    Not safe for use by several threads at once; the URL it gives is.

    Example:
        with EmbeddedPostgres() as postgres:
            engine = sqlalchemy.create_engine(postgres.url)
    """

    def __init__(self, data_dir: Path | None = None, *, start_timeout_s: float = 60.0):
        """Nothing is started yet.

        Args:
            data_dir: the folder for the data, the locks and the log; made if absent. If None, `postgres` in
                BLADE's folder of the platform's user data (XDG_DATA_HOME on Linux).
            start_timeout_s: how long `start` waits for a usable server, its crash recovery included.
        """
        if data_dir is None:
            data_dir = default_data_dir()
        self.data_dir = data_dir.absolute()
        self._start_timeout_s = start_timeout_s
        self._lock: int | None = None
        self._lock_taken_by = 0
        self._cluster: Cluster | None = None

    @property
    def url(self) -> str:
        """A SQLAlchemy URL over the server's unix socket; the role is a superuser.

        Raises:
            EmbeddedPostgresError: `start` was not called, or `stop` was.
        """
        host = quote(str(self._socket_dir()), safe="")
        return f"postgresql+psycopg2://{ROLE}@/postgres?host={host}&port={PORT}"

    def start(self) -> str:
        """Make sure that the server runs, and keep it running until `stop` or the end of this process.

        Blocks until a connection has succeeded. Called again it checks again, and waits for a restarting
        server.

        Returns:
            `url`.

        Raises:
            EmbeddedPostgresError: the server cannot be started, or was not usable in time.
        """
        deadline_s = time.monotonic() + self._start_timeout_s
        if self._lock_taken_by != os.getpid():
            self._leave()
        before = self._lock
        try:
            self._cluster = self._prepare()
            if self._lock is None:
                self._lock = self._join(self._cluster, deadline_s)
                self._lock_taken_by = os.getpid()
            self._await_server(self._cluster, deadline_s)
        except BaseException as error:
            if before is None:
                self._leave()
            if isinstance(error, OSError | BinariesMissingError):
                raise self._error(str(error)) from error
            raise
        return self.url

    def stop(self) -> None:
        """Give the server up; if nobody else uses it, return when it has shut down. Harmless if not started.

        Raises:
            EmbeddedPostgresError: nobody uses the server, and still it did not shut down.
        """
        cluster = self._cluster
        if not self._leave() or cluster is None:
            return
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        while cluster.root.exists() and not _free(cluster.supervisor_lock, fcntl.LOCK_SH):
            if not _free(cluster.users_lock, fcntl.LOCK_EX) and _free(cluster.users_lock, fcntl.LOCK_SH):
                return  # other users share it
            if time.monotonic() > deadline_s:
                raise self._error(f"the server did not stop within {_STOP_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def postmaster_pid(self) -> int:
        """The process id of the server's main process, as the running server reports it. An aid for tests.

        After a kill -9 of that process the supervisor starts the server again; `start` waits for it.
        """
        with closing(_connect(self._socket_dir())) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int")
            row = cursor.fetchone()
        assert row is not None
        return int(row[0])

    def _socket_dir(self) -> Path:
        folder = self._cluster.socket_dir() if self._cluster and self._lock is not None else None
        if folder is None:
            raise self._error("it is not started")
        return folder

    def _prepare(self) -> Cluster:
        as_root = os.geteuid() == 0
        # Root's folder lets the service account pass to what is its own, and to nothing beside it.
        self.data_dir.mkdir(mode=0o711 if as_root else 0o700, parents=True, exist_ok=True)
        cluster = Cluster(root=self.data_dir, account=None)
        if as_root:
            return Cluster(root=self.data_dir, account=_service_account(cluster.pgdata))
        if cluster.pgdata.exists() and cluster.pgdata.stat().st_uid != os.geteuid():
            owner = cluster.pgdata.stat().st_uid
            raise self._error(f"the data belongs to user id {owner}: run BLADE as that user")
        return cluster

    def _join(self, cluster: Cluster, deadline_s: float) -> int:
        """Become one of the users; waits while the server of earlier users is being shut down."""
        while (lock := try_lock(cluster.users_lock, fcntl.LOCK_SH)) is None:
            if time.monotonic() > deadline_s:
                raise self._error("an earlier server is still shutting down")
            time.sleep(_POLL_S)
        return lock

    def _leave(self) -> bool:
        """True if this process was a user; a fork of the one that called `start` only drops its copy."""
        lock, self._lock, self._cluster = self._lock, None, None
        if lock is None:
            return False
        ours = self._lock_taken_by == os.getpid()
        if ours:
            fcntl.flock(lock, fcntl.LOCK_UN)  # forks that still hold the descriptor do not count
        os.close(lock)
        return ours

    def _await_server(self, cluster: Cluster, deadline_s: float) -> None:
        log_start: int | None = None
        while True:
            if _free(cluster.supervisor_lock, fcntl.LOCK_SH):
                if log_start is not None:
                    raise self._error(f"the server does not start: {_log_tail(cluster.log, log_start)}")
                log_start = self._start_supervisor(cluster)
            problem = _problem(cluster)
            if problem is None:
                return
            if time.monotonic() > deadline_s:
                raise self._error(f"not usable within {self._start_timeout_s:.0f} s: {problem}")
            time.sleep(_POLL_S)

    def _start_supervisor(self, cluster: Cluster) -> int | None:
        """The size of the log before, if this call started a supervisor; None if another was quicker."""
        account = cluster.account
        binaries = binaries_for(account.uid, account.gid) if account else installed_binaries()
        order = {
            "root": str(cluster.root),
            "binaries": str(binaries),
            "account": {"uid": account.uid, "gid": account.gid} if account else None,
        }
        log_start = cluster.log.stat().st_size if cluster.log.exists() else 0
        done = subprocess.run(
            [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(order)],
            # It outlives us: it must not keep our secrets, nor let PG* or LC_* variables steer the server.
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"LC_ALL": "C"},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == BUSY:
            return None
        if done.returncode != 0:
            raise self._error(f"its supervisor does not start: {done.stderr.strip()[-500:]}")
        return log_start

    def _error(self, reason: str) -> EmbeddedPostgresError:
        return EmbeddedPostgresError(
            f"embedded PostgreSQL in {self.data_dir}: {reason}\n"
            "To use a PostgreSQL of your own instead, set DATABASE_URL."
        )


def _service_account(pgdata: Path) -> Account:
    """Whom the server runs as when root starts it."""
    if pgdata.exists() and (status := pgdata.stat()).st_uid != 0:
        return Account(uid=status.st_uid, gid=status.st_gid)
    for name in _SERVICE_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and this system has no account 'postgres' or 'nobody': "
        "start BLADE as an ordinary user, or set DATABASE_URL"
    )


def _free(path: Path, kind: int) -> bool:
    lock = try_lock(path, kind)
    if lock is None:
        return False
    os.close(lock)
    return True


def _connect(socket_dir: Path) -> psycopg2.extensions.connection:
    return psycopg2.connect(host=str(socket_dir), port=PORT, user=ROLE, dbname="postgres", connect_timeout=5)


def _problem(cluster: Cluster) -> str | None:
    """None if a connection succeeds, else why it does not."""
    socket_dir = cluster.socket_dir()
    if socket_dir is None:
        return "it has not made its socket yet"
    try:
        _connect(socket_dir).close()
    except psycopg2.OperationalError as error:
        return str(error).strip()
    return None


def _log_tail(log: Path, start: int) -> str:
    with log.open(errors="replace") as lines:
        lines.seek(start if log.stat().st_size >= start else 0)
        return "\n".join(lines.read().splitlines()[-_LOG_LINES:])
