"""How results look: tables for people, JSON for machines. The only place that knows rich's tables."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp
    from rich.console import Console
    from rich.text import Text

    from blade.v1.source_pb2 import ItemIdCount, TestStep

AMBER = "orange3"
_WIDE = 10_000
_LONGEST_CELL = 60
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    """The text with control characters spelled out, so that data cannot drive the reader's terminal."""
    return _CONTROL.sub(lambda found: repr(found.group())[1:-1], text)


def console(file: IO[str] | None = None) -> Console:
    """A console on stdout or a file. Off a terminal it never wraps or shortens: somebody wants to grep it."""
    from rich.console import Console

    file = file or sys.stdout
    width = None if file.isatty() else _WIDE
    return Console(file=file, highlight=False, markup=False, emoji=False, width=width)


class Styled(NamedTuple):
    """A cell in a style of rich's, which a terminal shows and nothing else sees."""

    text: str
    style: str


Cell = str | Styled


def print_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    right: Sequence[str] = (),
    file: IO[str] | None = None,
) -> None:
    """Prints rows under headers; the columns named by `right` are aligned right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(
            header, justify="right" if header in right else "left", overflow="fold", no_wrap=header == headers[0]
        )
    for row in rows:
        table.add_row(*(_text(cell, lines=False) for cell in row))
    _print(table, file)


def print_pairs(pairs: Iterable[tuple[str, Cell]]) -> None:
    """Prints names and values one below the other; empty values are left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            table.add_row(Text(name), _text(value))
    _print(table, None)


def _text(cell: Cell, *, lines: bool = True) -> Text:
    from rich.text import Text

    text, style = cell if isinstance(cell, Styled) else (cell, "")
    # One row of a table, one line: whoever reads by lines relies on it.
    return Text(visible(text if lines else text.replace("\n", " ")), style=style)


def fitting(headers: Sequence[str], rows: Sequence[Sequence[str]], *, file: IO[str] | None = None) -> int:
    """How many of the columns, from the left, fit the terminal; all of them off a terminal."""
    width = console(file).width
    used = 0
    for place, header in enumerate(headers):
        longest = max([len(header), *(len(row[place]) for row in rows)])
        used += min(longest, _LONGEST_CELL) + 2
        if used > width:
            return max(1, place)
    return len(headers)


def print_steps(steps: Iterable[TestStep]) -> None:
    """Prints the steps of a connection test as a checklist with durations."""
    from blade.v1.source_pb2 import TestStep

    utf8 = is_utf8()
    marks = {
        TestStep.PASSED: "✓" if utf8 else "ok",
        TestStep.FAILED: "✗" if utf8 else "FAILED",
        TestStep.NOT_RUN: "·" if utf8 else "-",
    }
    print_table(
        ["", "STEP", "TOOK", "FOUND"],
        [
            [
                marks.get(step.outcome, "?"),
                words(TestStep.Kind.Name(step.kind)),
                "" if step.outcome == TestStep.NOT_RUN else f"{step.duration_ms:,.0f} ms",
                "not run" if step.outcome == TestStep.NOT_RUN else step.message,
            ]
            for step in steps
        ],
        right=["TOOK"],
    )


def print_item_ids(counted: ItemIdCount) -> None:
    """Prints how well item ids tell rows apart, in amber where they do not."""
    flawed = counted.duplicate_count or counted.missing_count
    if counted.message:
        print_pairs([("Item ids", Styled(counted.message, AMBER if flawed else ""))])


def is_utf8() -> bool:
    """True if stdout can show any character."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def words(name: str) -> str:
    """An enum's name in words: `FETCH_ONE_ROW` -> `fetch one row`."""
    return name.lower().replace("_", " ")


def moment(stamp: Timestamp) -> str:
    """A time as `2024-01-10 15:30:00`, in UTC; empty if unset."""
    if not stamp.seconds and not stamp.nanos:
        return ""
    return f"{stamp.ToDatetime():%Y-%m-%d %H:%M:%S}"


def pairs_text(pairs: dict[str, str]) -> str:
    """Metadata in one line, in the order of the keys."""
    return ", ".join(f"{key}={value}" for key, value in sorted(pairs.items()))


def message_dict(message: Message) -> Any:
    """A message in its JSON form, with zeros and empty lists written out so that scripts can rely on them."""
    from blade_client.json_form import to_dict

    return _tidy(to_dict(message))


def _tidy(value: Any, *, free: bool = False) -> Any:
    """Whole numbers without `.0`; the keys of free-form objects in order, because protobuf maps have none."""
    if isinstance(value, dict):
        keys = sorted(value) if free else list(value)
        return {key: _tidy(value[key], free=free or key in {"data", "metadata"}) for key in keys}
    if isinstance(value, list):
        return [_tidy(each, free=free) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return value


def print_json(value: Any, *, lines: bool = False) -> None:
    """Prints a message or plain data as JSON; `lines` puts it on one line and sends it off at once."""
    if hasattr(value, "DESCRIPTOR"):
        value = message_dict(value)
    sys.stdout.write(json.dumps(value, ensure_ascii=not is_utf8(), indent=None if lines else 2) + "\n")
    sys.stdout.flush()


def _print(table: Any, file: IO[str] | None) -> None:
    """Prints without the blanks that rich fills lines up with."""
    shown = console(file)
    with shown.capture() as capture:
        shown.print(table, crop=False)
    for line in capture.get().splitlines():
        shown.file.write(line.rstrip() + "\n")
