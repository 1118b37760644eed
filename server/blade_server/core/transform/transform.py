"""Rows to catalog items by a source's mapping, a whole Arrow batch at once; rows that cannot be items are set aside.

Compiled once for the schema of a result. It decides nothing about where rows come from or go to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import AnyArray, as_bytes, as_text, values
from blade_server.arrow.items import Items
from blade_server.arrow.json_text import is_printable
from blade_server.core.transform.classifications import above, highest, raised
from blade_server.core.transform.columns import find_column, require_column, rows_where
from blade_server.core.transform.item_ids import Template, TemplateError, trimmed
from blade_server.core.transform.json_columns import plain_type, readable, row_texts, unreadable_rows
from blade_server.core.transform.times import in_calendar, is_time, iso_text, parse_times
from blade_server.errors import Invalid, Reason
from blade_server.model import MAX_ROW_JSON_BYTES, ItemError, Overrides, RowMapping, Source, Stage

MAX_ITEM_ID_CHARACTERS = 512
"""Longest item id; it is part of URLs."""

_TIMES_READ = "not a time in ISO 8601, YYYYMMDD or M/D/YYYY H:MM:SS, in the years 1 to 9999"
_MAX_SHOWN_CHARACTERS = 80
_MAX_AT_ONCE_BYTES = 1 << 28
_ITEM_ID, _LAST_MODIFIED, _CLASSIFICATION = "item_id", "last_modified", "classification"


class Rejected(NamedTuple):
    """A row that could not become an item.

    `fingerprint` is a 16-byte digest of the whole row: equal for equal rows, in whatever batch and order they come.
    """

    error: ItemError
    fingerprint: bytes


class Transformed(NamedTuple):
    """What became of a batch: together all its rows, each in the order of the rows."""

    items: Items
    rejected: list[Rejected]


class _Fault(NamedTuple):
    reason: Reason
    field: str
    message: str


_Faults = dict[int, _Fault]


class Transform:
    """Makes items of the rows of one result. Keeps no state between batches; safe in several threads."""

    def __init__(
        self,
        source: Source,
        schema: pa.Schema,
        *,
        known_classifications: Sequence[str],
        metadata: Mapping[str, str],
        overrides: Overrides | None = None,
        ceiling: str = "",
    ) -> None:
        """Compile the mapping of `source` for a schema.

        Args:
            source: gives the mapping and the data type.
            schema: of every batch to come.
            known_classifications: lowest first; all others are rejected.
            metadata: of every item; this very object, not a copy.
            overrides: what takes the place of the mapping's for a query that a caller wrote; None: the rows are the
                source's own.
            ceiling: the highest classification of an item; empty: any.

        Raises:
            Precondition: MISSING_COLUMN, the mapping names a column the schema lacks.
            Invalid: two columns of one name or a type without a JSON form (INVALID_SQL), or a mapping that does not fit
                the types.
        """
        self._data_type = source.data_type
        self._metadata = metadata
        self._known = pa.array(known_classifications, pa.string())
        self._schema = schema
        self._names = list(schema.names)
        self._plain = _plain_schema(schema)
        self._overrides, own = overrides, overrides or Overrides()
        mapping = source.mapping
        self.item_id_field = self._field(_ITEM_ID)
        """What gives the item ids, as errors name it."""
        self.template = own.item_id or mapping.item_id
        """Of the item ids, as written."""
        self._template = self._compiled(self.template)
        self._last_modified = self._position(self._last_modified_column(mapping), _LAST_MODIFIED)
        self._fixed_classification = own.classification or mapping.classification.value
        self._least = highest(known_classifications, mapping.min_classification, own.min_classification)
        column = "" if self._fixed_classification else mapping.classification.column
        self._classification = self._position(column, _CLASSIFICATION)
        if self._last_modified is not None:
            _check_last_modified(self._plain.field(self._last_modified), self._field(_LAST_MODIFIED))
        if self._classification is not None:
            _check_classification(self._plain.field(self._classification), self._field(_CLASSIFICATION))
        if self._least and self._least not in known_classifications:
            raise Invalid.field("mapping.min_classification", f"{_shown(self._least)} is not one this server knows")
        self._ceiling = ceiling
        if ceiling and ceiling not in known_classifications:
            raise Invalid.field("destination.ceiling", f"{_shown(ceiling)} is not one this server knows")

    def __call__(self, batch: pa.RecordBatch) -> Transformed:
        """Transform a batch of the schema. Never fails for what a row holds."""
        if batch.nbytes > _MAX_AT_ONCE_BYTES and batch.num_rows > 1:
            half = batch.num_rows // 2
            return self.all([batch.slice(0, half), batch.slice(half)])
        batch, unreadable = self._readable(batch)
        faults: _Faults = {}
        ids = self._ids(batch, faults)
        classifications = self._classifications(batch, faults)
        last_modified = self._times(batch, faults)
        for row, fault in unreadable.items():
            faults.setdefault(row, fault)
        items = Items(
            data_type=self._data_type,
            metadata=self._metadata,
            ids=ids,
            rows=as_bytes(row_texts(batch.columns, self._names, written=self._written(batch, last_modified))),
            classifications=classifications,
            last_modified=last_modified,
        )
        if not faults:
            return Transformed(items, [])
        good = [row for row in range(len(items)) if row not in faults]
        return Transformed(items.take(good), self._rejected(batch, items, faults))

    def all(self, batches: Iterable[pa.RecordBatch]) -> Transformed:
        """Transform several batches, or none, into one: for results that fit into memory."""
        parts = [self(batch) for batch in batches] or [self(pa.RecordBatch.from_pylist([], schema=self._schema))]
        items = Items.joined([part.items for part in parts])
        return Transformed(items, [row for part in parts for row in part.rejected])

    def fingerprints(self, batch: pa.RecordBatch) -> list[bytes]:
        """The fingerprint of every row of a batch, as `Rejected` has it."""
        return self._fingerprints(self._readable(batch)[0])

    def _field(self, name: str) -> str:
        """The field that says it: the query's own or the mapping's."""
        return name if self._overrides and getattr(self._overrides, name) else f"mapping.{name}"

    def _position(self, column: str, name: str) -> int | None:
        return require_column(self._names, column, self._field(name), self._way_out(name)) if column else None

    def _way_out(self, name: str) -> str:
        if self._overrides is None:
            return ""
        return f"; select it, or set {name} for this job{' (empty: none)' if name == _LAST_MODIFIED else ''}"

    def _last_modified_column(self, mapping: RowMapping) -> str:
        own = self._overrides or Overrides()
        if own.last_modified is not None:
            return own.last_modified
        column = mapping.last_modified or ""
        # Items that the query makes anew need not have it: an aggregate has no time of its own.
        return "" if own.item_id and find_column(self._names, column) is None else column

    def _compiled(self, text: str) -> Template:
        try:
            template = Template.parse(text)
            for column in template.columns:
                require_column(self._names, column, self.item_id_field, self._way_out(_ITEM_ID))
            template.check(self._plain)
        except TemplateError as error:
            raise Invalid.field(self.item_id_field, str(error)) from error
        return template

    def _readable(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, _Faults]:
        """The batch in plain types and valid text, and the rows that had text which was not."""
        faults: _Faults = {}
        columns = []
        for column, field in zip(batch.columns, self._plain, strict=True):
            plain = column if column.type == field.type else column.cast(field.type)
            rows = unreadable_rows(plain)
            for row in rows:
                message = f"column {field.name!r} holds a value that is no valid {field.type}; text must be UTF-8"
                faults.setdefault(row, _Fault(Reason.UNSERIALISABLE_VALUE, field.name, message))
            columns.append(readable(plain) if rows else plain)
        return pa.RecordBatch.from_arrays(columns, schema=self._plain), faults

    def _ids(self, batch: pa.RecordBatch, faults: _Faults) -> pa.StringArray:
        rendered = self._template.render(batch)
        for row, failure in rendered.failures.items():
            faults[row] = _Fault(failure.reason, failure.column, failure.message)
        ids = rendered.ids
        wrong = pc.greater(pc.utf8_length(ids), pa.scalar(MAX_ITEM_ID_CHARACTERS))
        if not is_printable(ids):
            wrong = pc.or_(wrong, pc.match_substring_regex(ids, r"\p{Cc}"))
        for row in rows_where(wrong):
            message = (
                f"item id {_shown(ids[row].as_py())} is longer than {MAX_ITEM_ID_CHARACTERS} characters "
                "or has control characters"
            )
            faults[row] = _Fault(Reason.UNSERIALISABLE_VALUE, self.item_id_field, message)
        return ids

    def _classifications(self, batch: pa.RecordBatch, faults: _Faults) -> pa.StringArray:
        if self._classification is None:
            field, origin = self._field(_CLASSIFICATION), "the fixed classification"
            found = trimmed(pa.repeat(self._fixed_classification, batch.num_rows))
        else:
            field = self._names[self._classification]
            origin = f"column {field!r}, which gives the classification,"
            found = trimmed(as_text(batch.column(self._classification)))
        for row in rows_where(found.is_null()):
            faults.setdefault(row, _Fault(Reason.MISSING_CLASSIFICATION, field, f"{origin} is null or blank"))
        for row in rows_where(pc.and_not(found.is_valid(), pc.is_in(found, self._known))):
            known = ", ".join(values(self._known))
            message = f"classification {_shown(found[row].as_py())} is not one this server knows; known: {known}"
            faults.setdefault(row, _Fault(Reason.UNKNOWN_CLASSIFICATION, field, message))
        found = raised(found, self._known, self._least) if self._least else found
        if self._ceiling:
            for row in rows_where(above(found, self._known, self._ceiling)):
                message = f"the item is {_shown(found[row].as_py())}, above the destination's ceiling {self._ceiling}"
                faults.setdefault(row, _Fault(Reason.CLASSIFICATION_ABOVE_CEILING, field, message))
        return found

    def _times(self, batch: pa.RecordBatch, faults: _Faults) -> pa.StringArray:
        if self._last_modified is None:
            return pa.nulls(batch.num_rows, pa.string())
        column = batch.column(self._last_modified)
        if pa.types.is_null(column.type):
            return as_text(column)
        times: AnyArray
        if isinstance(column, pa.StringArray):
            column = trimmed(column)
            times = parse_times(column, lenient=True)
        else:
            times = in_calendar(column)
        name = self._names[self._last_modified]
        for row in rows_where(pc.and_not(times.is_null(), column.is_null())):
            one = column.slice(row, 1)
            shown = (iso_text(one) if is_time(one.type) else one)[0]
            message = f"column {name!r} holds {_shown(shown.as_py())}: {_TIMES_READ}"
            faults.setdefault(row, _Fault(Reason.UNSERIALISABLE_VALUE, name, message))
        return iso_text(times.cast(pa.timestamp("ms")) if pa.types.is_date(times.type) else times, zone="Z")

    def _written(self, batch: pa.RecordBatch, last_modified: pa.StringArray) -> dict[int, pa.StringArray]:
        """The column that gives the times of the items, where the JSON of a row has it as those have it."""
        place = self._last_modified
        if place is None or last_modified.null_count:
            return {}
        kind = batch.column(place).type
        return {place: last_modified} if pa.types.is_timestamp(kind) and kind.tz else {}

    def _rejected(self, batch: pa.RecordBatch, items: Items, faults: _Faults) -> list[Rejected]:
        failed = sorted(faults)
        of_id = {self.item_id_field, *self._template.names(self._plain)}
        rejected = []
        places = pa.array(failed)
        ids, rows = items.ids.take(places).to_pylist(), values(items.rows.take(places))
        fingerprints = self._fingerprints(batch.take(places))
        for place, item_id, row, fingerprint in zip(failed, ids, rows, fingerprints, strict=True):
            fault = faults[place]
            error = ItemError(
                item_id="" if item_id is None or fault.field in of_id else item_id,
                stage=Stage.TRANSFORM,
                reason=fault.reason,
                field=fault.field,
                message=fault.message,
                row_json=row[:MAX_ROW_JSON_BYTES].decode(errors="ignore"),
            )
            rejected.append(Rejected(error, fingerprint))
        return rejected

    def _fingerprints(self, batch: pa.RecordBatch) -> list[bytes]:
        batch = batch.select(sorted(self._names))
        texts = as_bytes(row_texts(batch.columns, batch.schema.names, exact=True))
        return [blake2b(text, digest_size=16).digest() for text in values(texts)]


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        shown = ", ".join(repr(name) for name in twice)
        way_out = "give each a name of its own with AS, or name the columns in place of *"
        description = f"the result has more than one column of the name {shown}; {way_out}"
        raise Invalid.field("sql", description, reason=Reason.INVALID_SQL)
    if not schema.names:
        raise Invalid.field("sql", "the result has no columns", reason=Reason.INVALID_SQL)
    fields = []
    for field in schema:
        try:
            fields.append(pa.field(field.name, plain_type(field.type)))
        except TypeError as error:
            description = f"column {field.name!r}: {error}; cast it to STRING or leave it out"
            raise Invalid.field("sql", description, reason=Reason.INVALID_SQL) from error
    return pa.schema(fields)


def _check_last_modified(column: pa.Field[pa.DataType], field: str) -> None:
    kind, types = column.type, pa.types
    if not any(check(kind) for check in (types.is_date, types.is_timestamp, types.is_string, types.is_null)):
        description = f"column {column.name!r} is of type {kind}; a timestamp, a date or text is needed"
        raise Invalid.field(field, description)


def _check_classification(column: pa.Field[pa.DataType], field: str) -> None:
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        description = f"column {column.name!r} is of type {kind}; text is needed"
        raise Invalid.field(f"{field}.column", description)


def _shown(value: str) -> str:
    return repr(value[:_MAX_SHOWN_CHARACTERS])
