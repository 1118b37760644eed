"""Arrow columns to JSON text, a whole column at once and without Python objects on the way.

A job spends most of its processor time here and in the upload. Building the text in Arrow is several times faster
than `to_pylist` and a JSON encoder, keeps every digit of integers and decimals, and leaves the interpreter lock to the
uploads.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import AnyArray, as_bytes, as_text, fill_null, join_text, known_as
from blade_server.arrow.json_text import in_quotes, is_plain, json_strings
from blade_server.core.transform.times import duration_text, interval_text, is_time, iso_text


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


def row_texts(
    columns: Sequence[AnyArray],
    names: Sequence[str],
    *,
    written: Mapping[int, pa.StringArray] = MappingProxyType({}),
    exact: bool = False,
) -> pa.StringArray:
    """One JSON object a row, columns in order; a string column without nulls.

    Args:
        columns: valid columns of `plain_type`s and equal length, at least one.
        names: their names.
        written: of columns by their places, what stands between the quotes, where that is known.
        exact: NaN and infinities as strings instead of null, so that different rows have different text.
    """
    parts: list[pa.StringArray | str] = []
    before = "{"
    for place, (column, name) in enumerate(zip(columns, names, strict=True)):
        quote, texts = ('"', written[place]) if place in written else _unquoted(column, exact=exact)
        parts += [before + orjson.dumps(name).decode() + ":" + quote, texts]
        before = quote + ","
    return join_text(*parts, before[:-1] + "}")


def _unquoted(column: AnyArray, *, exact: bool) -> tuple[str, pa.StringArray]:
    """The JSON text of each value, without the quotes around it where all values have them and nothing is escaped."""
    if column.null_count == 0:
        if isinstance(column, pa.StringArray) and is_plain(column):
            return '"', column
        if pa.types.is_decimal(column.type):
            return '"', plain_decimals(column)
        if is_time(column.type):
            return '"', _time_texts(column)
    return "", json_texts(column, exact=exact)


def text_bytes(columns: Sequence[AnyArray], names: Sequence[str]) -> int:
    """About how much `row_texts` makes of columns of any type: a name is written as often as there are values."""
    return sum(
        (len(name) + 4) * len(column) + _value_bytes(column) for column, name in zip(columns, names, strict=True)
    )


def _value_bytes(column: AnyArray) -> int:
    if isinstance(column, pa.StructArray):
        return text_bytes(column.flatten(), [field.name for field in column.type])
    if isinstance(column, pa.MapArray):
        return _value_bytes(column.keys) + _value_bytes(column.items)
    if isinstance(column, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)):
        return _value_bytes(column.flatten())
    return int(column.nbytes) + len("null,") * len(column)


def json_texts(column: AnyArray, *, exact: bool = False) -> pa.StringArray:
    """The JSON text of each value; null becomes `null`."""
    return fill_null(_texts(column, exact=exact), "null")


def _texts(column: AnyArray, *, exact: bool) -> pa.StringArray:
    """The same with null for null."""
    if isinstance(column, pa.StringArray):
        return json_strings(column)
    if isinstance(column, pa.StructArray):
        return _struct_texts(column, exact=exact)
    if isinstance(column, pa.ListArray):
        return _list_texts(column, exact=exact)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return as_text(column)
    if pa.types.is_floating(kind):
        return _float_texts(column, exact=exact)
    return in_quotes(bare_texts(column))


def bare_texts(column: AnyArray) -> pa.StringArray:
    """The JSON text of each value, with NaN and infinities, without what makes a string of it; null stays null."""
    kind = column.type
    if isinstance(column, pa.StringArray):
        return column
    if pa.types.is_decimal(kind):
        return plain_decimals(column)
    if is_time(kind):
        return _time_texts(column)
    if pa.types.is_duration(kind):
        return duration_text(column)
    if pa.types.is_interval(kind):
        return interval_text(column)
    if pa.types.is_binary(kind):
        encoded = [None if value is None else b64encode(value).decode() for value in column.to_pylist()]
        return pa.array(encoded, pa.string())
    return _texts(column, exact=True)


def _time_texts(column: AnyArray) -> pa.StringArray:
    return iso_text(column, zone="Z" if pa.types.is_timestamp(column.type) and column.type.tz else "")


def plain_decimals(column: AnyArray) -> pa.StringArray:
    """Decimals with all digits of their scale and never with an exponent, as Databricks prints them."""
    texts = as_text(column)
    if not pc.any(pc.match_substring(texts, "E")).as_py():
        return texts
    return pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string())


def unreadable_rows(column: AnyArray) -> list[int]:
    """Rows whose value breaks its own type: text that is not UTF-8, at any depth. Nearly free if there are none."""
    if _is_valid(column):
        return []
    return [row for row in range(len(column)) if not _is_valid(column.take(pa.array([row])))]


def readable(column: AnyArray) -> AnyArray:
    """The column with text that is not UTF-8 replaced by `<not UTF-8: ...>`, bytes as backslash escapes."""
    if isinstance(column, pa.StringArray):
        return pa.array([_decoded(value) for value in as_bytes(column).to_pylist()], pa.string())
    if isinstance(column, pa.StructArray):
        children = [readable(child) for child in column.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(column.type), mask=column.is_null())
    if isinstance(column, pa.ListArray):
        offsets, elements = _elements(column)
        starts = pc.if_else(pa.concat_arrays([column.is_valid(), pa.array([True])]), offsets, None)
        if not isinstance(column, pa.MapArray):
            return pa.ListArray.from_arrays(starts, readable(elements), type=column.type)
        keys, items = known_as(pa.StructArray, elements).flatten()
        return pa.MapArray.from_arrays(starts, readable(keys), readable(items))
    return column


def _is_valid(column: AnyArray) -> bool:
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


def _float_texts(column: AnyArray, *, exact: bool) -> pa.StringArray:
    texts = as_text(column)
    whole = pc.match_substring_regex(texts, r"^-?\d+$")
    if pc.any(whole).as_py():  # `1` and `-0` would come back as integers, the latter without its sign
        texts = pc.if_else(whole, join_text(texts, ".0"), texts)
    finite = pc.is_finite(column)
    if pc.all(finite).as_py():
        return texts
    return known_as(pa.StringArray, pc.if_else(finite, texts, in_quotes(texts) if exact else None))


def _struct_texts(column: pa.StructArray, *, exact: bool) -> pa.StringArray:
    names = [field.name for field in column.type]
    texts = row_texts(column.flatten(), names, exact=exact) if names else "{}"
    return known_as(pa.StringArray, pc.if_else(column.is_valid(), texts, None))


def _list_texts(column: pa.ListArray[Any], *, exact: bool) -> pa.StringArray:
    """Lists as arrays; maps as objects, or as arrays of entries where the keys are not scalars."""
    offsets, elements = _elements(column)
    braces = "[]"
    if isinstance(column, pa.MapArray) and not pa.types.is_nested(column.type.key_type):
        keys, items = known_as(pa.StructArray, elements).flatten()
        key_texts = json_texts(keys, exact=True)
        key_texts = pc.if_else(pc.starts_with(key_texts, '"'), key_texts, in_quotes(key_texts))
        texts = join_text(key_texts, ":", json_texts(items, exact=exact))
        braces = "{}"
    else:
        texts = json_texts(elements, exact=exact)
    joined = known_as(pa.StringArray, pc.binary_join(pa.ListArray.from_arrays(offsets, texts), ","))
    bracketed = join_text(braces[0], joined, braces[1])
    return known_as(pa.StringArray, pc.if_else(column.is_valid(), bracketed, None))


def _elements(column: pa.ListArray[Any]) -> tuple[pa.Int32Array, AnyArray]:
    """Offsets from 0 and the values of exactly these rows, also where they are a slice; map entries as structs."""
    if isinstance(column, pa.MapArray):
        entry = pa.struct([("key", column.type.key_type), ("value", column.type.item_type)])
        column = known_as(pa.ListArray, column.cast(pa.list_(entry)))
    lengths = fill_null(known_as(pa.Int32Array, pc.list_value_length(column)), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    return offsets, column.flatten()
