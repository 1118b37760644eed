"""What the releases meet on: an empty database, a table in a warehouse, and a catalog that keeps every copy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import requests
import sqlalchemy
from sqlalchemy.pool import NullPool
from tests.support.engine import TABLE, maintenance_rows
from tests.support.servers import environment
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import Job
from blade.v1.source_pb2 import Source, SourceConfig
from blade_client import BladeClient
from blade_sandbox.catalog import CatalogServer
from blade_sandbox.warehouse import Warehouse

ROWS = 3000
SOURCE = "blade-maintenance"
HERE = Path(sys.executable)
"""Python of this tree."""
LEASE_S = 2.0
TIMEOUT_S = 60.0


class Replica:
    """A server process of some release that has said it is ready."""

    def __init__(self, python: Path, log: Path, variables: dict[str, str]) -> None:
        self._log = log
        with log.open("wb") as output:
            command = [str(python), "-m", "blade_server", "serve", "--json"]
            self.process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=output, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, log.read_text(errors="replace")[-3000:]
        self.client = BladeClient(f"127.0.0.1:{json.loads(line)['port']}", profile="")
        self.pid = self.process.pid

    def kill(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Gracefully; harmless if it has ended."""
        self.client.close()
        self.process.terminate()
        assert self.process.wait(TIMEOUT_S) is not None
        assert self.process.stdout is not None
        self.process.stdout.close()

    def said(self) -> str:
        """What is in its log."""
        return self._log.read_text(errors="replace")


class UpgradeWorld:
    """The parts, serving, and the servers of a test."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self._folder = folder
        pq.write_table(pa.table(maintenance_rows(ROWS)), folder / "rows.parquet")
        self.warehouse = Warehouse(tables={TABLE: folder / "rows.parquet"})
        self.warehouse.start()
        self.catalog = CatalogServer(directory=folder / "catalog", replace=False, idempotency_keys=0)
        self.catalog.start()
        self._replicas: list[Replica] = []
        self._disk = folder / "disk"
        self._engine = sqlalchemy.create_engine(url, poolclass=NullPool)

    def close(self) -> None:
        for replica in self._replicas:
            replica.stop()
        self.catalog.stop()
        self.warehouse.stop()
        self._engine.dispose()

    def use(self, url: str) -> None:
        """Servers that start from now on are on another database, and on a disk that has not seen this one."""
        self._disk = self._folder / "another-disk"
        self._engine.dispose()
        self.url = url
        self._engine = sqlalchemy.create_engine(url, poolclass=NullPool)

    def variables(self, **settings: object) -> dict[str, str]:
        """The environment of a server; settings are named as in settings.py."""
        return environment(
            DATABASE_URL=self.url,
            XDG_DATA_HOME=str(self._disk),
            DATABRICKS_SERVER_HOSTNAME=self.warehouse.url,
            DATABRICKS_HTTP_PATH=self.warehouse.http_path,
            DATABRICKS_TOKEN=self.warehouse.token,
            BLADE_CATALOG_URL=self.catalog.url,
            BLADE_CATALOG_TIMEOUT_S="3",
            BLADE_CATALOG_SETTLE_S="2",
            BLADE_LEASE_S=str(LEASE_S),
            BLADE_LEASE_BEAT_S="0.4",
            BLADE_RETRY_BASE_S="0.05",
            BLADE_UPLOAD_WORKERS="4",
            BLADE_DATABASE_POOL_SIZE="8",
            **{f"BLADE_{name.upper()}": str(value) for name, value in settings.items()},
        )

    def serve(self, python: Path = HERE, **settings: object) -> Replica:
        """A server of the release of this Python."""
        log = self._folder / f"server-{len(self._replicas)}.log"
        replica = Replica(python, log, self.variables(**settings))
        self._replicas.append(replica)
        return replica

    def ask(self, query: str, **values: object) -> list[Any]:
        """Rows of the database."""
        with self._engine.begin() as connection:
            return list(connection.execute(sqlalchemy.text(query), values).all())

    def revision(self) -> str:
        """Of the tables."""
        return str(self.ask("SELECT version_num FROM alembic_version")[0][0])

    def add_source(self, replica: Replica, name: str = SOURCE, data_type: str = "maintenance") -> None:
        """Over all rows, whose items are told apart by the data type."""
        config = SourceConfig(catalog="main", schema="blade", table="blade_maintenance_data")
        replica.client.add_source(Source(name=name, data_type=data_type, config=config))

    def epoch(self, job: Job) -> int:
        """How often it was claimed."""
        return int(self.ask("SELECT epoch FROM job WHERE job_id = :id", id=job.job_id)[0][0])

    def until(self, replica: Replica, job: Job, holds: Callable[[Job], object]) -> Job:
        """The job once it is so, as this server shows it."""
        latest = [job]

        def is_so() -> bool:
            latest[0] = replica.client.get_job(job.job_id)
            return bool(holds(latest[0]))

        wait_until(is_so, TIMEOUT_S, lambda: str(latest[0]))
        return latest[0]

    def moving(self, replica: Replica, job: Job) -> Job:
        """Once some of its items are in the catalog."""
        return self.until(replica, job, lambda now: now.success_count > 0)

    def kill_unanswered(self, replica: Replica, job: Job) -> None:
        """Kills the server that runs the job when items are in the catalog of which it does not know."""
        self.catalog.set_faults(drop_reply={"only": "upload"}, status={"code": 500, "only": "lookup"})
        recorded = "SELECT success_count FROM job WHERE job_id = :id"
        wait_until(lambda: self.ask(recorded, id=job.job_id)[0][0] < len(self.held(job.spec.data_type)), TIMEOUT_S)
        replica.kill()
        self.catalog.clear_faults()

    def completed(self, replica: Replica, job: Job) -> Job:
        """Once it has ended; every row of the table is in the catalog once."""
        done = self.until(replica, job, lambda now: now.status in (Job.COMPLETED, Job.FAILED, Job.CANCELLED))
        assert done.status == Job.COMPLETED, done
        assert (done.success_count, done.error_count, done.total_items) == (ROWS, 0, ROWS), done
        return done

    def held(self, data_type: str = "maintenance") -> dict[str, int]:
        """Copies in the catalog, by item id."""
        copies: dict[str, int] = {}
        query: dict[str, Any] = {"dataSource": f"BLADE:{data_type}", "limit": 1000}
        while True:
            page = requests.get(f"{self.catalog.url}/v1/items", params=query, timeout=TIMEOUT_S).json()
            copies.update({item["itemId"]: item["copies"] for item in page["items"]})
            if "next" not in page:
                return copies
            query["after"] = page["next"]

    def check_all_once(self, *data_types: str) -> None:
        """Nothing is lost, nothing is doubled."""
        for data_type in data_types:
            assert self.held(data_type) == {f"MAINT-{number}": 1 for number in range(ROWS)}, data_type
