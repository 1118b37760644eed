"""`blade serve`, `config`, `migrate`, `health`, `doctor` and the rest for operators; also `python -m blade_server`.

What an operator did wrong is one sentence on stderr: exit code 2 for a setting that cannot be right, 1 for a server
that cannot start, 71 for a machine that gives it too little. Tracebacks are for bugs.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import functools
import getpass
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import click

# gRPC's core explains a port that is taken in a dozen lines of its own. Read when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Each command imports what it needs: all of it takes a second and a half of processor time.
if TYPE_CHECKING:
    from blade_server.app.config_file import Entry
    from blade_server.app.serve import Serving
    from blade_server.logs import Levels
    from blade_server.model.audit import Head
    from blade_server.settings import Settings
    from blade_server.storage.connect import Target

log = logging.getLogger("blade_server")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc

_TOO_LITTLE = 71


def _levels(_: click.Context, option: click.Parameter, text: str) -> Levels:
    from blade_server.logs import Levels

    try:
        return Levels.parse(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param=option) from exc


def _logs(command: Callable[..., None]) -> Callable[..., None]:
    """A command with options for its log, which is set up before it begins."""

    @click.option(
        "--log-level",
        envvar="BLADE_LOG_LEVEL",
        callback=_levels,
        metavar="LEVEL[,LOGGER=LEVEL]",
        default="info",
        show_default=True,
        show_envvar=True,
        help="debug, info, warning or error; of single loggers too, as info,blade_server.catalog=debug.",
    )
    @click.option(
        "--log-format",
        envvar="BLADE_LOG_FORMAT",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        show_envvar=True,
    )
    @functools.wraps(command)
    def logging_first(*arguments: Any, log_level: Levels, log_format: str, **options: Any) -> None:
        from blade_server import logs

        file = os.environ.get("BLADE_LOG_LEVEL_FILE")
        source = click.get_current_context().get_parameter_source("log_level")
        if file and source is not click.core.ParameterSource.DEFAULT:
            _fail(2, "BLADE_LOG_LEVEL (or --log-level) and BLADE_LOG_LEVEL_FILE are both set; unset one of them")
        level_file, worker = Path(file) if file else None, options.get("number", 0)
        try:
            logs.set_up(log_level, form=log_format, level_file=level_file, worker=worker)
        except ValueError as exc:
            _fail(2, str(exc))
        command(*arguments, **options)

    return logging_first


# In the context's meta: the configuration file, and what it added to the environment.
_CONFIG_FILE, _OF_CONFIG_FILE = "blade_server.config_file", "blade_server.of_config_file"


def _read_config_file(context: click.Context, option: click.Parameter, file: Path | None) -> None:
    if file is None:
        return
    from blade_server.app.config_file import put_into, read

    try:
        context.meta.update({_CONFIG_FILE: file, _OF_CONFIG_FILE: put_into(os.environ, read(file))})
    except ValueError as exc:
        _fail(1 if context.info_name == "check" else 2, str(exc))


def _of_config_file() -> dict[str, Entry]:
    context = click.get_current_context(silent=True)
    return context.meta.get(_OF_CONFIG_FILE, {}) if context else {}


_config_file = click.option(  # eager: other options are in the environment then
    "--config",
    envvar="BLADE_CONFIG",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_read_config_file,
    show_envvar=True,
    help="TOML file with settings; those of the environment go before. Unset: there is none.",
)


@click.group()
def main() -> None:
    """The BLADE server."""


@main.command()
@click.option("--host", help="Address to listen on; BLADE_HOST, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="gRPC port, 0: a free one; BLADE_PORT, else 50051.")
@click.option("--http-port", type=click.IntRange(0, 65535), help="Port of REST and the job page; BLADE_HTTP_PORT.")
@click.option(
    "--workers", type=click.IntRange(0, 64), help="Processes that run jobs, 0: this one does; BLADE_WORKERS, else 0."
)
@click.option("--json", "as_json", is_flag=True, help="Say that it is ready as one line of JSON.")
@_config_file
@_logs
def serve(as_json: bool, **given: str | int | None) -> None:
    """Serve until SIGTERM or Ctrl-C, which stop gracefully; a second one stops at once."""
    _share_arenas()
    with _mistakes_in_one_sentence():
        settings = _settings(**given)
        _check(settings)  # before the rest is loaded, which takes a second or two

        from blade_server.app import otel
        from blade_server.app.misspelt import misspelt
        from blade_server.app.policies import unbound_hosts
        from blade_server.app.ready_file import ready_file
        from blade_server.app.serve import serve as serve_until_signalled
        from blade_server.app.systemd import tell

        for sentence in (*misspelt(os.environ), *unbound_hosts(settings), *otel.in_vain(os.environ)):
            log.warning("%s", sentence)
        last_traces = otel.set_up("blade")
        with ready_file(settings.ready_file) as write:

            def on_ready(serving: Serving) -> None:
                write(serving)
                tell(os.environ)
                (_say_json if as_json else _say)(serving)

            asyncio.run(serve_until_signalled(settings, on_ready))
        last_traces()
    _leave()


@main.command()
@click.option("--ready-file", envvar="BLADE_READY_FILE", type=click.Path(path_type=Path), show_envvar=True)
@_config_file
@click.option("--timeout", "timeout_s", type=float, default=4.0, show_default=True, help="Seconds to wait.")
def health(ready_file: Path | None, timeout_s: float) -> None:
    """Say whether the server that wrote BLADE_READY_FILE serves: code 0, else 1. It need not know ports or TLS."""
    from blade_server.rpc.health_check import health_of

    if ready_file is None:
        _fail(2, "BLADE_READY_FILE is not set; the server and this command need the same")
    try:
        target = json.loads(ready_file.read_text())["socket"]
    except (OSError, ValueError, KeyError, TypeError):
        _fail(1, f"no server is ready: {ready_file} is not there or holds something else")
    status = health_of(target, timeout_s)
    if status != "SERVING":
        _fail(1, f"the server of {ready_file} is {status}")
    click.echo(status)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    help="New zip file for whoever helps: no secrets, no SQL, no rows.",
)
@click.option(
    "--log-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The server's log, the end of which goes into the bundle.",
)
@_config_file
def doctor(as_json: bool, bundle: Path | None, log_file: Path | None) -> None:
    """Look at all that a server needs, and say what is wrong and the way out: code 0, else 1.

    Run it as the server's user and with its environment. It changes nothing.
    """
    logging.disable()  # what is found stands in the checks
    if bundle is not None and bundle.exists():
        _fail(2, f"{bundle} is there already; name a new file")
    with _mistakes_in_one_sentence():
        from blade_server.app.doctor.bundle import write_bundle
        from blade_server.app.doctor.check import failed
        from blade_server.app.doctor.doctor import examine
        from blade_server.app.doctor.report import as_document, as_text, summary

        settings, checks = None, []
        try:
            settings = _settings()
        except ValueError as exc:
            wrong = failed("settings", _sentence(exc), "change that setting, and ask again")
        for check in examine(settings, os.environ) if settings else [wrong]:
            checks.append(check)
            if not as_json:
                click.echo(as_text(check))
        if bundle is not None:
            write_bundle(bundle, checks, settings, os.environ, log_file)
    document = as_document(checks)
    click.echo(json.dumps(document, indent=2) if as_json else summary(checks))
    sys.exit(1 if document["failed"] else 0)


@main.group()
def config() -> None:
    """The settings of a server as they are here; no server is needed."""


@config.command("show")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@_config_file
def show_config(as_json: bool) -> None:
    """Every setting in force, its value and where that comes from; secrets are hidden.

    What is printed without --json is a configuration file.
    """
    with _mistakes_in_one_sentence():
        settings = _settings()

    from blade_server.app.settings_in_force import in_force

    file = click.get_current_context().meta.get(_CONFIG_FILE)
    shown = list(in_force(settings, os.environ, _of_config_file()))
    if as_json:
        document = {"config_file": file and str(file), "settings": [dataclasses.asdict(each) for each in shown]}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(f"# Configuration file: {file or 'none; --config or BLADE_CONFIG names one'}")
        click.echo("\n".join(each.line for each in shown))


@config.command("check")
@_config_file
@_logs
def check_config() -> None:
    """Say whether a server could start with these settings: code 0, else 1 with the reason.

    The files that they name are read, nothing is connected to. What is odd and no mistake is a warning.
    """
    with _mistakes_in_one_sentence(of_settings=1):
        settings = _settings()
        _check(settings)

        from blade_server.app.misspelt import misspelt
        from blade_server.app.named_files import check_named
        from blade_server.app.policies import unbound_hosts

        check_named(settings)
        for sentence in (*misspelt(os.environ), *unbound_hosts(settings)):
            log.warning("%s", sentence)
    click.echo("The settings are right.")


@main.command(hidden=True)
@click.argument("number", type=int)
@_logs
def worker(number: int) -> None:
    """One of the processes of `serve --workers`, which starts them; see blade_server/app/worker_processes.py."""
    _share_arenas()
    with _mistakes_in_one_sentence():
        from blade_server.app import otel
        from blade_server.app.worker import work
        from blade_server.app.worker_processes import UNFIT
        from blade_server.storage.migrate import NewerTablesError

        last_traces = otel.set_up("blade-worker")
        try:
            asyncio.run(work(_settings(), _say_ready))
        except NewerTablesError:
            sys.stdout.buffer.write(UNFIT)
            sys.stdout.flush()
            raise
        last_traces()
    _leave()


@main.command("create-admin-token")
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long it lives.")
@_config_file
@_logs
def create_admin_token(days: int) -> None:
    """Make an admin token in the database of DATABASE_URL and print it, for when nobody can sign in."""
    with _mistakes_in_one_sentence():
        from blade_server.app.operator import create
        from blade_server.app.state import database_target

        settings = _settings()
        if settings.database_url is None:
            _fail(2, "DATABASE_URL is not set; without one a server makes a token for its own user by itself")
        click.echo(create(database_target(settings), days * 86400.0, _user()))


@main.command()
@click.option(
    "--restored",
    is_flag=True,
    help="Say that the database was put back to an older state: open jobs look up what they may have sent since.",
)
@_config_file
@_logs
def migrate(restored: bool) -> None:
    """Bring the tables of DATABASE_URL (or of the embedded PostgreSQL) up to date."""
    with _mistakes_in_one_sentence(), _database_of(_settings()) as target:
        jobs = _migrate(target, restored)
    click.echo("The tables are up to date.")
    if restored:
        click.echo(f"{jobs} open jobs look up in the catalog whatever is not recorded before they send it.")


def _migrate(target: Target, restored: bool) -> int:
    """How many open jobs there are, if the state is a restored one."""
    from blade_server.storage.engine.restored import declare_restored
    from blade_server.storage.migrate import migrate as migrate_database

    migrate_database(target)
    return declare_restored(target) if restored else 0


@main.command("prune-audit")
@click.option(
    "--before",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m"]),
    required=True,
    help="Deletes the months before this one.",
)
@click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="New file for what is deleted; keep it.",
)
@_config_file
@_logs
def prune_audit(before: datetime, export: Path) -> None:
    """Take old months out of the audit log, after writing them to a file.

    The database is that of DATABASE_URL, or the embedded one; the log says who did it.
    """
    with _mistakes_in_one_sentence():
        settings = _settings()
        with _database_of(settings) as target:
            gone = _prune_audit(target, before, export, settings.audit_anchor_file)
    click.echo(f"The audit log begins behind entry {gone.number}, whose hash is {gone.hash.hex()}.")


def _prune_audit(target: Target, before: datetime, export: Path, anchor_file: Path | None) -> Head:
    from blade_server.core.audit.heads import Heads
    from blade_server.core.audit.prune import prune
    from blade_server.storage.audit import AuditStore
    from blade_server.storage.database import Database
    from blade_server.storage.migrate import migrate as migrate_database

    migrate_database(target)
    database = Database(target, pool_size=2)
    try:
        store = AuditStore(database)
        return prune(store, Heads(store, anchor_file), before=before.date(), export=export, operator=_user())
    finally:
        database.close()


def _user() -> str:
    """Who runs this command; in a container he may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


@contextmanager
def _database_of(settings: Settings) -> Iterator[Target]:
    """How to reach the database, which is started if it is the embedded one."""
    from blade_server.app.state import database_target
    from blade_server.storage.connect import Target
    from blade_server.storage.embedded.postgres import EmbeddedPostgres

    if settings.database_url is not None:
        yield database_target(settings)
    else:
        with EmbeddedPostgres(settings.data_dir) as embedded:
            yield Target(url=embedded.url)


def _check(settings: Settings) -> None:
    """Raises ValueError for what cannot be right, as far as that can be told from the settings alone."""
    from blade_server.app.exposure import check_exposure
    from blade_server.app.policies import access_policy, web_policy

    check_exposure(settings)
    access_policy(settings)
    web_policy(settings)


def _settings(**given: Any) -> Settings:
    """The environment, with what was given on the command line on top."""
    from blade_server.settings import Settings

    return Settings(**{name: value for name, value in given.items() if value is not None})


def _say(serving: Serving) -> None:
    host, admin_host = (f"[{name}]" if ":" in name else name for name in (serving.host, serving.admin_host))
    jobs = f", runs jobs in {len(serving.workers)} processes of their own" if serving.workers else ""
    probes = f", probes and metrics on {admin_host}:{serving.admin_port}" if serving.admin_port else ""
    click.echo(
        f"BLADE {serving.version} serves gRPC on {host}:{serving.port} and HTTP on {host}:{serving.http_port}"
        f"{probes}{jobs} (database: {serving.database}, warehouse: {serving.warehouse or 'none'}, "
        f"catalog: {serving.catalog or 'none'})"
    )


def _say_json(serving: Serving) -> None:
    click.echo(json.dumps(dataclasses.asdict(serving) | {"pid": os.getpid()}))


def _say_ready() -> BinaryIO:
    """Gives the standard output: the parent reads on, and what a library prints belongs to the log."""
    from blade_server.app.worker_processes import READY

    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output


@contextmanager
def _mistakes_in_one_sentence(of_settings: int = 2) -> Iterator[None]:
    """`of_settings`: the exit code for a setting that cannot be right."""
    try:
        yield
    except Exception as exc:
        if isinstance(exc, ValueError):
            _fail(of_settings, _sentence(exc))

        from blade_server.app.worker_processes import WorkerError
        from blade_server.errors import BladeError
        from blade_server.rpc.server import ListenError
        from blade_server.storage.embedded.postgres import EmbeddedPostgresError
        from blade_server.storage.migrate import NewerTablesError

        if isinstance(exc, (ListenError, WorkerError, EmbeddedPostgresError, NewerTablesError, BladeError, OSError)):
            _fail(1, str(exc))
        if isinstance(exc, MemoryError) or (isinstance(exc, RuntimeError) and "start new thread" in str(exc)):
            why = str(exc) or type(exc).__name__
            limits = "raise its limits (ulimit -v and -u)"
            _fail(_TOO_LITTLE, f"this process may have no more memory or threads ({why}); {limits}")
        raise


def _sentence(exc: ValueError) -> str:
    """What is wrong with the settings."""
    from pydantic import ValidationError

    return "; ".join(map(_in_words, exc.errors())) if isinstance(exc, ValidationError) else str(exc)


def _in_words(error: Any) -> str:
    """`BLADE_PORT is 'abc': ...`; secrets are never at fault, because any text is one.

    What is wrong with hosts quotes them itself: a secret may have been bound to one by mistake.
    """
    from blade_server.settings import Settings

    if not error["loc"]:  # about several settings at once: its words name them, and its input has all, secrets too
        return str(error["ctx"]["error"])
    name = str(error["loc"][0])
    field = Settings.model_fields.get(name)
    variable = f"BLADE_{name.upper()}" if field is not None and field.validation_alias is None else name
    if error["type"] == "value_error":
        return f"{variable}: {error['ctx']['error']}"
    return f"{variable} is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _fail(code: int, sentence: str) -> NoReturn:
    from blade_server import logs

    if of_file := _of_config_file():
        from blade_server.app.config_file import placed

        sentence = placed(sentence, of_file)
    if logs.in_json():
        log.error("%s", sentence)
    else:
        click.echo(f"blade: {sentence}", err=True)
    sys.exit(code)


def _share_arenas() -> None:
    """Keeps memory flat with glibc (others: nothing), which gives nearly each thread an arena of its own.

    What one thread of a job allocates another one frees: holes grew in all of them, and a job of 10 million rows peaked
    at 1.5 times the memory of one of 100,000. Call it before there are threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)
        # The megabytes of a query's stream are used again: fresh from the kernel, each is filled with zeros first.
        mallopt(_M_TRIM_THRESHOLD, 8 << 20)
        mallopt(_M_MMAP_THRESHOLD, 4 << 20)


def _leave() -> None:
    """Ends the process even if a thread still waits for a warehouse that does not answer."""
    waiting = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    log.info("stopped%s", f", leaving behind {', '.join(waiting)}" if waiting else "")
    sys.stdout.flush()
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
