"""`blade doctor`: looks at everything that a server of these settings needs, one thing after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from blade_server.app.doctor.check import LONGEST_S, Check, failed, in_time, not_run
from blade_server.app.doctor.here import of_certificate, of_disk, of_settings, of_versions
from blade_server.app.doctor.postgres import of_postgres, unusable
from blade_server.app.doctor.reached import of_catalog, of_server, of_warehouse
from blade_server.app.state import database_target
from blade_server.errors import StorageUnavailable
from blade_server.settings import Settings
from blade_server.storage.connect import Target
from blade_server.storage.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError

_START_S = 60.0


def examine(settings: Settings, environment: Mapping[str, str]) -> Iterator[Check]:
    """Each as soon as it is done; nothing is changed. No program is waited for longer than a minute and a half."""
    yield from of_versions()
    yield from of_settings(settings, environment)
    yield from of_certificate(settings)
    yield from of_disk(settings)
    yield from in_time("postgresql", partial(_of_database, settings), LONGEST_S + _START_S)
    yield from in_time("warehouse", partial(of_warehouse, settings))
    yield from in_time("catalog", partial(of_catalog, settings))
    yield from in_time("server", partial(of_server, settings))


def _of_database(settings: Settings) -> Iterator[Check]:
    try:
        with database_target_of(settings) as target:
            if target is None:
                yield not_run("postgresql", "DATABASE_URL is not set, and the first `blade serve` makes an own one")
            else:
                yield from of_postgres(settings, target)
    except EmbeddedPostgresError as exc:
        way_out = "mend what it says, or set DATABASE_URL to use another one"
        yield failed("postgresql", str(exc).partition("\n")[0], way_out)
    except StorageUnavailable as exc:
        yield unusable("postgresql", exc)
    except ValueError as exc:
        yield failed("postgresql", str(exc), "change that setting, and ask again")


@contextmanager
def database_target_of(settings: Settings) -> Iterator[Target | None]:
    """How to reach the database; the embedded one runs meanwhile. None: that has never been started.

    Raises ValueError, EmbeddedPostgresError, StorageUnavailable.
    """
    if settings.database_url is not None:
        yield database_target(settings)
        return
    embedded = EmbeddedPostgres(settings.data_dir, start_timeout_s=_START_S)
    if not (embedded.data_dir / "pgdata").exists():
        yield None
        return
    with embedded:
        yield Target(url=embedded.url)
