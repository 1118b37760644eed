from __future__ import annotations

import io
import sys
import threading

import grpc
import pyarrow as pa
import pytest

from blade.v1.item_pb2 import Item, ItemRejection
from blade.v1.job_pb2 import Job
from blade.v1.query_service_pb2 import (
    ArrowTrailer,
    GetItemResponse,
    QueryArrowRequest,
    QueryArrowResponse,
    QueryItemsResponse,
)
from blade.v1.source_pb2 import Source
from blade_client import BladeClient, errors

TABLE = pa.table(
    {
        "n": pa.array(range(1000), pa.int64()),
        "text": pa.array([f"é{i}" for i in range(1000)]),
        "kind": pa.array([["a", "b", None][i % 3] for i in range(1000)]).dictionary_encode(),
    }
)


def parts(table: pa.Table, *, rows: int | None = None, trailer: bool = True) -> list[QueryArrowResponse]:
    """The messages of a table, as the server sends them: schema, then dictionaries and batches, then the trailer."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=300):
            writer.write_batch(batch)
    schema, *others = [
        message.serialize().to_pybytes() for message in pa.ipc.MessageReader.open_stream(sink.getvalue())
    ]
    sent = [QueryArrowResponse(schema=schema), *(QueryArrowResponse(record_batch=each) for each in others)]
    if trailer:
        sent.append(QueryArrowResponse(trailer=ArrowTrailer(row_count=table.num_rows if rows is None else rows)))
    return sent


def chunk(*ids: str, rejected: int = 0) -> QueryItemsResponse:
    return QueryItemsResponse(
        items=[Item(item_id=each) for each in ids],
        rejections=[ItemRejection(field="f", message="m")] * rejected,
    )


def test_a_query_is_sent_when_it_is_read_and_not_before(server, blade) -> None:
    server.on("QueryItems", [chunk("1")])
    result = blade.query(
        "maintenance",
        source="s",
        filter="p = :p",
        parameters={"p": "HIGH"},
        columns=["a", "b"],
        order_by=["a desc"],
        limit=7,
        offset=3,
    )
    assert server.requests == []
    assert [item.item_id for item in result] == ["1"]
    (request,) = server.asked("QueryItems")
    assert (request.data_type, request.source, request.filter) == ("maintenance", "s", "p = :p")
    assert dict(request.parameters) == {"p": "HIGH"}
    assert (list(request.columns), list(request.order_by)) == (["a", "b"], ["a desc"])
    assert (request.limit, request.offset) == (7, 3)


def test_an_unset_limit_stays_unset(server, blade) -> None:
    server.on("QueryItems", [chunk("1")])
    list(blade.query("m"))
    list(blade.query("m", limit=0))
    assert [request.HasField("limit") for request in server.asked("QueryItems")] == [False, True]


def test_rows_that_no_limit_leaves_out_are_warned_of(server, blade) -> None:
    server.add_source("s", data_type="m")
    server.add_items("s", {f"A-{n}": {} for n in range(101)})
    result = blade.query("m")
    with pytest.warns(errors.RowsLeftOut, match="limit"):
        assert len(list(result)) == 100
    assert result.more_rows
    limited = blade.query("m", limit=100)
    assert (len(list(limited)), limited.more_rows) == (100, True)
    whole = blade.query("m", limit=101)
    assert (len(list(whole)), whole.more_rows) == (101, False)


def test_items_and_rejections_of_all_chunks_come_and_reading_again_asks_again(server, blade) -> None:
    server.on("QueryItems", [chunk("1", "2", rejected=1), chunk("3", rejected=2)])
    result = blade.query("m")
    for _ in range(2):
        assert [item.item_id for item in result] == ["1", "2", "3"]
        assert len(result.rejections) == 3
    assert len(server.requests) == 2


def test_a_reader_that_stops_early_cancels_the_query(server, blade) -> None:
    server.on("QueryItems", server.until_left(chunk("1", "2")))
    for item in blade.query("m"):
        assert item.item_id == "1"
        break
    assert server.left.wait(10)


def test_a_reader_of_arrow_that_stops_early_cancels_the_query(server, blade) -> None:
    server.on("QueryArrow", server.until_left(*parts(TABLE, trailer=False)))
    batches = blade.query("m").arrow_batches()
    assert next(batches).num_rows == 300
    batches.close()
    assert server.left.wait(10)


def test_a_query_is_repeated_until_its_first_row_and_not_after_it(server, blade) -> None:
    away = server.fails(grpc.StatusCode.UNAVAILABLE, "lost")
    server.on("QueryItems", away, server.then_fails([chunk("1")], away))
    seen = []
    with pytest.raises(errors.Unreachable):
        seen.extend(item.item_id for item in blade.query("m"))
    assert len(server.requests) == 2, "a second reading would bring the first rows twice"


def test_a_query_has_a_time_limit_of_its_own(server) -> None:
    server.on("QueryItems", server.until_left(chunk("1")))
    with BladeClient(server.target, timeout_s=0.01) as blade:
        rows = iter(blade.query("m", timeout_s=1.0))
        assert next(rows).item_id == "1"
        with pytest.raises(errors.DeadlineExceeded):
            next(rows)


def test_arrow_brings_the_very_table_dictionaries_and_all(server, blade) -> None:
    server.on("QueryArrow", parts(TABLE))
    got = blade.query("m", compression="zstd").to_arrow()
    assert got.equals(TABLE)
    got.validate(full=True)
    (request,) = server.asked("QueryArrow")
    assert request.compression == QueryArrowRequest.ZSTD
    assert not request.HasField("limit")


def test_arrow_batches_come_one_by_one_before_the_stream_ends(server, blade) -> None:
    go_on = threading.Event()
    sent = parts(TABLE.select(["n"]))

    def handle(request, context):
        yield from sent[:2]
        assert go_on.wait(20)
        yield from sent[2:]

    server.on("QueryArrow", handle)
    batches = blade.query("m").arrow_batches()
    rows = next(batches).num_rows
    go_on.set()
    assert rows + sum(batch.num_rows for batch in batches) == 1000


def test_an_empty_result_is_an_empty_table_with_its_schema(server, blade) -> None:
    server.on("QueryArrow", parts(TABLE.slice(0, 0).select(["n", "text"])))
    got = blade.query("m").to_arrow()
    assert (got.num_rows, got.schema.names) == (0, ["n", "text"])


def test_pandas_gets_the_same_rows(server, blade) -> None:
    pytest.importorskip("pandas")
    server.on("QueryArrow", parts(TABLE))
    frame = blade.query("m").to_pandas()
    assert frame["n"].sum() == sum(range(1000))
    assert frame["text"].iloc[-1] == "é999"


READINGS = [
    lambda result: result.to_arrow(),
    lambda result: list(result.arrow_batches()),
    lambda result: result.write_arrow(io.BytesIO()),
]


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("messages", [0, 1, 2])
def test_a_stream_without_its_trailer_is_incomplete(server, blade, reading, messages) -> None:
    server.on("QueryArrow", parts(TABLE, trailer=False)[:messages])
    with pytest.raises(errors.IncompleteStream):
        reading(blade.query("m"))


@pytest.mark.parametrize("rows", [999, 1001])
def test_a_stream_with_another_number_of_rows_than_announced_is_incomplete(server, blade, rows) -> None:
    server.on("QueryArrow", parts(TABLE, rows=rows))
    with pytest.raises(errors.IncompleteStream, match=f"{rows:,}"):
        blade.query("m").to_arrow()


def test_what_is_no_arrow_is_told_as_such(server, blade) -> None:
    server.on("QueryArrow", [QueryArrowResponse(schema=b"nonsense" * 9), QueryArrowResponse(trailer=ArrowTrailer())])
    with pytest.raises(errors.IncompleteStream, match="not an Arrow stream"):
        blade.query("m").to_arrow()


def test_an_error_in_the_middle_of_arrow_keeps_its_kind(server, blade) -> None:
    down = server.fails(grpc.StatusCode.UNAVAILABLE, "warehouse gone", "WAREHOUSE_UNAVAILABLE")
    server.on("QueryArrow", server.then_fails(parts(TABLE, trailer=False), down))
    with pytest.raises(errors.Unavailable, match="warehouse gone"):
        blade.query("m").to_arrow()


def test_a_written_stream_is_one_that_arrow_reads(server, blade) -> None:
    server.on("QueryArrow", parts(TABLE))
    file = io.BytesIO()
    assert blade.query("m").write_arrow(file) == 1000
    assert pa.ipc.open_stream(file.getvalue()).read_all().equals(TABLE)


def test_without_pyarrow_writing_works_and_reading_names_the_extra(server, blade, monkeypatch) -> None:
    server.on("QueryArrow", parts(TABLE))
    for name in ("pyarrow", "pyarrow.ipc"):
        monkeypatch.setitem(sys.modules, name, None)
    assert blade.query("m").write_arrow(io.BytesIO()) == 1000
    with pytest.raises(errors.MissingExtra, match=r"pip install 'blade\[arrow\]'"):
        blade.query("m").to_arrow()


def test_without_pandas_the_extra_is_named_and_nothing_is_asked(server, blade, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'blade\[pandas\]'"):
        blade.query("m").to_pandas()
    assert server.requests == []


def test_a_message_of_many_megabytes_is_taken(server, blade) -> None:
    server.on("GetItem", GetItemResponse(item=Item(item_id="x" * (40 * 1024 * 1024))))
    assert len(blade.get_item("m", "x").item_id) == 40 * 1024 * 1024


def test_one_string_is_one_entry_and_not_its_letters(server, blade) -> None:
    server.add_source("s", data_type="m")
    list(blade.query("m", columns="tail", order_by="tail desc"))
    (request,) = server.asked("QueryItems")
    assert (list(request.columns), list(request.order_by)) == (["tail"], ["tail desc"])
    list(blade.list_jobs(statuses="RUNNING"))
    assert list(server.asked("ListJobs")[0].statuses) == [Job.RUNNING]
    blade.update_source(Source(name="s", display_name="S"), fields="display_name")
    assert list(server.asked("UpdateSource")[0].update_mask.paths) == ["display_name"]
