"""What sources take in the warehouse, by day: jobs are added as they end (`jobs.rows`), all else here."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Date, Select, and_, cast, func, literal, select, text, true, union_all

from blade_server.model import FINAL
from blade_server.model.access import Scope
from blade_server.model.cost import Cost, SourceCost
from blade_server.storage import tables
from blade_server.storage.database import Database
from blade_server.storage.within import within

COST = tuple(field.name for field in fields(Cost))
"""The columns of what something took."""

_cost, _job, _source = tables.source_cost, tables.job, tables.source

_SUMS = ", ".join(f"{name} = source_cost.{name} + EXCLUDED.{name}" for name in COST)
ADDED = f"ON CONFLICT (day, source) DO UPDATE SET {_SUMS}"
"""The end of an INSERT INTO source_cost: what is there already is added to."""
TODAY = "(now() AT TIME ZONE 'UTC')::date"

_ADD = text(
    f"""
    INSERT INTO source_cost (day, source, {", ".join(COST)})
    SELECT {TODAY}, name, {", ".join(f"CAST(:{name} AS bigint)" for name in COST)} FROM source WHERE name = :source
    {ADDED}
    """  # noqa: S608 - names from this file
)


class CostStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, source: str, cost: Cost) -> None:
        """Adds what something beside jobs took today; of a source that is not stored nothing is kept."""
        with self._database.begin() as connection:
            connection.execute(_ADD, {"source": source, **asdict(cost)})

    def page(self, *, since: date, after: str, limit: int, seen: Scope) -> list[SourceCost]:
        """At most `limit` sources behind `after` that took something, by name.

        Of days from `since` on; jobs that are not final count as far as they are. Removed sources are there for whoever
        sees all; for others a source begins on the day on which it was added.
        """
        with self._database.begin() as connection:
            return [_from_row(row) for row in connection.execute(_page(since, after, limit, seen))]


def _page(since: date, after: str, limit: int, seen: Scope) -> Select[Any]:
    ended = select(_cost.c.day, _cost.c.source, *(_cost.c[name] for name in COST)).where(_cost.c.day >= since)
    of = _job.c.source.collate("C").label("source")
    begun = and_(_job.c.status.not_in(FINAL), _job.c.statements > 0)
    today = cast(func.timezone("UTC", func.now()), Date)
    spent = union_all(ended, select(today, of, *(_job.c[name] for name in COST)).where(begun)).subquery()
    shown = _source.c.name.is_not(None) & within(seen, spent.c.source, _source.c.data_type) & _his(spent.c.day)
    return (
        select(
            spent.c.source,
            func.coalesce(_source.c.data_type, "").label("data_type"),
            *(cast(func.sum(spent.c[name]), _cost.c[name].type).label(name) for name in COST),
        )
        .select_from(spent.outerjoin(_source, _source.c.name == spent.c.source))
        .where(spent.c.source > after, true() if seen.all else shown)
        .group_by(spent.c.source, _source.c.data_type)
        .order_by(spent.c.source)
        .limit(literal(limit))
    )


def _his(day: ColumnElement[date]) -> ColumnElement[bool]:
    """Not of a source that had the name before."""
    return day >= cast(func.timezone("UTC", _source.c.create_time), Date)


def _from_row(row: Any) -> SourceCost:
    cost = Cost(**{name: getattr(row, name) for name in COST})
    return SourceCost(source=row.source, data_type=row.data_type, cost=cost)
