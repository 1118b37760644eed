"""What a call stores, it stores once for each request id."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, Table

from blade_server.errors import Invalid, Reason
from blade_server.model.access import Caller


def stored_before(
    connection: Connection, query: Select[Any], table: Table, asked: tuple[str, str], *, by: Caller, what: str
) -> Row[Any] | None:
    """The row that an earlier call of the caller's with this request id and body stored; None: there is none.

    Args:
        connection: to read by.
        query: rows of `table` with all of its columns.
        table: has the columns request_id and request_hash.
        asked: the request id (empty: none) and the hash of the body.
        by: the caller; ids are his own.
        what: `job`, say, for the words of the error.

    Raises Invalid (REQUEST_ID_REUSED) if the id was used with another body.
    """
    request_id, request_hash = asked
    if not request_id:
        return None
    row = connection.execute(query.where(table.c.request_id == by.own(request_id))).one_or_none()
    if row is not None and row.request_hash != request_hash:
        raise Invalid.field(
            "request_id",
            f"{request_id!r} was used before with another body; take a new id for a new {what}",
            reason=Reason.REQUEST_ID_REUSED,
        )
    return row
