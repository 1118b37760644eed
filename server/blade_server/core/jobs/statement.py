"""The statement of a job: its own SQL over sources, or every row of one source."""

from __future__ import annotations

from blade_server.core import sql
from blade_server.core.sources.sources import Sources
from blade_server.errors import Invalid, check_may
from blade_server.model import RowQuery, Source
from blade_server.model.access import Caller, Role


def resolve(sources: Sources, text: str, data_type: str, source_name: str, *, by: Caller) -> sql.Resolved:
    """The statement with its tables resolved, and the source whose mapping makes items of its rows.

    Raises:
        Invalid: the SQL, which is parsed here and not run; or neither SQL nor a source is given.
        NotFound, Precondition: there is no such source, or it is switched off.
        AccessDenied: the caller may know of a source that the SQL names, and not read it.
    """
    reach = sources.reach(by=by)
    chosen: list[Source] = []
    if source_name:
        chosen = [sources.find(data_type, source_name, by=by)]
    elif data_type:
        of_type = [source for source in (*reach.sources, *reach.others) if source.data_type == data_type]
        chosen = [source for source in of_type if by.may(source.name, source.data_type)] or of_type
        if len(chosen) != 1 and (not chosen or not text):
            sources.find(data_type, by=by)
    if not text:
        if not chosen:
            raise Invalid.field("sql", "is required unless `source` or `data_type` is set")
        text = sql.select(chosen[0], RowQuery())
    resolved = sql.resolve(text, reach, chosen=chosen)
    for read in resolved.read:
        check_may(by, read.name, read.data_type, f"source {read.name!r}", Role.READER)
    sources.find("", resolved.source.name, by=by)  # refuses one that is switched off
    return resolved
