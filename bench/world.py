"""What the figures run in: the sandbox warehouse, a sink for a catalog and a BLADE server, each a process of its own.

The processes end with whoever started them, also if that was killed: each ends with its standard input.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import rows as bench_rows
import signed_in
from sqlalchemy import create_engine

from blade.v1.job_pb2 import Job
from blade.v1.source_pb2 import Source
from blade_client import BladeClient
from blade_server.storage.embedded.postgres import EmbeddedPostgres

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("BENCH_PEERS", HERE.parent / ".build/bench-venv/bin/python"))
TOKEN = "bench-token"
HTTP_PATH = "/sql/1.0/warehouses/bench"
START_S = 120.0

_STEERING = ("BLADE_", "DATABRICKS_", "DATABASE_")


class Process:
    """A Python process that prints where it listens."""

    def __init__(self, arguments: Sequence[str], ready: str, log: Path, settings: Mapping[str, str] | None = None):
        own = {name: value for name, value in os.environ.items() if not name.startswith(_STEERING)}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**own, "PYTHONUNBUFFERED": "1", **(settings or {})},
            )
        self.pid = self._process.pid
        deadline_s = time.monotonic() + START_S
        while (found := re.search(ready, log.read_text())) is None:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"{arguments} does not serve:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        self.found = found[1]

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def memory_mb(self, what: str = "VmRSS") -> float:
        """Memory of the process; VmHWM: the most it ever had. Linux only."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")

    def forget_peak(self) -> None:
        """VmHWM counts from here."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu_s(self) -> float:
        """Processor time used so far, user and system. Linux only."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ran:
    """One finished job."""

    job_id: str
    items: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.items / self.seconds


class World:
    """Tables of the given numbers of rows in a warehouse; sinks and servers as they are asked for."""

    def __init__(self, folder: Path, stack: ExitStack, tables: Sequence[int]) -> None:
        self.folder = folder
        self._stack = stack
        self._count = 0
        self._postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        options = [
            f"--table={bench_rows.table_name(rows)}={bench_rows.write(rows, folder / f'{rows}.parquet')}"
            for rows in tables
        ]
        leash = ["-P", "-m", "blade_sandbox.leash", "sandbox", "warehouse", "--port=0"]
        self.warehouse = self._start(
            [*leash, "--warehouse-id=bench", f"--token={TOKEN}", *options], r"(http://127.0.0.1:\d+)"
        )

    def _start(self, arguments: Sequence[str], ready: str, settings: Mapping[str, str] | None = None) -> Process:
        self._count += 1
        process = Process(arguments, ready, self.folder / f"{self._count}.log", settings)
        self._stack.callback(process.stop)
        return process

    def program(self, file: str, ready: str, *arguments: str) -> Process:
        """Another Python program."""
        return self._start([file, *arguments], ready)

    def sink(self, *options: str) -> Process:
        """A catalog that counts; `found` is its URL."""
        return self._start([str(HERE / "sink.py"), *options], r"(http://127.0.0.1:\d+)")

    def server(
        self,
        sink: Process | None = None,
        *,
        program: Sequence[str] = ("-P", "-m", "blade_sandbox.leash"),
        options: Sequence[str] = (),
        **settings: str,
    ) -> Server:
        """A BLADE server that uploads to this sink, on a database of its own."""
        url = self.database()
        token_file = self.folder / "admin-token"
        token_file.write_text(signed_in.TOKEN)
        environment = {
            "DATABRICKS_SERVER_HOSTNAME": self.warehouse.found,
            "DATABRICKS_HTTP_PATH": HTTP_PATH,
            "DATABRICKS_TOKEN": TOKEN,
            "BLADE_CATALOG_URL": sink.found if sink else "",
            "DATABASE_URL": url,
            "BLADE_PORT": "0",
            "BLADE_HTTP_PORT": "0",
            "BLADE_LOG_LEVEL": "warning",
            "BLADE_ADMIN_TOKEN_FILE": str(token_file),
            **settings,
        }
        process = self._start([*program, "serve", "--json", *options], r'"port": (\d+)', environment)
        client = BladeClient(f"127.0.0.1:{process.found}", token=signed_in.TOKEN)
        self._stack.callback(client.close)
        return Server(process, client, url)

    def database(self) -> str:
        """URL of a new database."""
        self._count += 1
        name = f"bench_{self._count}"
        with create_engine(self._postgres.url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return self._postgres.url.replace("/postgres?", f"/{name}?", 1).replace("postgresql+psycopg2", "postgresql")


class Server:
    """A BLADE server and a client of it."""

    def __init__(self, process: Process, client: BladeClient, database_url: str) -> None:
        self.process = process
        self.database_url = database_url
        self.client = client
        self.target = f"127.0.0.1:{process.found}"
        self._sources: set[int] = set()

    def add_source(self, rows: int) -> None:
        """A source over the table of so many rows; once."""
        if rows not in self._sources:
            source = Source(name=bench_rows.data_type(rows), data_type=bench_rows.data_type(rows))
            source.config.catalog, source.config.schema, source.config.table = bench_rows.table_name(rows).split(".")
            self.client.add_source(source)
            self._sources.add(rows)

    def start(self, rows: int, **job: object) -> str:
        """Starts a job over the table of so many rows; returns its id."""
        self.add_source(rows)
        return self.client.start_query_job(source=bench_rows.data_type(rows), **job).job_id  # type: ignore[arg-type]

    def wait(self, job_id: str) -> Ran:
        """The job once it has completed, timed from its creation."""
        job = self.client.wait(job_id)
        if job.status != Job.COMPLETED or job.error_count:
            raise RuntimeError(f"the job did not go through: {job}")
        seconds = (job.end_time.ToNanoseconds() - job.create_time.ToNanoseconds()) / 1e9
        return Ran(job_id, job.success_count, seconds)

    def run(self, rows: int, **job: object) -> Ran:
        return self.wait(self.start(rows, **job))


@contextmanager
def world(*tables: int) -> Iterator[World]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blade-bench-")))
        yield World(folder, stack, tables)


def counted(sink: Process) -> int:
    """Items the sink took so far."""
    return int(requests.get(f"{sink.found}/count", timeout=10).text)
