"""The order of a sync as options say it, and which of its fields they set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

from blade_client.cli.completion import destination_names, notification_names
from blade_client.cli.durations import SPAN
from blade_client.cli.pairs import PAIR, OneOf
from blade_client.cli.session import INT32, INT64

if TYPE_CHECKING:
    from blade.v1.sync_pb2 import SyncSpec

F = TypeVar("F", bound=Callable[..., Any])
MODES = ["FULL", "CHANGED", "INCREMENTAL", "CHANGE_FEED"]

_OPTIONS = [
    click.option("--sql", metavar="SQL", help="One SELECT over the source.  [default: every row of its table]"),
    click.option("--filter", metavar="CONDITION", help="A condition on the rows."),
    click.option(
        "--destination", metavar="NAME", shell_complete=destination_names, help="The catalog.  [default: the server's]"
    ),
    click.option("--mode", type=OneOf(MODES), help="How changes are found.  [default: CHANGED]"),
    click.option("--cursor", metavar="COLUMN", help="INCREMENTAL: a column that grows with every change of a row."),
    click.option("--lag", type=SPAN, metavar="TIME", help="Rows so far below the watermark are read again, as 1h."),
    click.option("--full-every", type=SPAN, metavar="TIME", help="A run over all rows so often.  [default: 7d]"),
    click.option("--null-cursor", type=OneOf(["READ", "REJECT"]), help="Rows without a cursor.  [default: READ]"),
    click.option("--cron", metavar="'M H D M W'", help="When runs start: five fields, as of cron."),
    click.option("--time-zone", metavar="ZONE", help="What --cron is read in, as Europe/Berlin.  [default: UTC]"),
    click.option("--every", type=SPAN, metavar="TIME", help="When runs start, as 15m."),
    click.option("--jitter", type=SPAN, metavar="TIME", help="Due times are later by at most this."),
    click.option("--overlap", type=OneOf(["SKIP", "QUEUE_ONE"]), help="While a run is not final.  [default: SKIP]"),
    click.option("--catch-up", type=OneOf(["NONE", "LATEST"]), help="Due times without a server.  [default: NONE]"),
    click.option("--catch-up-window", type=SPAN, metavar="TIME", help="How old the latest may be.  [default: 1h]"),
    click.option("--deletes", type=OneOf(["KEEP", "DELETE"]), help="Items whose rows are gone.  [default: KEEP]"),
    click.option("--max-delete-share", type=float, help="Withhold deletes of more than this share.  [default: 0.05]"),
    click.option("--max-deletes", type=INT64, help="Withhold deletes of more items than this."),
    click.option("--confirm-runs", type=INT32, help="Runs over all rows that must miss an item.  [default: 1]"),
    click.option("--grace", type=SPAN, metavar="TIME", help="An item must have been missing for so long."),
    click.option("--adopt/--no-adopt", default=None, help="Take equal items that are there already for its own."),
    click.option("--scope", metavar="TEXT", help="Which ids are its own, where syncs share a data type."),
    click.option("--batch-size", type=INT32, help="Items in one upload batch, 1 to 1000.  [default: 100]"),
    click.option("--workers", type=INT32, help="Upload workers, 1 to 64.  [default: the server's]"),
    click.option("--items-per-second", type=float, help="Most items per second.  [default: the source's limit]"),
    click.option("--max-errors", type=INT64, help="A run fails once more items than this have failed."),
    click.option("--max-error-share", type=float, help="A run fails once more than this share has failed."),
    click.option("--metadata", type=PAIR, multiple=True, metavar="KEY=VALUE", help="Added to every item."),
    click.option("--classification", metavar="VALUE", help="Classification of all items, not the mapping's."),
    click.option("--item-id", metavar="TEMPLATE", help="Template of the item ids, not the mapping's."),
    click.option("--last-modified", metavar="COLUMN", help="Column with the time of the last change."),
    click.option("--retry-attempts", type=INT32, help="Attempts after the first one, 0 to 20."),
    click.option("--retry-base", type=SPAN, metavar="TIME", help="Wait before the second attempt."),
    click.option("--max-age", type=SPAN, metavar="TIME", help="The sync is late when its last success is older."),
    click.option("--pause-after-failures", type=INT32, help="Failed runs in a row before it pauses itself; 0: never."),
    click.option(
        "--notify",
        multiple=True,
        metavar="NAME",
        shell_complete=notification_names,
        help="A notification that hears of it; may be repeated.",
    ),
]
_PATHS = {
    "cursor": "cursor.column",
    **{name: f"cursor.{name}" for name in ("lag", "full_every", "null_cursor")},
    **{
        name: f"schedule.{name}"
        for name in ("cron", "time_zone", "every", "jitter", "overlap", "catch_up", "catch_up_window")
    },
    **{name: f"guards.{name}" for name in ("max_delete_share", "max_deletes", "confirm_runs", "grace")},
    **{name: f"limits.{name}" for name in ("items_per_second", "max_errors", "max_error_share")},
    "retry_attempts": "retry.attempts",
    "retry_base": "retry.base",
    "notify": "notifications",
}
"""Option -> field of the spec, where they differ."""
_INSTEAD = {"cron": ["schedule.every"], "every": ["schedule.cron", "schedule.time_zone"]}
"""What an option takes the place of."""


def spec_options(command: F) -> F:
    """The options that say a spec, but for its source."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def spec_of(options: Mapping[str, Any]) -> tuple[SyncSpec, list[str]]:
    """The spec that the options say.

    Returns:
        The spec, and the paths of its fields that an update changes.
    """
    from blade.v1.sync_pb2 import SyncSpec

    spec = SyncSpec()
    paths: list[str] = []
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    for name, value in given.items():
        path = _PATHS.get(name, name)
        _set(spec, path, value)
        paths += [path, *(each for each in _INSTEAD.get(name, []))]
    return spec, list(dict.fromkeys(paths))


def _set(spec: SyncSpec, path: str, value: Any) -> None:
    *parents, name = path.split(".")
    holder: Any = reduce(getattr, parents, spec)
    if isinstance(value, timedelta):
        getattr(holder, name).FromTimedelta(value)
    elif name == "metadata":
        holder.metadata.update(dict(value))
    elif isinstance(value, tuple):
        getattr(holder, name).extend(value)
    else:
        kind = holder.DESCRIPTOR.fields_by_name[name].enum_type
        setattr(holder, name, kind.values_by_name[value].number if kind is not None else value)


def cleared(fields: tuple[str, ...]) -> list[str]:
    """The paths of fields that an update puts back to their defaults; options' names count as well.

    Raises:
        click.UsageError: There is no such field.
    """
    from blade.v1.sync_pb2 import SyncSpec

    paths = []
    for given in fields:
        name = given.removeprefix("--").replace("-", "_")
        path = _PATHS.get(name, name)
        first, _, inner = path.partition(".")
        field = SyncSpec.DESCRIPTOR.fields_by_name.get(first)
        within = field.message_type.fields_by_name if field is not None and field.message_type is not None else {}
        if field is None or (inner and inner not in within):
            raise click.UsageError(f"--clear {given}: a sync has no such field; see `blade sync update --help`.")
        paths.append(path)
    return paths
