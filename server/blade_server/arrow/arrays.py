"""Arrow arrays by what they hold, where pyarrow's own functions (or their stubs) say less than that.

Each is checked when it runs, so that a type which is said here is one that is there.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

AnyArray: TypeAlias = "pa.Array[Any]"
"""An array of any type."""

A = TypeVar("A", bound="pa.Array[Any]")


def known_as(kind: type[A], array: object) -> A:
    """The array, which is one of this kind."""
    assert isinstance(array, kind), f"{type(array).__name__} is no {kind.__name__}"
    return array


def as_text(array: AnyArray) -> pa.StringArray:
    """The array cast to text. Raises pa.ArrowInvalid for bytes that are not UTF-8."""
    return known_as(pa.StringArray, array.cast(pa.string()))


def as_bytes(array: AnyArray) -> pa.BinaryArray:
    """An array of text cast to bytes; without a copy."""
    return known_as(pa.BinaryArray, array.cast(pa.binary()))


def as_int64(array: AnyArray) -> pa.Int64Array:
    """The array cast to 64-bit integers; of times and dates, their ticks."""
    return known_as(pa.Int64Array, array.cast(pa.int64()))


def fill_null(array: A, value: Any) -> A:
    """The array with the value in the place of each null."""
    return known_as(type(array), pc.fill_null(array, value))


def join_text(*pieces: pa.StringArray | str) -> pa.StringArray:
    """The pieces put together row by row, at least one of them an array; null where one piece is."""
    arguments: list[Any] = [*pieces, ""]
    return known_as(pa.StringArray, pc.binary_join_element_wise(*arguments))


def join_bytes(*pieces: pa.BinaryArray | bytes) -> pa.BinaryArray:
    """As `join_text`."""
    arguments: list[Any] = [*pieces, b""]
    return known_as(pa.BinaryArray, pc.binary_join_element_wise(*arguments))


@overload
def values(array: pa.StringArray) -> list[str]: ...
@overload
def values(array: pa.BinaryArray) -> list[bytes]: ...
@overload
def values(array: pa.Int64Array | pa.UInt64Array) -> list[int]: ...
def values(array: AnyArray) -> list[Any]:
    """The values of an array that has no null, as Python objects."""
    assert array.null_count == 0
    return array.to_pylist()


def contents(array: pa.StringArray | pa.BinaryArray) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Where each value begins and the last one ends, and the bytes all values lie in, without a copy."""
    buffers: list[Any] = array.buffers()  # numpy reads them, which the stubs do not say
    _, offsets, data = buffers
    begins = np.frombuffer(offsets or bytes(4), np.int32)[array.offset : array.offset + len(array) + 1]
    return begins, np.frombuffer(data or b"", np.uint8)
