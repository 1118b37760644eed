"""Item id templates: `MAINT-{tail_number}-{due_date:%Y}` over Arrow columns; `{row:hash}` stands for all of them.

`core.sql.item_id_sql` writes the same string as SQL. Both must agree to the letter, or an item is not found by its id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import AnyArray, as_text, join_text, known_as
from blade_server.core.transform.columns import find_column, rows_where
from blade_server.core.transform.json_columns import plain_decimals
from blade_server.core.transform.row_hash import row_hashes
from blade_server.core.transform.times import in_calendar, is_time, iso_text, parse_times
from blade_server.errors import Reason

BLANKS = " \t\r\n"
"""What is cut off around a text value."""

_DIRECTIVES = {
    "Y": (0, 4),
    "y": (2, 4),
    "m": (5, 7),
    "d": (8, 10),
    "H": (11, 13),
    "M": (14, 16),
    "S": (17, 19),
    "j": (0, 0),
}
"""strftime part -> where it stands in ISO text; the day of the year stands nowhere."""

ROW_HASH = "{row:hash}"
"""Stands for 16 hex digits of the row's content."""

_PIECES = r"\{\{|\}\}|\{[^{}]*\}|[{}]|[^{}]+"
_BRACED_PIECES = r"\{\{|\}\}|\{(?:[^{}]|\{\{|\}\})*\}|[{}]|[^{}]+"
_FORMAT_PIECE = re.compile(r"([^%]+)|%(.)")
_ALLOWED = " ".join(f"%{letter}" for letter in _DIRECTIVES)


class TemplateError(ValueError):
    """The template is not one, or does not fit the columns; says what is wrong and what would do."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One piece of a template: a literal, a column with an optional strftime format, or the hash of the whole row."""

    literal: str = ""
    column: str = ""
    format: str = ""
    row_hash: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a row has no id: the column at fault, and in words what is wrong with it."""

    reason: Reason
    column: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """Ids of a batch, in order. An id is null exactly where `failures` has the row."""

    ids: pa.StringArray
    failures: Mapping[int, Failure]


@dataclass(frozen=True, kw_only=True)
class Template:
    """A parsed template.

    Attributes:
        text: as written.
        parts: its pieces, in order.
    """

    text: str
    parts: Sequence[Part] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template; text without braces is the name of a column.

        Raises:
            TemplateError: a brace without partner, a format part that is not allowed, or no column and no hash at all.
        """
        if not text.strip():
            raise TemplateError("is empty; name a column, or write a template like MAINT-{tail_number}-{due_date:%Y}")
        if "{" not in text and "}" not in text:
            return cls(text=text, parts=(Part(column=text.strip()),))
        try:
            parts = tuple(_parts(text))
        except TemplateError:
            # Only then: `{x}}}` is the column x and a brace.
            parts = tuple(_parts(text, braced_names=True))
        if not any(part.column or part.row_hash for part in parts):
            raise TemplateError(f"{text!r} names no column, so all items would have the same id; write {{column}}")
        return cls(text=text, parts=parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it names, as written, each once, in order."""
        return tuple(dict.fromkeys(part.column for part in self.parts if part.column))

    @property
    def row_hash(self) -> bool:
        """Whether it needs every column of the row."""
        return any(part.row_hash for part in self.parts)

    def names(self, schema: pa.Schema) -> tuple[str, ...]:
        """The same columns in the schema's own spelling.

        Raises:
            TemplateError: as `check`.
        """
        resolved = self.resolve({column.name: column.type for column in schema})
        return tuple(dict.fromkeys(name for _, name in resolved if name))

    def check(self, schema: pa.Schema) -> None:
        """See that the columns it names have types an id can be made of.

        Raises:
            TemplateError: a column is absent or ambiguous, or of a type that has no one spelling (floats, binary,
                nested).
        """
        self.resolve({column.name: column.type for column in schema})

    def render(self, batch: pa.RecordBatch) -> Rendered:
        """The ids of all rows. Text must be valid UTF-8.

        Raises:
            TemplateError: as `check`.
        """
        kinds = {column.name: column.type for column in batch.schema}
        failures: dict[int, Failure] = {}
        pieces: list[pa.StringArray | str] = []
        for part, name in self.resolve(kinds):
            if not name:
                pieces.append(row_hashes(batch) if part.row_hash else part.literal)
                continue
            column = batch.column(name)
            values = trimmed(column) if isinstance(column, pa.StringArray) else column
            for row in rows_where(values.is_null()):
                message = f"column {name!r} is null or blank, and the item id {self.text} needs it"
                failures.setdefault(row, Failure(reason=Reason.MISSING_ITEM_ID, column=name, message=message))
            piece = _formatted(values, part.format) if part.format else _spelled(values)
            for row in rows_where(pc.and_not(piece.is_null(), values.is_null())):
                one = column.slice(row, 1)
                shown = (iso_text(one) if is_time(one.type) else one)[0]
                message = f"column {name!r} holds {shown.as_py()[:80]!r}: {_expected(column.type)}"
                failures.setdefault(row, Failure(reason=Reason.UNSERIALISABLE_VALUE, column=name, message=message))
            pieces.append(piece)
        return Rendered(ids=join_text(*pieces), failures=failures)

    def resolve(self, types: Mapping[str, pa.DataType]) -> list[tuple[Part, str]]:
        """The parts, each with the real name of its column ('' for a literal and for the hash of the row).

        Args:
            types: column name -> type.

        Raises:
            TemplateError: as `check`.
        """
        names = list(types)
        resolved = []
        for part in self.parts:
            position = find_column(names, part.column) if part.column else None
            if part.column and position is None:
                raise TemplateError(f"{self.text!r} names the column {part.column!r}, which is absent or ambiguous")
            name = "" if position is None else names[position]
            if name:
                _check_type(name, types[name], part.format)
            resolved.append((part, name))
        return resolved


def format_pieces(pattern: str) -> list[tuple[str, str]]:
    """The pieces of a strftime format, in order: literal text and '', or '' and the letter of a part."""
    return _FORMAT_PIECE.findall(pattern)


def _parts(text: str, *, braced_names: bool = False) -> list[Part]:
    """Cut `text` at its braces; `{{` and `}}` are literal ones, inside of a column's name only with `braced_names`."""
    parts: list[Part] = []
    literal = ""
    for token in re.findall(_BRACED_PIECES if braced_names else _PIECES, text):
        if token in ("{{", "}}"):
            literal += token[0]
        elif token in ("{", "}"):
            raise TemplateError(f"{text!r} has a single {token!r}; write {token * 2} for the character itself")
        elif token[0] == "{":
            if literal:
                parts.append(Part(literal=literal))
            parts.append(_placeholder(token))
            literal = ""
        else:
            literal += token
    return [*parts, Part(literal=literal)] if literal else parts


def _placeholder(token: str) -> Part:
    if token == ROW_HASH:
        return Part(row_hash=True)
    column, colon, pattern = token[1:-1].replace("{{", "{").replace("}}", "}").partition(":")
    if not column.strip():
        raise TemplateError(f"{token} names no column; write {{column}} or {{column:%Y}}")
    if colon:
        wrong = [part for part in re.findall("%.?", pattern) if part[1:] not in _DIRECTIVES]
        if wrong:
            raise TemplateError(f"{token} has the format part {wrong[0]!r}; allowed are {_ALLOWED}")
        if "%" not in pattern:
            raise TemplateError(f"{token} has no format part behind the colon; allowed are {_ALLOWED}")
    return Part(column=column.strip(), format=pattern)


def _check_type(name: str, kind: pa.DataType, pattern: str) -> None:
    types = pa.types
    dated = types.is_date(kind) or types.is_timestamp(kind) or types.is_string(kind) or types.is_null(kind)
    exact = types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind)
    if pattern and not dated:
        wanted = "a date, a timestamp or ISO 8601 text"
        raise TemplateError(f"column {name!r} is of type {kind}; the date format {pattern} needs {wanted}")
    if not dated and not exact:
        raise TemplateError(
            f"column {name!r} is of type {kind}, which has no one spelling; "
            "an item id takes text, integers, booleans, decimals, dates and timestamps"
        )


def trimmed(texts: pa.StringArray) -> pa.StringArray:
    """Text without blanks around, null where nothing is left."""
    values = pc.utf8_trim(texts, BLANKS)
    empty = pc.equal(values, pa.scalar(""))
    return known_as(pa.StringArray, pc.if_else(empty, None, values)) if pc.any(empty).as_py() else values


def _spelled(column: AnyArray) -> pa.StringArray:
    """A value as written; null also where it cannot be."""
    if isinstance(column, pa.StringArray):
        return column
    kind = column.type
    if pa.types.is_decimal(kind):
        return plain_decimals(column)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return iso_text(in_calendar(column), zone="" if pa.types.is_date(kind) else "Z")
    return as_text(column)


def _formatted(column: AnyArray, pattern: str) -> pa.StringArray:
    """A date, timestamp or date text in a strftime format; null also where it cannot be read."""
    if pa.types.is_null(column.type):
        return as_text(column)
    times = parse_times(column, lenient=False) if isinstance(column, pa.StringArray) else in_calendar(column)
    text = iso_text(times)
    if pa.types.is_date(times.type):
        text = join_text(text, "T00:00:00")
    pieces: list[pa.StringArray | str] = []
    for literal, letter in format_pieces(pattern):
        if literal:
            pieces.append(literal)
        elif letter == "j":
            pieces.append(pc.utf8_lpad(as_text(pc.day_of_year(times)), 3, "0"))
        else:
            start, stop = _DIRECTIVES[letter]
            pieces.append(pc.utf8_slice_codeunits(text, start, stop))
    return join_text(*pieces)


def _expected(kind: pa.DataType) -> str:
    if pa.types.is_string(kind):
        return "not a date or time in ISO 8601 or YYYYMMDD, in the years 1 to 9999"
    return "an item id takes the years 1 to 9999"
