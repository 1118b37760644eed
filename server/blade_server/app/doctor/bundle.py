"""The file of `blade doctor --bundle`: what somebody needs who helps from afar, without secrets, SQL and rows."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from blade_server.app.doctor.check import Check
from blade_server.app.doctor.doctor import database_target_of
from blade_server.app.doctor.reached import asked
from blade_server.app.doctor.redaction import Redaction, redaction_of, shown
from blade_server.errors import StorageUnavailable
from blade_server.settings import Settings
from blade_server.storage.database import Database
from blade_server.storage.embedded.postgres import EmbeddedPostgresError
from blade_server.storage.summaries import Summaries

_LOG_BYTES = 1 << 20
_JOBS = 200
_SYNCS = 1000

Part = tuple[str, str]
"""Its name in the file, and its text."""


def write_bundle(
    file: Path,
    checks: Sequence[Check],
    settings: Settings | None,
    environment: Mapping[str, str],
    log_file: Path | None,
) -> None:
    """Writes a new file that only this user can read. Raises OSError; FileExistsError if it is there."""
    redaction = redaction_of(settings, environment)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        try:
            with zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED) as bundle:
                for name, text in _parts(checks, settings, environment, log_file, redaction):
                    bundle.writestr(name, redaction(text))
        except BaseException:
            file.unlink(missing_ok=True)
            raise


def _parts(
    checks: Sequence[Check],
    settings: Settings | None,
    environment: Mapping[str, str],
    log_file: Path | None,
    redaction: Redaction,
) -> Iterator[Part]:
    yield "doctor.json", _json([dataclasses.asdict(check) for check in checks])
    yield "environment.json", _json(sorted(name for name in environment if name.startswith(("BLADE_", "DATA", "PG"))))
    if log_file is not None:
        yield "log.txt", redaction.log(_last_lines(log_file))
    if settings is not None:
        yield "settings.json", _json(shown(settings))
        yield from _of_server(settings)
        yield from _of_database(settings)


def _of_server(settings: Settings) -> Iterator[Part]:
    for name, path in (("readyz.txt", "/readyz?verbose"), ("metrics.txt", "/metrics")):
        with suppress(OSError):  # the checks say whether it runs
            yield name, asked(settings, path)[1]


def _of_database(settings: Settings) -> Iterator[Part]:
    with suppress(StorageUnavailable, EmbeddedPostgresError, ValueError), database_target_of(settings) as target:
        if target is None:
            return
        database = Database(target, pool_size=1)
        try:
            summaries = Summaries(database)
            looks: dict[str, Callable[[], list[dict[str, Any]]]] = {
                "jobs.json": partial(summaries.jobs, _JOBS),
                "syncs.json": partial(summaries.syncs, _SYNCS),
                "tables.json": summaries.tables,
            }
            for name, look in looks.items():
                yield name, _json(look())
        finally:
            database.close()


def _last_lines(file: Path) -> list[str]:
    """Of the end of a log, whole lines."""
    with file.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - _LOG_BYTES))
        lines = log.read(_LOG_BYTES).decode("utf-8", "replace").splitlines()
    return lines[1:] if size > _LOG_BYTES else lines


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, default=str) + "\n"
