"""Item errors as CSV that a spreadsheet opens without running anything of it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC
from typing import IO

from blade.v1.job_pb2 import ItemError
from blade_client.cli.job_forms import reason_name

COLUMNS = ("item_id", "stage", "reason", "field", "attempts", "time", "message", "row")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(errors: Iterable[ItemError], file: IO[bytes]) -> int:
    """Writes a line of names and one for each error, in UTF-8 and ended as RFC 4180 has it. Returns how many errors.

    A value that a spreadsheet would take for a formula gets a quote mark in front.
    """
    writer = csv.writer(_Utf8(file))
    writer.writerow(COLUMNS)
    count = 0
    for each in errors:
        writer.writerow([guarded(value) for value in _values(each)])
        count += 1
    return count


class _Utf8:
    """Text for a file of bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        """Writes it; what UTF-8 cannot say is spelled out."""
        self._file.write(text.encode("utf-8", "backslashreplace"))


def guarded(value: str) -> str:
    """The value, behind a quote mark if it begins as a formula does."""
    return f"'{value}" if value.startswith(_FORMULA) else value


def _values(error: ItemError) -> list[str]:
    return [
        error.item_id,
        ItemError.Stage.Name(error.stage),
        reason_name(error.reason),
        error.field,
        str(error.attempts),
        error.create_time.ToDatetime(tzinfo=UTC).isoformat() if error.HasField("create_time") else "",
        error.message,
        error.row_json,
    ]
