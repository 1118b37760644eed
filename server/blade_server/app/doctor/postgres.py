"""PostgreSQL as a server of these settings would find it. Nothing is changed, and no table is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from blade_server.app.doctor.check import Check, failed, passed, warned
from blade_server.app.state import most_connections
from blade_server.errors import StorageUnavailable
from blade_server.settings import Settings
from blade_server.storage.checkup import Checkup
from blade_server.storage.clock import MOST_S
from blade_server.storage.connect import Pooling, Target
from blade_server.storage.database import Database
from blade_server.storage.migrate import NewerTablesError, missing
from blade_server.storage.probe import check_bell

_LITTLE_S = 5.0


def of_postgres(settings: Settings, target: Target) -> Iterator[Check]:
    """All that can be told about a database that answers."""
    database = Database(target, pool_size=1)
    checkup = Checkup(database)
    looks: Mapping[str, Callable[[], Iterator[Check]]] = {
        "version": partial(_version, checkup),
        "rights": partial(_rights, checkup),
        "migrations": partial(_migrations, checkup, target),
        "clock": partial(_clock, checkup),
        "connections": partial(_connections, checkup, most_connections(settings)),
        "pooler": partial(_pooler, target),
    }
    try:
        yield passed("postgresql", f"{target.place} can be used")
        for part, look in looks.items():
            try:
                yield from look()
            except StorageUnavailable as exc:
                yield unusable(f"postgresql.{part}", exc)
    finally:
        database.close()


def unusable(name: str, exc: StorageUnavailable) -> Check:
    """Its words end with the way out, if there is one that can be told."""
    found, _, way_out = exc.message.rpartition("; ")
    return failed(name, found or way_out, way_out if found else "mend what it says, and ask again")


def _version(checkup: Checkup) -> Iterator[Check]:
    server = checkup.server()
    says = f"PostgreSQL {server.version}, database {server.database}, role {server.role}"
    if server.takes_writes:
        yield passed("postgresql.version", f"{says}; it takes writes")
    else:
        promote = "promote it, name the primary in DATABASE_URL, or reset default_transaction_read_only"
        yield failed("postgresql.version", f"{says}; it takes no writes", promote)


def _rights(checkup: Checkup) -> Iterator[Check]:
    missing_rights = checkup.missing_rights()
    if not missing_rights:
        yield passed("postgresql.rights", "the role may do all that a server does")
        return
    few = ", ".join(missing_rights[:5]) + (f" and {len(missing_rights) - 5} more" if len(missing_rights) > 5 else "")
    yield failed("postgresql.rights", f"the role lacks {few}", "GRANT them, or make the role the owner of the tables")


def _migrations(checkup: Checkup, target: Target) -> Iterator[Check]:
    try:
        needed = missing(target)
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


def _pooler(target: Target) -> Iterator[Check]:
    check_bell(target)
    if target.pooling is Pooling.TRANSACTION and target.bell is None:
        found = "a pooler pools transactions: servers hear nothing of each other, and look each second"
        yield warned("postgresql.pooler", found, "set BLADE_LISTEN_DATABASE_URL, or let it pool sessions")
    else:
        yield passed("postgresql.pooler", "there is none" if target.pooling is Pooling.NONE else "it can be used")
