"""Items as columns: what a job moves from the warehouse to the catalog without a Python object for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.arrow.arrays import AnyArray, values
from blade_server.model import Item


class Items(Sequence[Item]):
    """Items of one data type and one metadata object, immutable.

    A sequence of `Item`, each made when it is asked for. The columns have equal lengths: `ids`, `classifications` and
    `last_modified` (RFC 3339 in UTC, or null) are text, `rows` holds the JSON of each row as bytes.
    """

    __slots__ = ("classifications", "data_type", "ids", "last_modified", "metadata", "rows")

    def __init__(
        self,
        *,
        data_type: str,
        metadata: Mapping[str, str],
        ids: pa.StringArray,
        rows: pa.BinaryArray,
        classifications: pa.StringArray,
        last_modified: pa.StringArray,
    ) -> None:
        self.data_type = data_type
        self.metadata = metadata
        self.ids = ids
        self.rows = rows
        self.classifications = classifications
        self.last_modified = last_modified

    @classmethod
    def of(cls, items: Sequence[Item]) -> Items:
        """At least one item, all of one data type and metadata.

        Raises ValueError if they are not, UnicodeEncodeError for text that is not Unicode.
        """
        if any((item.data_type, item.metadata) != (items[0].data_type, items[0].metadata) for item in items):
            raise ValueError("the items differ in data type or metadata")
        return cls(
            data_type=items[0].data_type,
            metadata=items[0].metadata,
            ids=pa.array([item.item_id for item in items], pa.string()),
            rows=pa.array([item.data_json for item in items], pa.binary()),
            classifications=pa.array([item.classification for item in items], pa.string()),
            last_modified=pa.array([item.last_modified for item in items], pa.string()),
        )

    @classmethod
    def joined(cls, parts: Sequence[Items]) -> Items:
        """These one after the other, at least one, of the same data type and metadata."""
        return parts[0]._with(
            pa.concat_arrays(part.ids for part in parts),
            pa.concat_arrays(part.rows for part in parts),
            pa.concat_arrays(part.classifications for part in parts),
            pa.concat_arrays(part.last_modified for part in parts),
        )

    @property
    def item_ids(self) -> list[str]:
        """The ids, as Python objects."""
        return values(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Items):
            return NotImplemented
        mine, theirs = (self.data_type, self.metadata), (other.data_type, other.metadata)
        return mine == theirs and all(a.equals(b) for a, b in zip(self._columns, other._columns, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Item]:
        ids, rows, classifications, last_modified = (column.to_pylist() for column in self._columns)
        fields = zip(ids, repeat(self.data_type), rows, classifications, last_modified, repeat(self.metadata))
        return map(Item._make, fields)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> Items: ...
    def __getitem__(self, at: int | slice) -> Item | Items:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                return self.take(range(start, stop, step))
            span = start, max(0, stop - start)
            return self._with(
                self.ids.slice(*span),
                self.rows.slice(*span),
                self.classifications.slice(*span),
                self.last_modified.slice(*span),
            )
        item_id, row, classification, modified = (column[at].as_py() for column in self._columns)
        return Item(item_id, self.data_type, row, classification, modified, self.metadata)

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> Items:
        """The items at these places, in this order."""
        chosen = pa.array(places, pa.int64())
        return self._with(
            self.ids.take(chosen),
            self.rows.take(chosen),
            self.classifications.take(chosen),
            self.last_modified.take(chosen),
        )

    @property
    def _columns(self) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
        return self.ids, self.rows, self.classifications, self.last_modified

    def _with(
        self, ids: pa.StringArray, rows: pa.BinaryArray, classifications: pa.StringArray, last_modified: pa.StringArray
    ) -> Items:
        return Items(
            data_type=self.data_type,
            metadata=self.metadata,
            ids=ids,
            rows=rows,
            classifications=classifications,
            last_modified=last_modified,
        )
