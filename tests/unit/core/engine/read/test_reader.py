"""What the reader makes of a warehouse's batches."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from blade_server.core.engine.batches import Chunk, End
from blade_server.core.engine.ledger import Ledger, Past
from blade_server.core.engine.read.reader import CHUNK_BYTES, CHUNK_ROWS, TEXT_BYTES, Pass, Reader
from blade_server.core.transform.transform import Transform
from blade_server.model import Classification, RowMapping, Source, SourceConfig

SOURCE = Source(
    name="s",
    display_name="",
    data_type="t",
    enabled=True,
    config=SourceConfig(catalog="c", schema="s", table="t"),
    mapping=RowMapping(item_id="id", classification=Classification(value="UNCLASS")),
)


class Result:
    """A result of one batch; stands in for the warehouse too."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.schema = batch.schema
        self.rows_read = batch.num_rows
        self._batch = batch

    def execute(self, _statement: str, **_options: Any) -> Result:
        return self

    def __iter__(self):
        return iter([self._batch])

    def close(self) -> None: ...


def read(batch: pa.RecordBatch) -> list[Chunk]:
    messages: list[Chunk | End | BaseException] = []

    def inbox(message: Chunk | End | BaseException) -> None:
        messages.append(message)
        reader.consumed()

    warehouse: Any = Result(batch)
    reading = Pass(
        warehouse=warehouse,
        statement="",
        transform=lambda schema: Transform(SOURCE, schema, known_classifications=("UNCLASS",), metadata={}),
        ledger=Ledger(Past(np.zeros(0, dtype=np.uint64)), lambda _keys: set()),
    )
    reader = Reader(reading, inbox)
    reader.run()
    assert messages.pop() == End(rows_read=batch.num_rows)
    return [message for message in messages if isinstance(message, Chunk)]


FLAGS = pa.array([True, None] * 500)
NAMES = [f"{number:03}".rjust(150, "x") for number in range(400)]
WIDE = [
    dict.fromkeys(NAMES, FLAGS),
    {"nested": pa.StructArray.from_arrays([FLAGS] * len(NAMES), NAMES)},
    {"lists": pa.FixedSizeListArray.from_arrays(pa.StructArray.from_arrays([FLAGS] * 400, NAMES), 1)},
    {
        "maps": pa.MapArray.from_arrays(
            range(1001), pa.repeat("k", 1000), pa.StructArray.from_arrays([FLAGS] * 400, NAMES)
        )
    },
]


@pytest.mark.parametrize("columns", WIDE, ids=["columns", "struct", "list", "map"])
def test_a_chunk_of_small_values_under_long_names_is_bounded_as_text(columns):
    batch = pa.RecordBatch.from_pydict({"id": pa.array(range(1000)), **columns})
    assert batch.nbytes < CHUNK_BYTES
    chunks = read(batch)
    assert sum(len(chunk.items) for chunk in chunks) == 1000
    assert TEXT_BYTES / 2 < max(chunk.items.rows.nbytes for chunk in chunks) <= TEXT_BYTES


def test_ordinary_rows_come_in_as_few_chunks_as_may_be():
    batch = pa.RecordBatch.from_pydict({"id": pa.array(range(CHUNK_ROWS)), "text": pa.repeat("x" * 200, CHUNK_ROWS)})
    assert [len(chunk.items) for chunk in read(batch)] == [CHUNK_ROWS]


def test_a_repeated_row_is_told_from_another_row_with_its_id():
    batch = pa.RecordBatch.from_pydict({"id": ["a", "a", "b", "a"], "n": [1, 1, 2, 3]})
    (chunk,) = read(batch)
    assert chunk.items.item_ids == ["a", "b"]
    errors = [error for _, error in chunk.errors]
    assert [error.identical for error in errors] == [True, False]
    assert "item id 'a' and is equal to this one in every column; the first one read stays" in errors[0].message
    assert "item id 'a' and holds other values; the first one read stays" in errors[1].message
    assert [json.loads(error.row_json)["n"] for error in errors] == [1, 3]
