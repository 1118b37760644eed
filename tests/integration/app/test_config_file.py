"""`blade serve` with a configuration file: a server and its job processes have what the file said at the start."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest
from tests.support.servers import TIMEOUT_S, Served, run


@pytest.mark.slow
def test_a_server_has_the_settings_of_its_file_and_so_have_job_processes_later(
    postgres_url: str, tmp_path: Path
) -> None:
    (tmp_path / "database-url").write_text(postgres_url)
    file = tmp_path / "blade.toml"
    lines = [
        f"database_url_file = '{tmp_path / 'database-url'}'",
        "workers = 1",
        f"ready_file = '{tmp_path / 'ready'}'",
    ]
    file.write_text("\n".join([*lines, "catalog_url = 'http://catalog.test'", "catalog_token = 's3cret'"]))
    file.chmod(0o600)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(TIMEOUT_S)
        server = Served("--json", own_group=True, BLADE_CONFIG=str(file), NOTIFY_SOCKET=str(tmp_path / "notify"))
        try:
            said = server.said()
            assert systemd.recv(100) == b"READY=1"
            assert (said["catalog"], said["database"] != "embedded") == ("http://catalog.test", True)
            assert run("health", BLADE_CONFIG=str(file)) == (0, "SERVING")

            file.write_text("this is no TOML")
            [worker] = said["workers"]
            os.kill(worker, signal.SIGKILL)
            assert server.process.stderr is not None
            how = (re.search(r"is up again|before it was ready", line) for line in server.process.stderr)
            assert next(filter(None, how))[0] == "is up again"

            status, errors = server.stop()
            assert status == 0
            assert "s3cret" not in errors
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.communicate(timeout=TIMEOUT_S)
