"""Runs of a sync beside a plain job: a first run, one in which nothing changed, one with a thousand changes.

    python bench/bench_sync.py [--rows 200000] [--known 0]

`--known`: so many items more are known to the sync that the incremental run is measured on (10,000,000 takes minutes to
prepare). Prints rates, the time of the fold, bytes of the state on disk, and what a run of changes has written.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import text
from world import HERE, HTTP_PATH, TOKEN, Process

from blade_sandbox.check import warehouse_rows
from blade_server.app.policies import engine_policy, job_policy, source_policy
from blade_server.catalog import Catalog
from blade_server.core.audit.recorder import Recorder
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.engine.run import EngineTools
from blade_server.core.engine.runner import Runner
from blade_server.core.engine.sync.blocks import FIRST, Columns, Keys
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.jobs.start import StartJob
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.sync_jobs import Asked
from blade_server.core.syncs.syncs import Syncs
from blade_server.model import Classification, Job, JobKind, RowMapping, Source, SourceConfig
from blade_server.model.access import EVERYTHING_GRANTS, Caller, Kind, Principal, Role
from blade_server.model.sync import Cursor, Deletes, SyncSpec
from blade_server.model.sync_report import SyncMode
from blade_server.settings import Settings
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.embedded.postgres import EmbeddedPostgres
from blade_server.storage.engine.stores import Stores
from blade_server.storage.jobs.show import JobStore
from blade_server.storage.migrate import migrate
from blade_server.storage.sources import SourceStore
from blade_server.storage.sync.folds import FoldSlice, Unfolded

BY = Caller(principal=Principal(name="bench", kind=Kind.OFF, grants=EVERYTHING_GRANTS), needs=Role.ADMIN)
TABLE = "main.bench.items"
START = datetime(2024, 1, 1, tzinfo=UTC)


def table(rows: int) -> pa.Table:
    """As many rows of ten columns."""
    numbers = np.arange(rows)
    return pa.table(
        {
            "item_id": pa.array([f"ITEM-{number:09}" for number in range(rows)]),
            "tail_number": pa.array([f"AF-{number % 997:04}" for number in range(rows)]),
            "priority": pa.array(["HIGH" if number % 3 else "LOW" for number in range(rows)]),
            "remark": pa.array([f"inspected and found in order, see sheet {number}" for number in range(rows)]),
            "number": pa.array(numbers),
            "hours": pa.array(numbers / 8),
            "station": pa.array([f"ST{number % 60}" for number in range(rows)]),
            "kind": pa.array(numbers % 7),
            "classification": pa.array(["UNCLASS"] * rows),
            "last_modified": pa.array([START + timedelta(seconds=int(n)) for n in numbers], pa.timestamp("us", "UTC")),
        }
    )


class Bench:
    """Everything in one process, but for PostgreSQL and the sandbox."""

    def __init__(self, folder: Path, rows: int, url: str) -> None:
        pq.write_table(table(rows), folder / "rows.parquet")
        leash = ["-P", "-m", "blade_sandbox.leash", "sandbox", "warehouse", "--port=0", f"--token={TOKEN}"]
        options = ["--warehouse-id=bench", f"--table={TABLE}={folder / 'rows.parquet'}"]
        self.warehouse = Process([*leash, *options], r"(http://127.0.0.1:\d+)", folder / "warehouse.log")
        self.sink = Process([str(HERE / "sink.py")], r"(http://127.0.0.1:\d+)", folder / "sink.log")
        settings = Settings(
            DATABRICKS_SERVER_HOSTNAME=self.warehouse.found,
            DATABRICKS_HTTP_PATH=HTTP_PATH,
            DATABRICKS_TOKEN=TOKEN,
            catalog_url=self.sink.found,
        )
        migrate(url)
        self.database = Database(url)
        self.store = JobStore(self.database)
        recorder = Recorder(AuditStore(self.database))
        self.sources = Sources(source_policy(settings), SourceStore(self.database), recorder)
        policy = job_policy(settings)
        self.client = Catalog(settings.catalog_url)
        self.stores = Stores.over(self.database, Database(url, pool_size=4))
        catalogs = Catalogs(self.client)
        self.runner = Runner(EngineTools.of(engine_policy(settings), self.stores, catalogs))
        self.jobs = Jobs.over(policy, self.database, self.store, self.sources, recorder=recorder, wake=self.runner.wake)
        self.syncs = Syncs.over(
            policy, self.database, self.jobs.show, self.sources, catalogs, recorder=recorder, wake=self.runner.wake
        )
        self.runner.start()

    def add(self, data_type: str) -> None:
        """A source of its own over the table, so that items of several measurements are apart."""
        config = SourceConfig(catalog="main", schema="bench", table="items")
        mapping = RowMapping(item_id="item_id", classification=Classification(column="classification"))
        source = Source(
            name=data_type, display_name="", data_type=data_type, enabled=True, config=config, mapping=mapping
        )
        self.sources.add(source, by=BY)

    def ended(self, job: Job) -> tuple[Job, float]:
        """The job once it is final, and how long it took."""
        began = time.monotonic()
        while not (shown := self.store.get(job.job_id, history=False)).status.final:
            time.sleep(0.01)
        took_s = time.monotonic() - began
        assert shown.status == "COMPLETED", shown.error_message
        return shown, took_s

    def run(self, sync: str, **told: object) -> tuple[Job, float, float]:
        """One run: the job, its seconds, and those of the fold after it."""
        shown, took_s = self.ended(self.syncs.jobs.start(sync, JobKind.SYNC, Asked(by=BY), **told))
        began = time.monotonic()
        while self.stores.syncs.folds.unfolded(sync):
            time.sleep(0.005)
        return shown, took_s, time.monotonic() - began

    def written(self) -> int:
        """Bytes of the write-ahead log so far."""
        with self.database.begin() as connection:
            return int(connection.execute(text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")).scalar_one())

    def on_disk(self, of: str) -> int:
        """Bytes of a table with what belongs to it."""
        with self.database.begin() as connection:
            return int(connection.execute(text("SELECT pg_total_relation_size(:of)"), {"of": of}).scalar_one())


def know(bench: Bench, sync: str, items: int) -> None:
    """Makes the sync know so many items more, which no row is of."""
    keys = b"".join(blake2b(number.to_bytes(8, "big"), digest_size=16).digest() for number in range(items))
    more = Columns(
        keys=Keys.of(keys),
        contents=np.arange(items, dtype=np.uint64),
        runs=np.ones(items, np.uint32),
        marks=np.zeros(items, np.uint8),
        ids=pa.array([f"OLD-{number:09}" for number in range(items)]),
    )
    with bench.database.begin() as connection:
        stored = FoldSlice(connection, Unfolded(sync=sync, job_id="", run_number=1))
        old = Columns.joined([Columns.of(block) for block in stored.blocks(stored.lows(FIRST, b"\xff" * 16))])
    both = Columns.joined([old, more])
    both = both.take(np.lexsort((both.keys.tails, both.keys.heads)))
    blocks = both.split(FIRST)
    with bench.database.begin() as connection:
        stored = FoldSlice(connection, Unfolded(sync=sync, job_id="", run_number=1))
        for at in range(0, len(blocks), 500):
            stored.put(blocks[at : at + 500])
        stored.count(items, 0)
    with bench.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE sync_block")
        connection.exec_driver_sql("CHECKPOINT")


class Meter:
    """Time, and processor time of everything but PostgreSQL: a busy machine makes the first of them worth little."""

    def __init__(self, bench: Bench, rows: int) -> None:
        self._bench, self._rows = bench, rows
        self._began, self._engine_s, self._others_s = time.monotonic(), time.process_time(), self._others()
        self.took_s = self.cpu_us = 0.0

    def _others(self) -> float:
        return self._bench.warehouse.cpu_s() + self._bench.sink.cpu_s()

    def read(self, name: str, more: str = "") -> None:
        """Prints what was measured since it was made."""
        self.took_s = time.monotonic() - self._began
        engine = (time.process_time() - self._engine_s) / self._rows * 1e6
        others = (self._others() - self._others_s) / self._rows * 1e6
        self.cpu_us = engine + others
        rate = self._rows / self.took_s
        print(
            f"{name:16} {rate:>9,.0f} rows/s, {engine:5.1f} us of the engine, {others:4.1f} around it; {more}",
            flush=True,
        )


def compare(words: str, one: Meter, other: Meter) -> None:
    """Prints how one is to the other."""
    print(
        f"{words}: {one.took_s / other.took_s:.2f} x the time, {one.cpu_us / other.cpu_us:.2f} x the processor",
        flush=True,
    )


def measure(bench: Bench, rows: int, known: int) -> None:
    """Prints the figures."""
    for data_type in ("plain", "first", "cursor"):
        bench.add(data_type)
    plain = Meter(bench, rows)
    bench.ended(bench.jobs.start(StartJob(source="plain", batch_size=500), by=BY))
    plain.read("plain job")
    bench.syncs.create("first", SyncSpec(source="first", batch_size=500), by=BY)
    first = Meter(bench, rows)
    _, _, fold_s = bench.run("first")
    first.read("first run", f"fold {fold_s:.2f} s of it")
    print(f"state            {bench.on_disk('sync_block') / rows:>9,.1f} bytes an item with its id")
    again = Meter(bench, rows)
    bench.run("first")
    again.read("nothing changed")
    compare("first run beside the plain job", first, plain)
    compare("plain job beside nothing changed", plain, again)
    spec = SyncSpec(
        source="cursor",
        batch_size=500,
        mode=SyncMode.INCREMENTAL,
        deletes=Deletes.KEEP,
        cursor=Cursor(column="last_modified"),
    )
    bench.syncs.create("cursor", spec, by=BY)
    bench.run("cursor")
    if known:
        know(bench, "cursor", known)
    changes = f"UPDATE {TABLE} SET priority = 'X', last_modified = TIMESTAMP '2024-06-01' WHERE number < 1000"
    for _ in warehouse_rows(bench.warehouse.found, HTTP_PATH, TOKEN, changes):
        pass
    before = bench.written()
    job, took_s, fold_s = bench.run("cursor")
    written = (bench.written() - before) / 1e6
    print(f"1,000 changes    {took_s:.2f} s + fold {fold_s:.2f} s, {written:.1f} MB written, {job.report.counts}")


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--known", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as postgres:
        bench = Bench(Path(folder), arguments.rows, postgres.url)
        try:
            measure(bench, arguments.rows, arguments.known)
        finally:
            bench.runner.stop(5)
            bench.warehouse.stop()
            bench.sink.stop()


if __name__ == "__main__":
    main()
