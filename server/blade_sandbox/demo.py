"""`blade demo`: the main job on real flights, from an empty state to a catalog that was checked against the warehouse.

Everything it shows goes through the public client library, and each step says which command line does the same.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice

import click

# A server that stops says goodbye to its clients, and gRPC would print that. Read when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from rich.console import Console

from blade.v1.job_pb2 import Job
from blade.v1.source_pb2 import Source, SourceConfig
from blade_client import BladeClient
from blade_client.cli.job_forms import status_text
from blade_client.cli.token import new_token
from blade_client.private_file import write_private
from blade_sandbox.check import Expected, Findings, check
from blade_sandbox.data import MAINTENANCE, SORTIE, sample_tables
from blade_sandbox.demo_access import show_sign_in
from blade_sandbox.demo_progress import follow
from blade_sandbox.demo_sync import show_sync
from blade_sandbox.guide import START_HIGH, add_source, driver_lines, other_tools, tool
from blade_sandbox.interrupt import sigterm_as_ctrl_c
from blade_sandbox.sandbox import Sandbox
from blade_sandbox.scratch import temporary_folder
from blade_sandbox.server_process import ServerFailedError

_ITEM_ID = "MAINT-123"
_ROWS_SHOWN = 5
_POLL_S = 0.5
_FILTER = "origin = :origin AND dep_delay > 600"
_PARAMETERS = {"origin": "JFK"}


@dataclass(frozen=True, kw_only=True)
class _Demo:
    sandbox: Sandbox
    client: BladeClient
    console: Console

    def step(self, number: int, title: str) -> None:
        """A headline."""
        self.console.print(f"\n[bold]{number}. {title}[/bold]")

    def same_as(self, arguments: str) -> None:
        """The command line that does what follows."""
        self.type(f"{tool('blade')} {arguments}")

    def type(self, line: str, prompt: str = "$") -> None:
        """A line to copy."""
        self.console.print(f"{prompt} {line}", style="cyan", markup=False, soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """A line of its own, not wrapped, so that it can be copied."""
        self.console.print(f"  {text}", style=style, markup=False, soft_wrap=True)


@click.command()
@click.option("--stay", is_flag=True, help="Leave everything running at the end, until Ctrl+C.")
def demo(stay: bool) -> None:
    """Run the main job on 336,776 real flights from start to finish, and check the catalog against the warehouse.

    Ends with code 1 if anything is missing, doubled or different.
    """
    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)
    console.print("[bold]BLADE demo:[/bold] 336,776 real flights from a Databricks SQL warehouse into a catalog")
    begun_s = time.monotonic()
    try:
        clean = _in_a_sandbox_of_its_own(console, stay=stay)
    except ServerFailedError as exc:
        raise click.ClickException(str(exc)) from exc
    console.print("Everything is stopped and removed.")
    if not stay:
        console.print(f"The demo took {time.monotonic() - begun_s:.0f} s.")
    if not clean:
        sys.exit(1)


def _in_a_sandbox_of_its_own(console: Console, *, stay: bool) -> bool:
    with ExitStack() as stack:
        stack.enter_context(sigterm_as_ctrl_c())
        with _timed(console, "a warehouse, a catalog and BLADE are up, on free ports, on this machine only"):
            folder = stack.enter_context(temporary_folder())
            sandbox = stack.enter_context(Sandbox(folder, tables=sample_tables()))
        client = stack.enter_context(BladeClient(sandbox.target, token="", profile=""))
        run = _Demo(sandbox=sandbox, client=client, console=console)
        run.type(f"export BLADE_SERVER={sandbox.target}")
        clean = _run(run, stay=stay)
        if stay:
            console.print("\nEverything stays up. [bold]Ctrl+C[/bold] stops it and removes what it stored.")
            _stay(sandbox)
    return clean


def _stay(sandbox: Sandbox) -> None:
    try:
        while True:
            time.sleep(_POLL_S)
            sandbox.check()
    except KeyboardInterrupt:
        click.echo()


def _run(run: _Demo, *, stay: bool) -> bool:
    _add_sources(run)
    _query(run)
    _ingest(run)
    job = _move(run)
    clean = _check(run, job)
    clean = _sync(run) and clean
    clean = _sign_in(run) and clean
    _what_next(run, job, stay=stay)
    return clean


@contextmanager
def _timed(console: Console, what: str) -> Iterator[None]:
    begun_s = time.monotonic()
    yield
    console.print(f"  {what} ({time.monotonic() - begun_s:.1f} s)", markup=False)


def _add_sources(run: _Demo) -> None:
    run.step(1, "Configure two sources; each connection is tested before it is stored")
    for data_type, name in (("sortie", SORTIE), ("maintenance", MAINTENANCE)):
        run.same_as(add_source(data_type, name))
        catalog, schema, table = name.split(".")
        source = Source(
            name=f"blade-{data_type}",
            data_type=data_type,
            config=SourceConfig(catalog=catalog, schema=schema, table=table),
        )
        added = run.client.add_source(source)
        steps = ", ".join(type(step).Kind.Name(step.kind).lower().replace("_", " ") for step in added.steps)
        took_ms = sum(step.duration_ms for step in added.steps)
        run.say(f"{added.source.name} was added. Passed: {steps} ({took_ms:.0f} ms)")


def _query(run: _Demo) -> None:
    run.step(2, "Query the warehouse directly; rows stream through as transformed items")
    options = " ".join(f"--param {name}={value}" for name, value in _PARAMETERS.items())
    run.same_as(f'query sortie --filter "{_FILTER}" {options} --order-by "dep_delay desc" --limit {_ROWS_SHOWN}')
    begun_s = time.monotonic()
    items = run.client.query(
        "sortie", filter=_FILTER, parameters=_PARAMETERS, order_by=["dep_delay desc"], limit=_ROWS_SHOWN
    )
    for item in islice(items, _ROWS_SHOWN):
        row = dict(item.data)
        flight = f"{row['tailnum']}  {row['origin']} -> {row['dest']}"
        run.say(f"{item.item_id:<22} {flight}  left {row['dep_delay']:,.0f} min late   {item.classification}")
    run.say(f"({time.monotonic() - begun_s:.2f} s)", style="dim")


def _ingest(run: _Demo) -> None:
    run.step(3, "Ingest a single item")
    run.same_as(f"item ingest maintenance {_ITEM_ID}")
    for _ in range(2):
        done = run.client.ingest_item("maintenance", _ITEM_ID)
        outcome = type(done).Outcome.Name(done.outcome)
        sent = f", {done.bytes_uploaded:,} bytes" if done.bytes_uploaded else ": asked again, nothing was sent"
        run.say(f"{_ITEM_ID} {outcome}{sent}")


def _move(run: _Demo) -> Job:
    run.step(4, "Move every flight into the catalog with a durable job; pause and resume it on the way")
    run.same_as("job start --data-type sortie --watch")
    job = run.client.start_query_job(data_type="sortie")
    run.say(f"{job.job_id} is {status_text(job)}")
    job = follow(run.client, job, run.console, show_command=run.same_as)
    run.say(f"{job.job_id} {status_text(job)}: {_job_line(job)}")
    if job.status != Job.COMPLETED:
        run.say(f"{job.error.message}", style="red")
    return job


def _job_line(job: Job) -> str:
    ran_s = job.end_time.ToDatetime() - job.start_time.ToDatetime() - job.paused_duration.ToTimedelta()
    seconds = max(ran_s.total_seconds(), 0.001)
    return (
        f"{job.success_count:,} items, {job.error_count:,} errors, {job.bytes_uploaded / 1e6:,.0f} MB in "
        f"{seconds:.1f} s = {job.success_count / seconds:,.0f} items/s"
    )


def _check(run: _Demo, job: Job) -> bool:
    run.step(5, "Check the catalog against the warehouse, without BLADE: plain driver, catalog listing, every value")
    everything = True
    for data_type, table, where in (("sortie", SORTIE, ""), ("maintenance", MAINTENANCE, f"item_id = '{_ITEM_ID}'")):
        begun_s = time.monotonic()
        statement = f"SELECT * FROM {table}{' WHERE ' + where if where else ''} ORDER BY item_id"  # noqa: S608 - ours
        with run.console.status(f"  comparing {data_type} ..."):
            found = check(run.sandbox, statement, Expected(data_type=data_type))
        _show_findings(run, data_type, found, time.monotonic() - begun_s)
        everything = everything and found.clean
    return everything and job.status == Job.COMPLETED and job.error_count == 0


def _show_findings(run: _Demo, data_type: str, found: Findings, took_s: float) -> None:
    run.say(
        f"{data_type:<12} {found.rows:>7,} rows in the warehouse, {found.items:>7,} items in the catalog: "
        f"{found.missing} missing, {found.doubled} doubled, {found.different} different, "
        f"{found.unknown} unknown   ({took_s:.1f} s)",
        style="bold green" if found.clean else "bold red",
    )
    for kind, item_ids in found.samples.items():
        run.say(f"  {kind}: {', '.join(item_ids)} ...", style="red")


def _sync(run: _Demo) -> bool:
    run.step(6, "Keep the catalog equal to a table: a sync sends what changed, and takes out what is gone")
    return show_sync(run.sandbox, run.client, run.same_as, run.say)


def _sign_in(run: _Demo) -> bool:
    run.step(
        7, "Let somebody in who may look and not touch: a second server over the same state, where callers sign in"
    )
    with _timed(run.console, "it is up, with the token of its administrator"):
        admin_token = run.sandbox.folder / "admin.token"
        write_private(admin_token, new_token())
        target = run.sandbox.start_guarded_server(admin_token)
    return show_sign_in(target, admin_token, run.same_as, run.say)


def _what_next(run: _Demo, job: Job, *, stay: bool) -> None:
    run.step(
        8, "What to try next" if stay else "What to try next: `make demo STAY=1` leaves everything up for lines such as"
    )
    for arguments in (
        f"job show {job.job_id}",
        START_HIGH,
        f"item get maintenance {_ITEM_ID}",
        "query sortie --format arrow --output flights.arrow",
    ):
        run.same_as(arguments)
    for line in other_tools(run.sandbox, "maintenance", _ITEM_ID, job.job_id):
        run.type(line)
    statement = f"SELECT carrier, count(*) FROM {SORTIE} GROUP BY carrier ORDER BY 2 DESC"  # noqa: S608 - ours
    for line in driver_lines(run.sandbox, statement):
        run.type(line, prompt=">>>")
