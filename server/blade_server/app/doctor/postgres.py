"""PostgreSQL as a server of these settings would find it. Nothing is changed, and no table is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from blade_server.app.doctor.check import Check, failed, not_run, passed, warned
from blade_server.app.state import most_connections
from blade_server.errors import StorageUnavailable
from blade_server.settings import Settings
from blade_server.storage.checkup import Checkup
from blade_server.storage.clock import MOST_S
from blade_server.storage.database import Database
from blade_server.storage.migrate import NewerTablesError, missing

_OLDEST = 130000
_LITTLE_S = 5.0
_PARTS = ("version", "rights", "migrations", "clock", "connections", "pooler")


def of_postgres(settings: Settings, url: str) -> Iterator[Check]:
    """All that can be told about the database of the URL."""
    database = Database(url, pool_size=2)
    try:
        checkup = Checkup(database)
        try:
            migrations = list(_migrations(checkup, url))
            server = checkup.server()
        except StorageUnavailable as exc:
            way_out = "mend what it says; DATABASE_URL names the server, the database and the role"
            yield failed("postgresql", exc.message, way_out)
            yield from (not_run(f"postgresql.{part}", "PostgreSQL does not answer") for part in _PARTS)
            return
        yield passed("postgresql", f"{database.place} answers the role {server.role}")
        looks: tuple[Callable[[], Iterator[Check]], ...] = (
            partial(_version, checkup),
            partial(_rights, checkup),
            partial(iter, migrations),
            partial(_clock, checkup),
            partial(_connections, checkup, most_connections(settings)),
            partial(_pooler, checkup),
        )
        for part, look in zip(_PARTS, looks, strict=True):
            try:
                yield from look()
            except StorageUnavailable as exc:
                yield failed(f"postgresql.{part}", exc.message, "ask again; if it stays, look at PostgreSQL's log")
    finally:
        database.close()


def _version(checkup: Checkup) -> Iterator[Check]:
    server = checkup.server()
    if server.number < _OLDEST:
        yield failed("postgresql.version", f"it is PostgreSQL {server.version}", "bring it to version 13 or newer")
    elif server.encoding != "UTF8":
        make = f"CREATE DATABASE {server.database} ENCODING 'UTF8' TEMPLATE template0"
        yield failed("postgresql.version", f"its encoding is {server.encoding}", f"make another database: {make}")
    elif not server.takes_writes:
        promote = "promote it, name the primary in DATABASE_URL, or reset default_transaction_read_only"
        yield failed("postgresql.version", f"PostgreSQL {server.version} takes no writes", promote)
    else:
        yield passed("postgresql.version", f"PostgreSQL {server.version}, UTF8, takes writes")


def _rights(checkup: Checkup) -> Iterator[Check]:
    missing_rights = checkup.missing_rights()
    if not missing_rights:
        yield passed("postgresql.rights", "the role may do all that a server does")
        return
    few = ", ".join(missing_rights[:5]) + (f" and {len(missing_rights) - 5} more" if len(missing_rights) > 5 else "")
    yield failed("postgresql.rights", f"the role lacks {few}", "GRANT them, or make the role the owner of the tables")


def _migrations(checkup: Checkup, url: str) -> Iterator[Check]:
    try:
        needed = missing(url)
    except NewerTablesError as exc:
        yield failed("postgresql.migrations", str(exc), "start the release that the tables are of, or a newer one")
        return
    found = f"{len(needed)} are missing, from {needed[0]} on" if needed else "the tables are up to date"
    if not needed:
        yield passed("postgresql.migrations", found)
    elif checkup.may_create():
        yield warned("postgresql.migrations", found, "the next start runs them, or `blade migrate` now")
    else:
        way_out = "run `blade migrate` as a role that may, with its DATABASE_URL"
        yield failed("postgresql.migrations", f"{found}, and the role may not make tables", way_out)


def _clock(checkup: Checkup) -> Iterator[Check]:
    off_s = checkup.clock_offset_s()
    found = f"this machine's clock is {abs(off_s):.1f} s {'ahead of' if off_s > 0 else 'behind'} PostgreSQL's"
    set_right = "set the wrong clock right (chronyc makestep)"
    if abs(off_s) > MOST_S:
        yield failed("postgresql.clock", f"{found}, and beyond {MOST_S:g} s a server runs no jobs", set_right)
    elif abs(off_s) > _LITTLE_S:
        yield warned("postgresql.clock", found, set_right)
    else:
        yield passed("postgresql.clock", "this machine's clock agrees with PostgreSQL's")


def _connections(checkup: Checkup, wanted: int) -> Iterator[Check]:
    most, used = checkup.connections()
    found = f"it takes {most}, {used} are open, and one server may want {wanted}"
    fewer = "lower BLADE_DATABASE_POOL_SIZE or BLADE_WORKERS, or raise max_connections of PostgreSQL"
    if used >= most:
        yield failed("postgresql.connections", found, fewer)
    elif wanted > most:
        yield warned("postgresql.connections", found, fewer)
    else:
        yield passed("postgresql.connections", found)


def _pooler(checkup: Checkup) -> Iterator[Check]:
    if checkup.pools_transactions():
        use = "let the pooler pool sessions (pool_mode = session), or go past it"
        yield warned("postgresql.pooler", "a pooler gives connections away behind each transaction", use)
    else:
        yield passed("postgresql.pooler", "connections stay with who opened them")
