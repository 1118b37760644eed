"""Arrow columns to JSON text, a whole column at once and without Python objects on the way.

A job spends most of its processor time here and in the upload. Building the text in Arrow is several times faster
than `to_pylist` and a JSON encoder, keeps every digit of integers and decimals, and leaves the interpreter lock to the
uploads.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.json_text import in_quotes, is_plain, json_strings
from blade_server.core.transform.times import duration_text, interval_text, is_time, iso_text

_NULL = pa.scalar("null")


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type a column is cast to before anything else: one spelling of each thing.

    Raises:
        TypeError: the type has no JSON form here (unions, extensions; list views, whose cast pyarrow 26 gets wrong),
            or a struct has two fields of one name.
    """
    types = pa.types
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind):
        return pa.binary()
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if types.is_struct(kind):
        names = [field.name for field in kind]
        if len(set(names)) < len(names):
            raise TypeError(f"{kind} has two fields of one name")
        return pa.struct([(field.name, plain_type(field.type)) for field in kind])
    if isinstance(kind, pa.BaseExtensionType) or not _has_text(kind):
        raise TypeError(f"{kind} has no JSON form")
    return kind


def _has_text(kind: pa.DataType) -> bool:
    types = pa.types
    checks = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_string)
    return any(check(kind) for check in (*checks, types.is_binary, is_time, types.is_duration, types.is_interval))


def row_texts(columns: Sequence[pa.Array], names: Sequence[str], *, exact: bool = False) -> pa.Array:
    """One JSON object a row, columns in order; a string column without nulls.

    Args:
        columns: valid columns of `plain_type`s and equal length, at least one.
        names: their names.
        exact: NaN and infinities as strings instead of null, so that different rows have different text.
    """
    parts: list[Any] = []
    before = "{"
    for column, name in zip(columns, names, strict=True):
        quote, texts = _unquoted(column, exact=exact)
        parts += [before + orjson.dumps(name).decode() + ":" + quote, texts]
        before = quote + ","
    return pc.binary_join_element_wise(*parts, before[:-1] + "}", "")


def _unquoted(column: pa.Array, *, exact: bool) -> tuple[str, pa.Array]:
    """The JSON text of each value, without the quotes around it where all values have them and nothing is escaped."""
    if column.null_count == 0:
        if pa.types.is_string(column.type) and is_plain(column):
            return '"', column
        if pa.types.is_decimal(column.type):
            return '"', plain_decimals(column)
        if is_time(column.type):
            return '"', _time_texts(column)
    return "", json_texts(column, exact=exact)


def text_bytes(columns: Sequence[pa.Array], names: Sequence[str]) -> int:
    """About how much `row_texts` makes of columns of any type: a name is written as often as there are values."""
    return sum(
        (len(name) + 4) * len(column) + _value_bytes(column) for column, name in zip(columns, names, strict=True)
    )


def _value_bytes(column: pa.Array) -> int:
    kind, types = column.type, pa.types
    if types.is_struct(kind):
        return text_bytes(column.flatten(), [field.name for field in kind])
    if types.is_map(kind):
        return _value_bytes(column.keys) + _value_bytes(column.items)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _value_bytes(column.flatten())
    return int(column.nbytes) + len("null,") * len(column)


def json_texts(column: pa.Array, *, exact: bool = False) -> pa.Array:
    """The JSON text of each value; null becomes `null`."""
    return pc.fill_null(_texts(column, exact=exact), _NULL)


def _texts(column: pa.Array, *, exact: bool) -> pa.Array:
    """The same with null for null."""
    kind = column.type
    if pa.types.is_string(kind):
        return json_strings(column)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_floating(kind):
        return _float_texts(column, exact=exact)
    if pa.types.is_decimal(kind):
        return in_quotes(plain_decimals(column))
    if is_time(kind):
        return in_quotes(_time_texts(column))
    if pa.types.is_struct(kind):
        return _struct_texts(column, exact=exact)
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return _list_texts(column, exact=exact)
    if pa.types.is_duration(kind):
        return in_quotes(duration_text(column))
    if pa.types.is_interval(kind):
        return in_quotes(interval_text(column))
    encoded = [None if value is None else b64encode(value).decode() for value in column.to_pylist()]
    return in_quotes(pa.array(encoded, pa.string()))


def _time_texts(column: pa.Array) -> pa.Array:
    return iso_text(column, zone="Z" if pa.types.is_timestamp(column.type) and column.type.tz else "")


def plain_decimals(column: pa.Array) -> pa.Array:
    """Decimals with all digits of their scale and never with an exponent, as Databricks prints them."""
    texts = column.cast(pa.string())
    if not pc.any(pc.match_substring(texts, "E")).as_py():
        return texts
    return pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string())


def unreadable_rows(column: pa.Array) -> list[int]:
    """Rows whose value breaks its own type: text that is not UTF-8, at any depth. Nearly free if there are none."""
    if _is_valid(column):
        return []
    return [row for row in range(len(column)) if not _is_valid(column.take(pa.array([row])))]


def readable(column: pa.Array) -> pa.Array:
    """The column with text that is not UTF-8 replaced by `<not UTF-8: ...>`, bytes as backslash escapes."""
    kind = column.type
    if pa.types.is_string(kind):
        return pa.array([_decoded(value) for value in column.cast(pa.binary()).to_pylist()], kind)
    if pa.types.is_struct(kind):
        children = [readable(child) for child in column.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=column.is_null())
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        offsets, values = _elements(column)
        starts = pc.if_else(pa.concat_arrays([column.is_valid(), pa.array([True])]), offsets, None)
        if pa.types.is_list(kind):
            return pa.ListArray.from_arrays(starts, readable(values), type=kind)
        keys, items = values.flatten()
        return pa.MapArray.from_arrays(starts, readable(keys), readable(items), type=kind)
    return column


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoded(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"<not UTF-8: {value.decode(errors='backslashreplace')}>"


def _float_texts(column: pa.Array, *, exact: bool) -> pa.Array:
    texts = column.cast(pa.string())
    whole = pc.match_substring_regex(texts, r"^-?\d+$")
    if pc.any(whole).as_py():  # `1` and `-0` would come back as integers, the latter without its sign
        texts = pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    finite = pc.is_finite(column)
    if pc.all(finite).as_py():
        return texts
    return pc.if_else(finite, texts, in_quotes(texts) if exact else None)


def _struct_texts(column: pa.Array, *, exact: bool) -> pa.Array:
    names = [field.name for field in column.type]
    if not names:
        return pc.if_else(column.is_valid(), "{}", None)
    return pc.if_else(column.is_valid(), row_texts(column.flatten(), names, exact=exact), None)


def _list_texts(column: pa.Array, *, exact: bool) -> pa.Array:
    """Lists as arrays; maps as objects, or as arrays of entries where the keys are not scalars."""
    offsets, values = _elements(column)
    braces = "[]"
    if pa.types.is_map(column.type) and not pa.types.is_nested(column.type.key_type):
        keys, items = values.flatten()
        key_texts = json_texts(keys, exact=True)
        key_texts = pc.if_else(pc.starts_with(key_texts, '"'), key_texts, in_quotes(key_texts))
        texts = pc.binary_join_element_wise(key_texts, json_texts(items, exact=exact), ":")
        braces = "{}"
    else:
        texts = json_texts(values, exact=exact)
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, texts), ",")
    return pc.if_else(column.is_valid(), pc.binary_join_element_wise(braces[0], joined, braces[1], ""), None)


def _elements(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Offsets from 0 and the values of exactly these rows, also where they are a slice; map entries as structs."""
    if pa.types.is_map(column.type):
        entry = pa.struct([("key", column.type.key_type), ("value", column.type.item_type)])
        column = column.cast(pa.list_(entry))
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    return offsets, column.flatten()
