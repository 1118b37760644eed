"""Items as a table, JSON, NDJSON or CSV."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

import click
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed
from google.protobuf.timestamp_pb2 import Timestamp

from blade.v1.item_pb2 import Item
from blade_client.cli.output import fitting, is_utf8, message_dict, print_table, visible

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from blade_client.query_result import QueryResult

_LONGEST_CELL = 200
_KEPT_BYTES = 64 << 20


def write_table(result: QueryResult, columns: list[str], file: IO[str]) -> None:
    """A table on the terminal; to a file or pipe, the same without shortening."""
    show_items(list(result), columns, file=file)


def show_items(items: Sequence[Item], columns: Sequence[str] = (), *, file: IO[str] | None = None) -> None:
    """Prints items as a table: id and classification, then the row's columns, as many as fit."""
    if not items:
        click.echo("No rows.", err=True)
        return
    shown = row_columns(items, columns)
    headers = ["ITEM ID", "CLASSIFICATION", *shown]
    longest = _LONGEST_CELL if (file or sys.stdout).isatty() else sys.maxsize
    rows = [
        [item.item_id, item.classification, *(_short(data.get(name), longest) for name in shown)]
        for item in items
        for data in [row(item)]
    ]
    fit = fitting(headers, rows, file=file)
    print_table(headers[:fit], [cells[:fit] for cells in rows], file=file)
    if fit < len(headers):
        click.echo(
            f"{len(headers) - fit} more columns do not fit: choose with --columns, or use --format json.", err=True
        )


def write_json(result: QueryResult, columns: list[str], file: IO[str]) -> None:
    """One object, `{"items": [...], "rejections": [...], "moreRows": false}`; the items go out as they come."""
    file.write('{\n  "items": [')
    _write_elements(result, file)
    file.write('],\n  "rejections": [')
    _write_elements(result.rejections, file)
    file.write(f'],\n  "moreRows": {json.dumps(result.more_rows)}\n}}\n')


def _write_elements(messages: Iterable[Message], file: IO[str]) -> None:
    between, end = "\n", ""
    for message in messages:
        text = json.dumps(message_dict(message), ensure_ascii=not is_utf8(), indent=2)
        file.write(between + textwrap.indent(text, "    "))
        between, end = ",\n", "\n  "
    file.write(end)


def write_ndjson(result: QueryResult, columns: list[str], file: IO[str]) -> None:
    """One item a line, as they come."""
    for item in result:
        file.write(json.dumps(message_dict(item), ensure_ascii=not is_utf8()) + "\n")


def write_csv(result: QueryResult, columns: list[str], file: IO[str]) -> None:
    """A header, then one item a line; nested values are JSON, nulls are empty."""
    names: set[str] = set()
    with tempfile.SpooledTemporaryFile(_KEPT_BYTES) as spooled:  # the header is known when the last item is
        kept: Any = spooled
        for item in result:
            names.update(item.data.fields)
            serialize_length_prefixed(item, kept)
        kept.seek(0)
        shown = _ordered(names, columns)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["itemId", "itemClassification", "itemLastModified", *shown])
        while (item := parse_length_prefixed(Item, kept)) is not None:
            data = row(item)
            modified = item.last_modified.ToJsonString() if item.last_modified != Timestamp() else ""
            cells = (cell(data.get(name)) for name in shown)
            writer.writerow([item.item_id, item.classification, modified, *cells])


def row(item: Item) -> dict[str, Any]:
    """The item's row as plain values."""
    data: dict[str, Any] = message_dict(item)["data"] if item.HasField("data") else {}
    return data


def row_columns(items: Iterable[Item], first: Sequence[str]) -> list[str]:
    """The columns of all rows: the chosen ones in their order, then the others by name, for a Struct has no order."""
    return _ordered({name for item in items for name in item.data.fields}, first)


def _ordered(found: set[str], first: Sequence[str]) -> list[str]:
    return [name for name in first if name in found] + sorted(found.difference(first))


def cell(value: Any) -> str:
    """A value as text: null is empty, lists and objects are JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _short(value: Any, longest: int) -> str:
    text = visible(cell(value)).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= longest else text[: longest - 1] + "…"


WRITERS = {"table": write_table, "json": write_json, "ndjson": write_ndjson, "csv": write_csv}
