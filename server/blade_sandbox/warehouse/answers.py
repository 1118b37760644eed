"""What commands answer: a table of text, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from blade_sandbox.warehouse.statements import Command

NO_ROWS = pa.table({})
"""The answer of a statement that has no result columns."""


def answering(build: Callable[[], pa.Table]) -> Command:
    """A command that answers what ``build`` returns when it is run."""
    return Command(run=lambda cursor: build())


def doing(work: Callable[[], object]) -> Command:
    """A command that does its work and answers nothing."""
    return Command(run=lambda cursor: (work(), NO_ROWS)[1])


def nothing() -> Command:
    """A statement that is accepted and changes nothing."""
    return doing(lambda: None)


def text_table(names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> pa.Table:
    """A table of string columns."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.table([pa.array(column, pa.string()) for column in columns], names=list(names))


def settings_table(rows: Sequence[tuple[str, str]]) -> pa.Table:
    """The key/value answer of SET and SHOW TBLPROPERTIES."""
    return text_table(["key", "value"], rows)
