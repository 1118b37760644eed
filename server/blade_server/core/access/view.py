"""What of a source is there for a caller: rows up to his ceiling, and the masked columns for those who edit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from blade_server.model import Source
from blade_server.model.access import Caller, Role, View


def view_of(source: Source, by: Caller, order: Sequence[str], role: Role | None = None) -> View:
    """The view of a source that a caller may read.

    Args:
        source: whose rows.
        by: the caller.
        order: the known classifications, lowest first.
        role: as whose holder he reads; None: what his method needs if he holds it on the source, else READER.
    """
    name, data_type = source.name, source.data_type
    if role is None:
        needed = by.needs or Role.READER
        role = needed if needed > Role.READER and by.may(name, data_type, needed) else Role.READER
    ceiling = by.principal.ceiling(role, name, data_type, order)
    upto = tuple(order[: order.index(ceiling) + 1]) if ceiling in order else ()
    masked = () if by.may(name, data_type, Role.EDITOR) else tuple(source.mapping.masked_columns)
    return View(ceiling=ceiling, classifications=upto, masked=masked)


def for_caller(source: Source, by: Caller) -> Source:
    """A source as a caller may see it: for whom a column does not exist, for him it is not masked either."""
    if not source.mapping.masked_columns or by.may(source.name, source.data_type, Role.EDITOR):
        return source
    return replace(source, mapping=replace(source.mapping, masked_columns=()))
