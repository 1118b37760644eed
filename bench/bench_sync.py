"""Runs of a sync beside a job over a query: a first one, one over unchanged rows, one with few changes; many due.

    python bench/bench_sync.py [--rows 250000] [--known 1000000] [--due 1000]

`--known`: so many items more are known to the sync that the run with changes is measured on (10,000,000, which is what
FULL=1 takes, are minutes to prepare). `--due`: so many syncs are due at one time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import rows as bench_rows
from figure import FULL, QUICK, Figure, in_turn, peer
from sqlalchemy import text
from world import HERE, HTTP_PATH, PEERS, TOKEN, Process

from blade_sandbox.check import warehouse_rows
from blade_server.app.policies import engine_policy, job_policy, source_policy
from blade_server.app.process import freeze
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
from blade_server.model.sync import Cursor, Deletes, Schedule, SyncSpec
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
ROUNDS = 1 if QUICK else 5


class Bench:
    """Everything in one process, but for PostgreSQL and the sandbox."""

    def __init__(self, folder: Path, rows: int, url: str) -> None:
        self._folder, self._url = folder, url
        bench_rows.write(rows, folder / "rows.parquet")
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
        self._asking = self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
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
        freeze()  # as a server does

    def add(self, data_type: str) -> None:
        """A source of its own over the table, so that items of several measurements are apart."""
        config = SourceConfig(catalog="main", schema="bench", table="items")
        mapping = RowMapping(item_id="item_id", classification=Classification(column="classification"))
        source = Source(
            name=data_type, display_name="", data_type=data_type, enabled=True, config=config, mapping=mapping
        )
        self.sources.add(source, by=BY)

    def ended(self, job: Job) -> Job:
        """The job once it is final; asked seldom, since asking takes processor time of the engine's process."""
        while not self._is_final(job.job_id):
            time.sleep(0.05)
        shown = self.store.get(job.job_id, history=False)
        assert shown.status == "COMPLETED", shown.error_message
        return shown

    def _is_final(self, job_id: str) -> bool:
        final = text("SELECT end_time IS NOT NULL FROM job WHERE job_id = :job_id")
        return bool(self._asking.execute(final, {"job_id": job_id}).scalar_one())

    def run(self, sync: str, **told: object) -> Job:
        """One run, to the end of the fold after it."""
        shown = self.ended(self.syncs.jobs.start(sync, JobKind.SYNC, Asked(by=BY), **told))
        while self.stores.syncs.folds.unfolded(sync):
            time.sleep(0.02)
        return shown

    def replica(self) -> Process:
        """A server on the same database that runs no jobs."""
        environment = {
            "DATABRICKS_SERVER_HOSTNAME": self.warehouse.found,
            "DATABRICKS_HTTP_PATH": HTTP_PATH,
            "DATABRICKS_TOKEN": TOKEN,
            "BLADE_CATALOG_URL": self.sink.found,
            "DATABASE_URL": self._url,
            "BLADE_AUTH": "off",
            "BLADE_PORT": "0",
            "BLADE_HTTP_PORT": "0",
            "BLADE_LOG_LEVEL": "warning",
            "BLADE_MAX_RUNNING_JOBS": "0",
            "BLADE_MAX_OPEN_JOBS": "100000",
        }
        log = self._folder / f"replica-{time.monotonic_ns()}.log"
        return Process(["-P", "-m", "blade_sandbox.leash", "serve", "--json"], r'"port": (\d+)', log, environment)

    def fires(self) -> int:
        """Due times that something became of."""
        with self.database.begin() as connection:
            return int(connection.execute(text("SELECT count(*) FROM sync_fire")).scalar_one())

    def close(self) -> None:
        """Stops all of it."""
        self.runner.stop(5)
        self.warehouse.stop()
        self.sink.stop()

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
    of = Unfolded(sync=sync, job_id="", run_number=1)
    with bench.database.begin() as connection:
        stored = FoldSlice(connection, of)
        old = Columns.joined([Columns.of(block) for block in stored.blocks(stored.lows(FIRST, b"\xff" * 16))])
    keys = b"".join(blake2b(number.to_bytes(8, "big"), digest_size=16).digest() for number in range(items))
    more = Columns(
        keys=Keys.of(keys),
        contents=np.arange(items, dtype=np.uint64),
        runs=np.ones(items, np.uint32),
        marks=np.zeros(items, np.uint8),
        ids=pa.array([f"OLD-{number:09}" for number in range(items)]),
    )
    both = Columns.joined([old, more])
    blocks = both.take(np.lexsort((both.keys.tails, both.keys.heads))).split(FIRST)
    for at in range(0, len(blocks), 100):  # a transaction that does nothing for seconds is ended by PostgreSQL
        with bench.database.begin() as connection:
            FoldSlice(connection, of).put(blocks[at : at + 100])
    with bench.database.begin() as connection:
        FoldSlice(connection, of).count(items, 0)
    with bench.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE sync_block")
        connection.exec_driver_sql("CHECKPOINT")


class Meter:
    """Rates, and processor time of everything but PostgreSQL: a busy machine makes the first of them worth little."""

    def __init__(self, bench: Bench, rows: int) -> None:
        self._bench, self._rows = bench, rows
        self._taken: dict[str, list[tuple[float, float]]] = {}

    def _others_s(self) -> float:
        return self._bench.warehouse.cpu_s() + self._bench.sink.cpu_s()

    def rate(self, name: str, work: Callable[[], object]) -> float:
        """Rows a second; what the engine's process and the others used is kept."""
        began_s, engine_s, others_s = time.monotonic(), time.process_time(), self._others_s()
        work()
        took_s = time.monotonic() - began_s
        used = (time.process_time() - engine_s, self._others_s() - others_s)
        self._taken.setdefault(name, []).append(used)
        return self._rows / took_s

    def us(self, name: str) -> tuple[float, float]:
        """Microseconds a row of the engine's process, and of the warehouse and the sink: medians."""
        engine, others = zip(*self._taken[name], strict=True)
        return statistics.median(engine) / self._rows * 1e6, statistics.median(others) / self._rows * 1e6


def runs(bench: Bench, rows: int, figure: Figure) -> None:
    """A plain job, a first run and one over unchanged rows, in turn."""
    meter, numbers = Meter(bench, rows), iter(range(1000))
    names: list[str] = []

    def plain() -> None:
        bench.ended(bench.jobs.start(StartJob(source="plain"), by=BY))

    def newest() -> None:
        bench.run(names[-1])

    def new_sync(name: str, mode: SyncMode) -> float:
        names.append(f"{mode.lower()}-{next(numbers)}")
        bench.add(names[-1])
        bench.syncs.create(names[-1], SyncSpec(source=names[-1], mode=mode), by=BY)
        return meter.rate(name, newest)

    bench.add("plain")
    plain()
    found = in_turn(
        ROUNDS,
        {
            "job": lambda: meter.rate("job", plain),
            "FULL": lambda: new_sync("FULL", SyncMode.FULL),
            "first run": lambda: new_sync("first run", SyncMode.CHANGED),
            "unchanged": lambda: meter.rate("unchanged", newest),
        },
    )
    for name, rate in found.items():
        engine, others = meter.us(name)
        figure.line(f"{name}, rows/s", f"{rate:,.0f}", f"{engine:.1f} + {others:.1f} us CPU/row")
    spent = {name: sum(meter.us(name)) for name in found}
    figure.ratio("nothing changed / FULL, rate", found["unchanged"] / found["FULL"], least=2.5)
    figure.ratio("nothing changed / job over a query, rate", found["unchanged"] / found["job"], least=2.5)
    figure.ratio("the same, by processor time", spent["job"] / spent["unchanged"], least=2.5)
    figure.ratio("FULL / first run of CHANGED, rate", found["FULL"] / found["first run"], most=1.15)
    figure.ratio("the same, by processor time", spent["first run"] / spent["FULL"], most=1.15)
    figure.ratio("job over a query / first run of CHANGED, rate", found["job"] / found["first run"])
    figure.ratio("the same, by processor time", spent["first run"] / spent["job"])
    if PEERS.exists():
        items, seconds, _ = map(float, peer("dlt_destination.py", bench, TABLE, bench.sink, 100, 8))
        figure.line("dlt, its second run as its first, rows/s", f"{items / seconds:,.0f}", f"{items:,.0f} items sent")
        figure.ratio("nothing changed / dlt, rate", found["unchanged"] * seconds / items)
    figure.line(
        "what is known, on disk", f"{bench.on_disk('sync_block') / rows / ROUNDS / 2:.1f} bytes an item with its id"
    )


def changes(bench: Bench, known: int, figure: Figure) -> None:
    """A run with a thousand changes of a sync that knows very many items."""
    bench.add("cursor")
    spec = SyncSpec(
        source="cursor", mode=SyncMode.INCREMENTAL, deletes=Deletes.KEEP, cursor=Cursor(column="last_modified")
    )
    bench.syncs.create("cursor", spec, by=BY)
    bench.run("cursor")
    know(bench, "cursor", known)
    update = f"UPDATE {TABLE} SET priority = 'X', last_modified = TIMESTAMP '2024-06-01' WHERE flight_hours < 142.8"
    for _ in warehouse_rows(bench.warehouse.found, HTTP_PATH, TOKEN, update):
        pass
    before, began_s = bench.written(), time.monotonic()
    job = bench.run("cursor")
    took_s, written = time.monotonic() - began_s, (bench.written() - before) / 1e6
    assert job.report is not None
    assert job.report.counts.updated == 1000, job.report
    name = f"1,000 changes of {known:,} known items"
    figure.line(f"{name}, to the end of the fold", f"{took_s:.2f} s", "<= 5 s", met=took_s <= 5)
    figure.line(f"{name}, written by PostgreSQL", f"{written:.1f} MB", "<= 64 MB", met=written <= 64)


def due_at_once(bench: Bench, syncs: int, figure: Figure) -> None:
    """Syncs that are due at one time, and two servers that look for them."""
    bench.add("due")
    spec = SyncSpec(source="due", schedule=Schedule(every_s=86_400.0), scope="0")
    bench.syncs.create("due-0", spec, by=BY)
    copies = (
        "INSERT INTO sync SELECT (jsonb_populate_record(sync, jsonb_build_object('name', 'due-' || i, 'scope', i, "
        "'request_id', NULL))).* FROM sync, generate_series(1, :last) AS i WHERE name = 'due-0'"
    )
    with bench.database.begin() as connection:
        connection.execute(text(copies), {"last": syncs - 1})
        connection.execute(text("UPDATE sync SET next_due = now() + interval '3 seconds' WHERE name LIKE 'due-%'"))
    with ExitStack() as stack:
        for _ in range(2):
            stack.callback(bench.replica().stop)
        while bench.fires() < syncs:
            time.sleep(0.05)
    with bench.database.begin() as connection:
        jobs = "SELECT count(*), count(DISTINCT sync) FROM job WHERE sync LIKE 'due-%'"
        late = "SELECT extract(epoch FROM max(time - due_time))::float8 FROM sync_fire WHERE outcome = 'STARTED'"
        assert connection.execute(text(jobs)).one() == (syncs, syncs), "not each became one job"
        late_s = float(connection.execute(text(late)).scalar_one())
    figure.line(
        f"{syncs:,} syncs due at once, two replicas: the last PENDING",
        f"{late_s:.1f} s late",
        "<= 5 s",
        met=late_s <= 5,
    )


def main() -> None:
    """Takes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000 if QUICK else 250_000)
    parser.add_argument("--known", type=int, default=10_000_000 if FULL else 1_000_000)
    parser.add_argument("--due", type=int, default=1000)
    arguments = parser.parse_args()
    figure = Figure(
        "Syncs",
        f"{arguments.rows:,} rows of ten columns from the sandbox warehouse to the sink, with BLADE's defaults. A job "
        "over a query sends all of them, a first run of a sync too, and its second run none, since nothing changed; "
        "each to the end of the fold. Processor time is the engine's process + warehouse and sink, without PostgreSQL.",
    )
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as postgres:
        bench = Bench(Path(folder), arguments.rows, postgres.url)
        try:
            runs(bench, arguments.rows, figure)
            changes(bench, arguments.known, figure)
            bench.runner.stop(5)
            due_at_once(bench, arguments.due, figure)
        finally:
            bench.close()
    figure.note(
        "dlt keeps no memory of what a destination over HTTP holds: each of its runs sends all rows. A run of a sync "
        "takes 120 ms of processor time, however few its rows; a row that is not sent costs the engine 4 to 5 us more, "
        "half of that for its JSON and the digest of it."
    )
    figure.save()


if __name__ == "__main__":
    main()
