"""`blade serve --workers` as processes: who listens, who is started again, who ends with whom. Jobs: tests/faults."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.support.databases import of_a_newer_release
from tests.support.metrics import UNREADABLE_ENDED, Scrape, store_unreadable_job
from tests.support.servers import TIMEOUT_S, Served, run
from tests.support.waiting import wait_until

IDLE = {
    "name": "db_client_connection_count",
    "db_client_connection_pool_name": "urgent",
    "db_client_connection_state": "idle",
}
"""The connections of workers for their leases."""

_FAILING = """
import os, sys
if "worker" in sys.orig_argv and os.path.exists({flag!r}):
    os._exit(3)
"""


class WorkersServer(Served):
    """A server with workers, in a process group of its own like one that was started from a terminal."""

    def __init__(self, *arguments: str, workers: int, **changes: str | None) -> None:
        super().__init__("--json", f"--workers={workers}", *arguments, own_group=True, **changes)

    @property
    def workers(self) -> list[int]:
        """Process ids."""
        found: list[int] = self.said()["workers"]
        return found

    @property
    def started(self) -> list[int]:
        """Process ids of its first workers; none if it did not get ready."""
        return self.workers if self.line else []

    def hear(self, pattern: str) -> re.Match[str]:
        """Reads on in the log until a line matches."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"the log ended without {pattern!r}")

    def rest(self) -> str:
        """The rest of the log, once the server and every worker have ended: each holds the other end of this pipe."""
        return self.process.communicate(timeout=TIMEOUT_S)[1]


@pytest.fixture
def serve(postgres_url: str) -> Iterator[Callable[..., WorkersServer]]:
    """`serve(*arguments, **settings)`: with one worker, as each costs the imports of a server; or with `workers`."""
    servers: list[WorkersServer] = []

    def start(*arguments: str, workers: int = 1, **changes: str | None) -> WorkersServer:
        database = {} if "BLADE_DATA_DIR" in changes else {"DATABASE_URL": postgres_url}
        servers.append(WorkersServer(*arguments, workers=workers, **database, **changes))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        for worker in server.started:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        server.process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who listens")
def test_the_ready_line_tells_the_workers_and_they_listen_nowhere(serve: Callable[..., WorkersServer]) -> None:
    server = serve(workers=2, BLADE_DATABASE_POOL_SIZE="200", BLADE_MAX_RUNNING_JOBS="1")

    assert len(set(server.workers)) == 2
    assert server.process.pid not in server.workers
    assert _listens(server.process.pid)
    assert not any(map(_listens, server.workers))
    # More connections than PostgreSQL takes are said at the start.
    # 200, two that listen, two that look; a worker: three for its job, two for its lease, a listener
    server.hear(r"may want 216 connections to PostgreSQL, which takes 200: lower BLADE_WORKERS")


def _listens(pid: int) -> bool:
    sockets = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()]
    listening = {f"socket:[{columns[9]}]" for columns in sockets if columns[3] == "0A"}
    return any(_target(link) in listening for link in Path(f"/proc/{pid}/fd").iterdir())


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""


def test_a_killed_worker_is_started_again_the_log_says_so_and_its_counts_stay(
    serve: Callable[..., WorkersServer], postgres_url: str
) -> None:
    server = serve(BLADE_ADMIN_PORT=None)
    [first] = server.workers
    store_unreadable_job(postgres_url, "job-1")
    wait_until(lambda: Scrape(server.said())(**UNREADABLE_ENDED) == 1)
    before = Scrape(server.said())
    assert before("blade_worker_processes") == 1
    assert before(**IDLE)

    os.kill(first, signal.SIGKILL)

    server.hear(rf"worker 1 \(process {first}\) was ended by SIGKILL; .* started again in 0.5 s")
    between = Scrape(server.said())
    assert between(**UNREADABLE_ENDED) == 1
    assert (between("blade_worker_processes"), between(**IDLE)) == (0, 0)
    store_unreadable_job(postgres_url, "job-2")
    successor = int(server.hear(r"worker 1 \(process (\d+)\) is up again")[1])
    assert successor != first
    wait_until(lambda: Scrape(server.said())(**UNREADABLE_ENDED) == 2)
    assert server.stop()[0] == 0


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_tried_again_less_and_less_often(
    serve: Callable[..., WorkersServer], tmp_path: Path
) -> None:
    flag = tmp_path / "fail"
    (tmp_path / "sitecustomize.py").write_text(_FAILING.format(flag=str(flag)))
    server = serve(PYTHONPATH=str(tmp_path))
    flag.touch()

    os.kill(server.workers[0], signal.SIGKILL)

    server.hear(r"worker 1 .* was ended by SIGKILL; .* again in 0.5 s")
    server.hear(r"worker 1 .* ended with 3 before it was ready; .* again in 1 s")
    server.hear(r"worker 1 .* ended with 3 before it was ready; .* again in 2 s")
    flag.unlink()
    server.hear(r"worker 1 .* is up again")
    assert server.stop()[0] == 0


def test_a_worker_that_does_not_come_up_at_the_start_is_one_sentence_and_exit_code_1(
    serve: Callable[..., WorkersServer], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_FAILING.format(flag=str(tmp_path)))

    server = serve(PYTHONPATH=str(tmp_path))

    assert server.line == ""
    assert re.search(r"^blade: worker \d \(process \d+\) ended with 3 before it was ready\n\Z", server.rest(), re.M)
    assert server.process.returncode == 1


@pytest.mark.slow
def test_a_server_whose_workers_may_not_run_on_newer_tables_stops_and_says_why(
    serve: Callable[..., WorkersServer], postgres_url: str
) -> None:
    server = serve()
    of_a_newer_release(postgres_url, readable_from="99.1.0")

    os.kill(server.workers[0], signal.SIGKILL)

    server.hear("worker 1: .*|^blade: the tables in PostgreSQL are of a newer release, beside which 99.1.0 and later")
    assert "blade: worker 1 may not run on the tables of a newer release, nor may this server" in server.rest()
    assert server.process.returncode == 1


@pytest.mark.slow
def test_workers_that_may_run_on_newer_tables_are_started_again(
    serve: Callable[..., WorkersServer], postgres_url: str
) -> None:
    server = serve()
    of_a_newer_release(postgres_url, readable_from=version("blade"))
    os.kill(server.workers[0], signal.SIGKILL)
    server.hear("worker 1 .* is up again")
    assert server.stop()[0] == 0


def test_the_workers_end_with_a_killed_server_and_the_embedded_postgres_with_them(
    serve: Callable[..., WorkersServer], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    server = serve(workers=2, BLADE_DATA_DIR=str(tmp_path))
    assert (tmp_path / "pgdata" / "postmaster.pid").exists()

    server.process.kill()

    log = server.rest()
    assert all(f"worker {number}: blade_server: stopped" in log for number in (1, 2))
    assert "PostgreSQL" not in log
    wait_until(lambda: not (tmp_path / "pgdata" / "postmaster.pid").exists(), timeout_s=30)


def _to_the_server(server: WorkersServer) -> None:
    server.process.terminate()


def _ctrl_c(server: WorkersServer) -> None:
    os.killpg(server.process.pid, signal.SIGINT)


def _to_each_process(server: WorkersServer) -> None:
    """As systemd does by default."""
    for pid in (server.process.pid, *server.workers):
        os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("stop", [_to_the_server, _ctrl_c, _to_each_process])
def test_all_stop_gracefully_however_they_are_told(
    serve: Callable[..., WorkersServer], stop: Callable[[Any], None]
) -> None:
    server = serve()

    stop(server)

    log = server.rest()
    assert server.process.returncode == 0
    assert "worker 1: blade_server: stopped" in log
    assert "up again" not in log
    assert "Traceback" not in log


def test_nobody_works_for_a_server_that_cannot_listen(serve: Callable[..., WorkersServer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        server = serve("--port", str(port))

        log = server.rest()
    assert f"\nblade: cannot listen on 127.0.0.1:{port}: Address already in use by " in log
    assert server.process.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "changes", "says"),
    [
        (["--workers", "-1"], {}, "Error: Invalid value for '--workers': -1 is not in the range 0<=x<=64."),
        (["--workers", "two"], {}, "Error: Invalid value for '--workers': 'two' is not a valid integer range."),
        ([], {"BLADE_WORKERS": "two"}, "blade: BLADE_WORKERS is 'two': input should be a valid integer"),
        ([], {"BLADE_WORKERS": "65"}, "blade: BLADE_WORKERS is '65': input should be less than or equal to 64"),
        (["--workers", "2"], {"BLADE_MAX_RUNNING_JOBS": "0"}, "blade: BLADE_WORKERS=2 starts processes that run jobs"),
    ],
)
def test_numbers_of_workers_that_cannot_be_right(arguments: list[str], changes: dict[str, str], says: str) -> None:
    status, sentence = run("serve", *arguments, **changes)

    assert status == 2
    assert sentence.startswith(says)
