"""QueryItems and QueryArrow over a query made by hand: order, completeness, back-pressure, and clients that leave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import grpc
import pyarrow as pa
import pytest
from tests.support.nouns import a_job, a_source
from tests.support.waiting import wait_still

from blade.v1 import job_service_pb2, job_service_pb2_grpc, query_service_pb2, query_service_pb2_grpc
from blade_server.core.transform.transform import Rejected, Transformed
from blade_server.errors import Reason, ResultTruncated, StatementCancelled, WarehouseUnavailable
from blade_server.model import Item, ItemError, RowQuery, Stage
from blade_server.rpc.threaded_stream import LOOK_AHEAD

from .conftest import TIMEOUT_S, RpcWorld, failure

ARROW = query_service_pb2.QueryArrowRequest


class Rows:
    """A query made by hand: what it gives, and what was done to it."""

    def __init__(self, batches: Any, schema: pa.Schema | None = None) -> None:
        self._batches = batches
        self.schema = schema
        self.source = a_source()
        self.more_rows = False
        self.taken = 0
        self.cancelled = threading.Event()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            self.taken += 1
            yield batch

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        self.closed.set()


def an_item(number: int, data_json: bytes = b"{}") -> Item:
    return Item(f"P-{number}", "maintenance", data_json, "UNCLASS", None, {})


def a_rejection(number: int) -> Rejected:
    error = ItemError(item_id=f"P-{number}", stage=Stage.TRANSFORM, reason=Reason.MISSING_ITEM_ID, message="blank")
    return Rejected(error, b"0" * 16)


def stub(world: RpcWorld) -> Any:
    return query_service_pb2_grpc.QueryServiceStub(world.channel)


def query_items(world: RpcWorld, **options: Any) -> Any:
    return stub(world).QueryItems(query_service_pb2.QueryItemsRequest(data_type="maintenance"), **options)


def query_arrow(world: RpcWorld, **request: Any) -> tuple[pa.Table, int, list[int]]:
    """The table, the row count of the trailer, and the sizes of the messages with rows."""
    parts = list(stub(world).QueryArrow(ARROW(data_type="maintenance", **request), timeout=TIMEOUT_S))
    kinds = [part.WhichOneof("part") for part in parts]
    assert kinds == ["schema", *["record_batch"] * (len(parts) - 2), "trailer"]
    messages = [part.record_batch for part in parts[1:-1]]
    for message in messages:
        assert len(list(pa.ipc.MessageReader.open_stream(pa.BufferReader(message)))) == 1
    table = pa.ipc.open_stream(b"".join([parts[0].schema, *messages])).read_all()
    return table, parts[-1].trailer.row_count, [len(message) for message in messages]


def test_a_request_reaches_core_with_its_fields_and_unset_ones_are_none(world: RpcWorld) -> None:
    asked: dict[str, Any] = {}

    def items(query: RowQuery) -> Rows:
        asked.update(asdict(query))
        return Rows([])

    world.queries.items = items
    request = query_service_pb2.QueryItemsRequest(
        data_type="d", filter="a = :p", parameters={"p": "1"}, columns=["a"], order_by=["a desc"], offset=3
    )

    assert list(stub(world).QueryItems(request, timeout=TIMEOUT_S)) == []
    assert asked == {
        "data_type": "d",
        "source": "",
        "filter": "a = :p",
        "parameters": {"p": "1"},
        "columns": ["a"],
        "order_by": ["a desc"],
        "limit": None,
        "offset": 3,
    }


def test_items_come_in_order_in_chunks_of_at_most_100_rows_with_rejections(world: RpcWorld) -> None:
    batches = [
        Transformed([an_item(n) for n in range(250)], [a_rejection(n) for n in range(120)]),
        Transformed([], []),
        Transformed([an_item(n) for n in range(250, 260)], []),
    ]
    world.queries.items = lambda _: Rows(batches)

    chunks = list(query_items(world, timeout=TIMEOUT_S))

    assert [item.item_id for chunk in chunks for item in chunk.items] == [f"P-{n}" for n in range(260)]
    assert sum(len(chunk.rejections) for chunk in chunks) == 120
    assert all(0 < len(chunk.items) + len(chunk.rejections) <= 100 for chunk in chunks)


def test_the_last_chunk_says_that_the_limit_leaves_rows_out(world: RpcWorld) -> None:
    rows = Rows([Transformed([an_item(1)], [])])
    rows.more_rows = True
    world.queries.items = lambda _: rows

    assert [chunk.more_rows for chunk in query_items(world, timeout=TIMEOUT_S)] == [False, True]


def test_chunks_of_large_rows_fit_into_the_4_mib_that_clients_take_by_default(world: RpcWorld) -> None:
    large = b'{"text": "' + b"x" * 500_000 + b'"}'
    world.queries.items = lambda _: Rows([Transformed([an_item(n, large) for n in range(30)], [])])

    chunks = list(query_items(world, timeout=TIMEOUT_S))

    assert sum(len(chunk.items) for chunk in chunks) == 30


def test_an_arrow_query_carries_every_type_as_it_is(world: RpcWorld) -> None:
    table = pa.table(
        {
            "big": pa.array([2**63 - 1, None, -(2**63)], pa.int64()),
            "amount": pa.array([Decimal("1.10"), None, Decimal("-99.99")], pa.decimal128(38, 2)),
            "when": pa.array([0, 1, None], pa.timestamp("us", tz="UTC")),
            "blob": pa.array([b"\x00\xff", b"", None], pa.binary()),
            "nested": pa.array([[{"a": 1}], [], None], pa.list_(pa.struct([("a", pa.int32())]))),
        }
    )
    rows = Rows(table.to_batches(), table.schema)
    world.queries.arrow = lambda _: rows

    received, row_count, _ = query_arrow(world)

    assert received.equals(table)
    assert received.schema.equals(table.schema, check_metadata=True)
    assert row_count == 3
    assert rows.closed.wait(TIMEOUT_S)
    assert not rows.cancelled.is_set()


def test_an_empty_result_is_a_schema_and_a_trailer(world: RpcWorld) -> None:
    schema = pa.schema([("a", pa.int64())])
    world.queries.arrow = lambda _: Rows([pa.record_batch([pa.array([], pa.int64())], schema)], schema)

    received, row_count, _ = query_arrow(world)

    assert received.schema == schema
    assert row_count == received.num_rows == 0


@pytest.mark.parametrize("compression", [ARROW.COMPRESSION_UNSPECIFIED, ARROW.LZ4, ARROW.ZSTD])
def test_large_batches_are_cut_into_messages_of_about_two_mebibytes(world: RpcWorld, compression: int) -> None:
    table = pa.table({"n": pa.array(range(400_000), pa.int64()), "text": pa.array(["x" * 7] * 400_000)})
    world.queries.arrow = lambda _: Rows(table.combine_chunks().to_batches(), table.schema)

    received, row_count, sizes = query_arrow(world, compression=compression)

    assert received.equals(table)
    assert row_count == 400_000
    if compression == ARROW.COMPRESSION_UNSPECIFIED:
        assert max(sizes) < 2.1 * 2**20
        assert min(sizes[:-1]) > 1.5 * 2**20
    else:
        assert sum(sizes) < 0.7 * table.nbytes


def test_rows_of_very_different_size_do_not_make_a_message_too_large(world: RpcWorld) -> None:
    table = pa.table({"text": ["x"] * 1000 + ["y" * 900_000] * 20 + ["z"] * 1000})
    world.queries.arrow = lambda _: Rows(table.combine_chunks().to_batches(), table.schema)

    received, _, sizes = query_arrow(world)

    assert received.equals(table)
    assert max(sizes) < 3.1 * 2**20


@pytest.mark.parametrize("compression", [ARROW.COMPRESSION_UNSPECIFIED, ARROW.ZSTD])
def test_dictionary_columns_bring_their_dictionaries_in_messages_of_their_own(
    world: RpcWorld, compression: int
) -> None:
    batches = [
        pa.record_batch({"kind": pa.array(words).dictionary_encode()}) for words in (["a", "b", "a"], ["c", None, "b"])
    ]
    world.queries.arrow = lambda _: Rows(batches, batches[0].schema)

    received, row_count, sizes = query_arrow(world, compression=compression)

    assert received["kind"].to_pylist() == ["a", "b", "a", "c", None, "b"]
    assert row_count == 6
    assert len(sizes) == 4


def test_an_unknown_compression_is_invalid(world: RpcWorld) -> None:
    seen = failure(lambda: list(stub(world).QueryArrow(ARROW(compression=9), timeout=TIMEOUT_S)))

    assert seen.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_error_in_the_middle_ends_the_stream_without_a_trailer(world: RpcWorld) -> None:
    batch = pa.record_batch({"a": [1]})

    def broken() -> Iterator[pa.RecordBatch]:
        yield batch
        raise ResultTruncated("the warehouse announced 2 rows and sent 1")

    rows = Rows(broken(), batch.schema)
    world.queries.arrow = lambda _: rows
    parts = []

    seen = failure(lambda: parts.extend(stub(world).QueryArrow(ARROW(), timeout=TIMEOUT_S)))

    assert seen.code() is grpc.StatusCode.DATA_LOSS
    assert all(part.WhichOneof("part") != "trailer" for part in parts)
    assert rows.closed.wait(TIMEOUT_S)


def test_an_error_before_the_first_row_is_the_error_of_the_call(world: RpcWorld) -> None:
    def items(_: RowQuery) -> Rows:
        raise WarehouseUnavailable("the warehouse does not answer")

    world.queries.items = items

    assert failure(lambda: list(query_items(world, timeout=TIMEOUT_S))).code() is grpc.StatusCode.UNAVAILABLE


class EndlessRows(Rows):
    """Large rows without end; a cancelled one ends as a warehouse ends a cancelled statement."""

    def __init__(self) -> None:
        super().__init__(self._for_ever())

    def _for_ever(self) -> Iterator[Transformed]:
        large = b'{"text": "' + b"x" * 1_000_000 + b'"}'
        while not self.cancelled.is_set():
            yield Transformed([an_item(self.taken, large)], [])
        raise StatementCancelled("cancelled")


def test_the_warehouse_is_read_no_faster_than_the_client_reads(world: RpcWorld) -> None:
    rows = EndlessRows()
    world.queries.items = lambda _: rows
    call = query_items(world)

    for _ in range(40):
        next(call)

    # The 40 that were read, the look-ahead, and what gRPC's windows and buffers hold: they grow on a busy machine.
    wait_still(lambda: rows.taken, 0.5)
    assert rows.taken < 40 + LOOK_AHEAD + 64
    call.cancel()
    assert rows.closed.wait(TIMEOUT_S)


def test_a_client_that_leaves_cancels_the_statement_and_frees_the_thread(world: RpcWorld) -> None:
    rows = EndlessRows()
    world.queries.items = lambda _: rows
    call = query_items(world)
    next(call)

    call.cancel()

    assert rows.cancelled.wait(TIMEOUT_S)
    assert rows.closed.wait(TIMEOUT_S)


class SlowRows(Rows):
    """A statement that gives nothing until it is cancelled."""

    def __init__(self) -> None:
        super().__init__(self._wait())
        self.running = threading.Event()

    def _wait(self) -> Iterator[Any]:
        self.running.set()
        assert self.cancelled.wait(TIMEOUT_S)
        raise StatementCancelled("cancelled")
        yield


def test_a_deadline_cancels_a_statement_that_has_not_answered_yet(world: RpcWorld) -> None:
    rows = SlowRows()
    world.queries.items = lambda _: rows

    seen = failure(lambda: list(query_items(world, timeout=0.3)))

    assert seen.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert rows.closed.wait(TIMEOUT_S)


def test_a_client_that_leaves_while_the_query_is_being_opened_leaves_nothing_open(world: RpcWorld) -> None:
    opening, left, rows = threading.Event(), threading.Event(), Rows([Transformed([an_item(1)], [])])

    def items(_: RowQuery) -> Rows:
        opening.set()
        assert left.wait(TIMEOUT_S)
        return rows

    world.queries.items = items
    call = query_items(world)
    assert opening.wait(TIMEOUT_S)

    call.cancel()
    world.run(world.server._drain.idle())  # the server has noticed
    left.set()

    assert rows.closed.wait(TIMEOUT_S)
    assert rows.cancelled.is_set()
    assert rows.taken == 0


def test_calls_are_answered_while_every_stream_is_taken(make_world: Callable[..., RpcWorld]) -> None:
    world = make_world(max_direct_queries=1)
    streams = [SlowRows() for _ in range(40)]
    waiting = iter(streams)
    world.queries.items = lambda _: next(waiting)
    world.jobs.show.get = lambda job_id: a_job()
    calls = [query_items(world) for _ in streams]
    threads = world.server._threads.streams._max_workers
    assert streams[threads - 1].running.wait(TIMEOUT_S)

    # Less time than the streams have: a call that waits for one of their threads is too late.
    stub = job_service_pb2_grpc.JobServiceStub(world.channel)
    stub.GetJob(job_service_pb2.GetJobRequest(id="x"), timeout=TIMEOUT_S / 4)

    for call in calls:
        call.cancel()
    assert streams[0].closed.wait(TIMEOUT_S)
