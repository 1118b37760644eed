"""A real PgBouncer in front of a PostgreSQL, with its defaults but for the pool's mode."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
from tests.support.ports import free_port
from tests.support.programs import program
from tests.support.waiting import wait_until

from blade_server.storage.connect import parsed


@contextmanager
def pgbouncer(url: str, mode: str, *, users: Mapping[str, str] | None = None, **settings: object) -> Iterator[str]:
    """The URL of the same database through it. It runs as the owner of PostgreSQL's socket: never as root.

    `users`: whom it lets in, with their passwords.
    """
    executable = program("pgbouncer", "pgbouncer")
    there, port = parsed(url), free_port()
    owner = Path(there["host"]).stat()
    account, socket = {}, there["host"]
    if os.geteuid() == 0:
        account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        socket = "/proc/self/cwd"  # root's folder is closed to the account, which already stands in its data
    folder = Path(tempfile.mkdtemp(prefix="blade-pooler-"))
    users = users or {there["user"]: ""}
    (folder / "users.txt").write_text("".join(f'"{user}" "{password}"\n' for user, password in users.items()))
    chosen = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": folder / "users.txt",
        "pool_mode": mode,
        **settings,
    }
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={socket} port={there['port']}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in chosen.items())
    )
    for path in (folder, *folder.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
    with (folder / "log").open("wb") as log:
        command = [executable, folder / "pgbouncer.ini"]
        process = subprocess.Popen(command, cwd=there["host"], stdout=log, stderr=log, **account)
    through = f"postgresql://{there['user']}@127.0.0.1:{port}/{there['dbname']}"
    try:
        password = users[there["user"]]
        wait_until(lambda: _answers(through, password), 20, lambda: (folder / "log").read_text())
        yield through
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _answers(url: str, password: str) -> bool:
    with suppress(psycopg2.OperationalError):
        psycopg2.connect(url, password=password).close()
        return True
    return False
