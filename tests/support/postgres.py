"""A PostgreSQL for the databases of a run: nothing in it has to survive anything, so it waits for no disk.

The data folder and the programs are those of the embedded one, whose own tests and the fault suite run that itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, quote, urlsplit

import psutil
import psycopg2
from tests.support.waiting import wait_until

from blade_server.storage.embedded.binaries import binaries_for, installed_binaries
from blade_server.storage.embedded.postgres import EmbeddedPostgres
from blade_server.storage.embedded.supervisor import PORT, ROLE

_SETTINGS = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "listen_addresses": "",
    "max_connections": "200",
    "max_wal_senders": "0",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "synchronous_commit": "off",
    "timezone": "UTC",
    "unix_socket_permissions": "0700",
    "wal_level": "minimal",
}

_MEMORY = "/dev/shm"
_ROOM_BYTES = 2 << 30


@contextmanager
def postgres_without_sync() -> Iterator[str]:
    """The URL of its database `postgres`; gone afterwards with its folder, whose name is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="blade-tests-", dir=_parent()) as name:
        folder = Path(name)
        with EmbeddedPostgres(folder):
            pass  # it makes the data
        data = folder / "pgdata"
        with (folder / "server.log").open("ab") as log:
            server = _start(data, log)
        try:
            wait_until(lambda: _answers(data), 60, lambda: (folder / "server.log").read_text())
            yield f"postgresql+psycopg2://{ROLE}@/postgres?host={quote(str(data), safe='')}&port={PORT}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


@contextmanager
def frozen(url: str) -> Iterator[None]:
    """All processes of this server are stopped (SIGSTOP): it keeps its connections and says nothing meanwhile."""
    data = Path(parse_qs(urlsplit(url).query)["host"][0])
    postmaster = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
    postmaster.suspend()  # first, so that no child is started meanwhile
    children = postmaster.children()
    for child in children:
        child.suspend()
    try:
        yield
    finally:
        for process in (*children, postmaster):
            with suppress(psutil.NoSuchProcess):
                process.resume()


def _parent() -> str:
    """In memory if there is room: a disk takes half of the processor time of a test that needs a database."""
    with suppress(FileNotFoundError):
        if shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
            return _MEMORY
    return "/tmp"


def _start(data: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    binaries, account, here = installed_binaries(), {}, str(data)
    if os.geteuid() == 0:
        owner = data.stat()
        binaries = binaries_for(owner.st_uid, owner.st_gid)
        account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        if sys.platform == "linux":
            here = "/proc/self/cwd"  # root's folder is closed to the account, which already stands in its data
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    return subprocess.Popen(
        [binaries / "postgres", "-D", here, "-k", ".", *settings],
        cwd=data,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl+C does not end it before the tests
        **account,
    )


def _answers(data: Path) -> bool:
    with suppress(psycopg2.OperationalError):
        psycopg2.connect(host=str(data), port=PORT, user=ROLE, dbname="postgres").close()
        return True
    return False
