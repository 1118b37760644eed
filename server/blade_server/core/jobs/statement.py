"""The statement of a job: its own SQL over sources, or every row of one source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from blade_server.core import sql
from blade_server.core.sources.sources import Sources
from blade_server.core.transform.classifications import highest
from blade_server.errors import Invalid, Reason, check_may
from blade_server.model import Overrides, RowQuery, Source
from blade_server.model.access import WHOLE, Caller, Role


class Seen(TypedDict):
    """Fields of a JobSpec."""

    ceiling: str
    masked_columns: Sequence[str]
    reads_beyond: bool


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
    if resolved.makes_classification and not _edits(resolved.source, by):
        raise _makes_classification(resolved.source)
    return resolved


def classified(overrides: Overrides, resolved: sql.Resolved, order: Sequence[str], *, by: Caller) -> Overrides:
    """What the caller may say of the classification of these items: who cannot edit a source cannot lower what it has.

    A classification for all items is then the least one. So are those of other sources that the SQL reads, where they
    are the same for all of their rows.

    Args:
        overrides: what he says, or what the job said that he repeats.
        resolved: what is read.
        order: the known classifications, lowest first.
        by: the caller.
    """
    others = [source for source in resolved.read if source.name != resolved.source.name and not _edits(source, by)]
    least = [overrides.min_classification]
    least += [one for other in others for one in (other.mapping.min_classification, other.mapping.classification.value)]
    if _edits(resolved.source, by):
        return replace(overrides, min_classification=highest(order, *least))
    least.append(overrides.classification)
    return replace(overrides, classification="", min_classification=highest(order, *least))


def seen(resolved: sql.Resolved, order: Sequence[str]) -> Seen:
    """What was there for whoever starts a job. `order`: the known classifications, lowest first."""
    view = resolved.views.get(resolved.source.name, WHOLE)
    others = [resolved.views.get(read.name, WHOLE) for read in resolved.read if read.name != resolved.source.name]
    beyond = [
        other for other in others if not other.ceiling or highest(order, other.ceiling, view.ceiling) != view.ceiling
    ]
    return Seen(ceiling=view.ceiling, masked_columns=view.masked, reads_beyond=bool(view.ceiling and beyond))


def _edits(source: Source, by: Caller) -> bool:
    return by.may(source.name, source.data_type, Role.EDITOR)


def _makes_classification(source: Source) -> Invalid:
    column = source.mapping.classification.column
    return Invalid.field(
        "sql",
        f"may make the column {column!r} itself, from which source {source.name!r} takes the classification of items; "
        f"select it as the table has it, as `{column}`, `alias.{column}` or `alias.*`, or have the role EDITOR on the "
        "source",
        reason=Reason.INVALID_SQL,
    )
