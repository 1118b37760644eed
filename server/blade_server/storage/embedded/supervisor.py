"""The process between BLADE and its embedded PostgreSQL: it owns the server, so that none is ever orphaned.

`postgres.py` is what a user of the database calls; this file is the small program it starts, one for each
data folder, from the standard library only. Three `flock` locks in the data folder decide everything; the
kernel drops them with their holders, even after kill -9, which no process id written to a file can promise:

    users.lock        shared by every process that uses the database. Whoever can take it alone knows that
                      nobody does: the supervisor then shuts the server down, and keeps the lock until that is
                      done, so that a new user waits for the end of the old server and never meets a dying one
    supervisor.lock   held by the supervisor: free means nobody is looking after a server here
    server.lock       inherited by postgres and every process it forks: free means none of them is left, so
                      that a postmaster.pid still lying there is stale, whatever process now has that number

A server that dies while it is in use is started again. If the supervisor itself is killed, the kernel asks
the server to shut down (Linux; elsewhere that one case leaves it running, to be used by the next start).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PORT = 5432  # names the socket file only: nothing listens on TCP
ROLE = "postgres"
BUSY = 75  # exit status (EX_TEMPFAIL): another supervisor was quicker

_MAX_SOCKET_PATH_BYTES = 100  # sockaddr_un.sun_path holds 108 on Linux, 104 on macOS
_SOCKET_DIR_PREFIX = "blade-pg-"
_MAX_LOG_BYTES = 5 * 1024 * 1024
_POLL_S = 0.1
_RESTART_PAUSE_S = 0.05
_QUICK_FAILURES = 5
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
# The built-in locale sorts like C and knows upper and lower case of all Unicode, whatever the machine has.
_INITDB_OPTIONS = [
    f"--username={ROLE}",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth-local=trust",
    "--auth-host=reject",
    "--no-instructions",
]
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "cluster_name": "blade",
}


@dataclass(frozen=True, kw_only=True)
class Account:
    """The operating system account the server runs as; PostgreSQL refuses to run as root."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where one embedded server keeps its files; `account` is set when root starts it for another account."""

    root: Path
    account: Account | None

    @property
    def pgdata(self) -> Path:
        """The PostgreSQL data folder; it appears by a rename, so one that exists is complete."""
        return self.root / "pgdata"

    @property
    def log(self) -> Path:
        """What the supervisor, initdb and postgres print."""
        return self.root / "server.log"

    @property
    def users_lock(self) -> Path:
        """Shared by the users, taken alone by the supervisor that stops the server."""
        return self.root / "users.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.root / "supervisor.lock"

    @property
    def server_lock(self) -> Path:
        """Held by the processes of postgres."""
        return self.root / "server.lock"

    @property
    def socket_note(self) -> Path:
        """Names the socket folder when the path of `pgdata` is too long to hold a socket."""
        return self.root / "socket_dir"

    def socket_dir(self) -> Path | None:
        """The folder of the server's socket, or None while no server has made one."""
        if fits_socket(self.pgdata):
            return self.pgdata
        try:
            folder = Path(self.socket_note.read_text())
            # A stranger may have taken the name after a reboot emptied the temp folder.
            owned = folder.lstat().st_uid == (self.account.uid if self.account else os.geteuid())
        except FileNotFoundError:
            return None
        return folder if owned else None


def fits_socket(folder: Path) -> bool:
    """True if a socket in the folder has a name short enough, and one libpq does not split at a comma."""
    name = os.fsencode(folder / f".s.PGSQL.{PORT}")
    return len(name) <= _MAX_SOCKET_PATH_BYTES and b"," not in name


def try_lock(path: Path, kind: int) -> int | None:
    """Take a lock without waiting.

    Args:
        path: the lock file; made if absent, readable by its owner only, never followed if it is a link.
        kind: `fcntl.LOCK_SH` or `fcntl.LOCK_EX`.

    Returns:
        A descriptor that holds the lock until it is closed, or None if another process is in the way.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Supervisor:
    """Makes the data folder if there is none, runs postgres while it is used, stops it when it is not."""

    def __init__(self, cluster: Cluster, binaries: Path):
        self._cluster = cluster
        self._binaries = binaries
        self._sole_user: int | None = None

    def run(self) -> None:
        """Return when the last user has left, or when postgres cannot be kept up; the log says why."""
        failures = 0
        while failures < _QUICK_FAILURES:
            lock = self._wait_for_earlier_server()
            if lock is None:
                return
            started_s = time.monotonic()
            try:
                self._make_data_folder(lock)
                server = self._launch(lock)
            finally:
                os.close(lock)  # from here the lock is held by the processes of postgres alone
            status = self._watch(server)
            if status is None:
                return
            failures = failures + 1 if time.monotonic() - started_s < 1 else 1
            _say(f"postgres ended by itself with status {status}")
            time.sleep(_RESTART_PAUSE_S * 2**failures)
        _say(f"giving up: postgres ended {failures} times in a row within a second")

    def _unused(self) -> bool:
        if self._sole_user is None:
            self._sole_user = try_lock(self._cluster.users_lock, fcntl.LOCK_EX)
        return self._sole_user is not None

    def _wait_for_earlier_server(self) -> int | None:
        """The server lock, once no process of an earlier server is left; None if nobody wants one now."""
        said = False
        while not self._unused():
            lock = try_lock(self._cluster.server_lock, fcntl.LOCK_EX)
            if lock is not None:
                return lock
            if not said:
                _say("waiting for the processes of an earlier server to end")
                said = True
            time.sleep(_POLL_S)
        return None

    def _make_data_folder(self, lock: int) -> None:
        root = self._cluster.root
        for unfinished in root.glob("pgdata.new-*"):
            shutil.rmtree(unfinished)
        if self._cluster.pgdata.exists():
            return
        new = Path(tempfile.mkdtemp(prefix="pgdata.new-", dir=root))
        self._give_away(new)
        status = self._popen("initdb", new, _INITDB_OPTIONS, lock, signal.SIGKILL).wait()
        if status != 0:
            shutil.rmtree(new)
            raise SystemExit(f"initdb failed with status {status}")
        new.rename(self._cluster.pgdata)
        folder = os.open(root, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _launch(self, lock: int) -> subprocess.Popen[bytes]:
        pgdata = self._cluster.pgdata
        socket_dir = self._make_socket_dir()
        # No process of an earlier server is left: postgres would only believe in whoever has these pids now.
        for folder, name in ((pgdata, "postmaster.pid"), (socket_dir, f".s.PGSQL.{PORT}.lock")):
            (folder / name).unlink(missing_ok=True)
        # Relative: the account of the server may not be allowed to walk to its data folder from above.
        listen = "." if socket_dir == pgdata else f'"{socket_dir}"'
        settings = _SETTINGS | {"unix_socket_directories": listen}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._popen("postgres", pgdata, options, lock, signal.SIGINT)

    def _watch(self, server: subprocess.Popen[bytes]) -> int | None:
        """The status of a server that ended by itself; None once it was stopped because nobody uses it."""
        while (status := server.poll()) is None:
            if self._unused():
                _stop(server)
                self._drop_socket_dir()
                return None
            time.sleep(_POLL_S)
        return status

    def _make_socket_dir(self) -> Path:
        if fits_socket(self._cluster.pgdata):
            return self._cluster.pgdata
        kept = self._cluster.socket_dir()
        if kept is not None:
            return kept  # after a crash: the users of the server know it by this folder
        # /tmp first: it is the shortest, and open to the account of the server where root's TMPDIR may not
        # be.
        parent = Path("/tmp")  # noqa: S108  mkdtemp makes a private folder of a new name
        if not os.access(parent, os.W_OK | os.X_OK):
            parent = Path(tempfile.gettempdir())
        folder = Path(tempfile.mkdtemp(prefix=_SOCKET_DIR_PREFIX, dir=parent))
        self._give_away(folder)
        draft = self._cluster.socket_note.with_suffix(".new")
        draft.write_text(str(folder))
        draft.rename(self._cluster.socket_note)
        return folder

    def _drop_socket_dir(self) -> None:
        folder = self._cluster.socket_dir()
        if folder and folder != self._cluster.pgdata and folder.name.startswith(_SOCKET_DIR_PREFIX):
            shutil.rmtree(folder, ignore_errors=True)
        self._cluster.socket_note.unlink(missing_ok=True)

    def _give_away(self, folder: Path) -> None:
        if self._cluster.account:
            os.chown(folder, self._cluster.account.uid, self._cluster.account.gid)

    def _popen(
        self, program: str, folder: Path, options: list[str], lock: int, at_our_death: signal.Signals
    ) -> subprocess.Popen[bytes]:
        account = self._cluster.account
        # Root's data folder may lie where the account cannot go (/root is 0700, so are private temp folders).
        # A process that already stands in it needs no way there: this name of it works without any parent
        # folder.
        here = "/proc/self/cwd" if account and sys.platform == "linux" else str(folder)
        return subprocess.Popen(
            [self._binaries / program, "-D", here, *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            pass_fds=(lock,),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077,
            preexec_fn=_signal_at_parents_death(at_our_death),  # noqa: PLW1509  this process has one thread
        )


def _signal_at_parents_death(number: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return arm


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Fast shutdown (a clean one); immediate, which recovers at the next start, only if that hangs."""
    for number, patience_s in ((signal.SIGINT, 30), (signal.SIGQUIT, 5), (signal.SIGKILL, None)):
        server.send_signal(number)
        try:
            server.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return


def _say(message: str) -> None:
    print(f"blade: {message}", file=sys.stderr, flush=True)


def _log_to(path: Path) -> None:
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.old"))
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def main() -> None:
    """Become the supervisor of the cluster named by the first argument (JSON), in the background.

    The caller's process exits with 0 once the supervisor lock is held, or with `BUSY`.
    """
    order = json.loads(sys.argv[1])
    account = Account(**order["account"]) if order["account"] else None
    cluster = Cluster(root=Path(order["root"]), account=account)
    held = try_lock(cluster.supervisor_lock, fcntl.LOCK_EX)
    if held is None:
        sys.exit(BUSY)
    _log_to(cluster.log)
    if os.fork():  # the child has no parent that would have to reap it, and shares the lock
        os._exit(0)
    os.chdir("/")
    # A signal to a whole group of processes (terminal, service manager) reaches the users too: they decide.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    Supervisor(cluster, Path(order["binaries"])).run()


if __name__ == "__main__":
    main()
