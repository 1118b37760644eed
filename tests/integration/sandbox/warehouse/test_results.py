"""Results on their way: inline batches, CloudFetch files, sizes, order, memory."""

from __future__ import annotations

import logging
import re
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from blade_sandbox.warehouse import Warehouse

from .conftest import ROWS, Connect, control

ALL = "SELECT id, name, amount FROM main.blade.item ORDER BY id"


def ids(table: pa.Table) -> list[int]:
    found: list[int] = table.column("id").to_pylist()
    return found


@pytest.mark.parametrize("lz4", [True, False])
@pytest.mark.parametrize("cloud_fetch", [True, False])
@pytest.mark.parametrize("arraysize", [100_000, 7_777, 1])
def test_every_row_arrives_once_and_in_order(connect: Connect, cloud_fetch: bool, lz4: bool, arraysize: int) -> None:
    cursor = connect(use_cloud_fetch=cloud_fetch, enable_query_result_lz4_compression=lz4).cursor(arraysize=arraysize)
    rows = ROWS if arraysize > 1 else 40
    cursor.execute(f"{ALL} LIMIT {rows}")
    assert ids(cursor.fetchall_arrow()) == list(range(rows))


def test_a_large_result_comes_as_files_and_a_small_one_inline(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="databricks.sql.cloudfetch.downloader")
    cursor = connect().cursor()
    cursor.execute(f"{ALL} LIMIT 10")
    cursor.fetchall_arrow()
    assert "file download" not in caplog.text
    cursor.execute(ALL)
    cursor.fetchall_arrow()
    assert caplog.text.count("successfully downloaded file") >= 3


def test_a_client_that_takes_no_files_gets_none(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="databricks.sql.cloudfetch.downloader")
    cursor = connect(use_cloud_fetch=False).cursor()
    cursor.execute(ALL)
    assert cursor.fetchall_arrow().num_rows == ROWS
    assert "file download" not in caplog.text


@pytest.mark.parametrize("cloud_fetch", [True, False])
def test_fetching_in_pieces_gives_pieces_of_exactly_that_size(connect: Connect, cloud_fetch: bool) -> None:
    cursor = connect(use_cloud_fetch=cloud_fetch).cursor(arraysize=3_000)
    cursor.execute(ALL)
    sizes, seen = [], []
    while (piece := cursor.fetchmany_arrow(7_000)).num_rows:
        sizes.append(piece.num_rows)
        seen += ids(piece)
    assert sizes == [7_000, 7_000, 6_000]
    assert seen == list(range(ROWS))


def test_a_small_buffer_still_moves_forward(connect: Connect) -> None:
    cursor = connect(use_cloud_fetch=False).cursor(buffer_size_bytes=1)
    cursor.execute(f"{ALL} LIMIT 20000")
    assert ids(cursor.fetchall_arrow()) == list(range(ROWS))


def test_a_row_limit_of_the_client_is_kept(connect: Connect) -> None:
    cursor = connect().cursor(row_limit=12_345)
    cursor.execute("SELECT id FROM main.blade.item")
    assert cursor.fetchall_arrow().num_rows == 12_345


def test_rows_and_arrow_agree(cursor: Any) -> None:
    cursor.execute(f"{ALL} LIMIT 3")
    assert [(row.id, row.amount) for row in cursor.fetchall()] == [(0, 0.0), (1, 0.25), (2, 0.5)]


def test_a_finished_result_leaves_nothing_behind(connect: Connect, warehouse: Warehouse) -> None:
    cursor = connect().cursor()
    cursor.execute(ALL)
    cursor.fetchall_arrow()
    assert control(warehouse, "/sandbox/status")["open_operations"] == 1
    cursor.close()
    assert control(warehouse, "/sandbox/status")["open_operations"] == 0


def test_an_asynchronous_statement_gives_the_same_rows(cursor: Any) -> None:
    cursor.execute_async(ALL)
    while cursor.is_query_pending():
        pass
    cursor.get_async_execution_result()
    assert ids(cursor.fetchall_arrow()) == list(range(ROWS))


@pytest.mark.timeout(120)
def test_a_million_rows_stream_through_flat_memory(connect: Connect) -> None:
    process = psutil.Process()
    cursor = connect(max_download_threads=2).cursor(arraysize=20_000)
    cursor.execute(
        "SELECT id, id * 2 AS a, id / 3D AS b, concat('text-', id, repeat('y', 60)) AS c FROM range(1000000) t(id)"
    )
    before, peak, total, count = process.memory_info().rss, 0, 0, 0
    while (piece := cursor.fetchmany_arrow(20_000)).num_rows:
        count += piece.num_rows
        total += pc.sum(piece.column("id")).as_py()
        peak = max(peak, process.memory_info().rss)
    assert (count, total) == (1_000_000, 499_999_500_000)
    assert peak - before < 100 * 1024 * 1024


def test_each_file_begins_where_the_one_before_ended(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="databricks.sql.utils")
    cursor = connect().cursor(arraysize=7_777)
    cursor.execute(ALL)
    cursor.fetchall_arrow()
    links = [(int(a), int(b)) for a, b in re.findall(r"- start row offset: (\d+), row count: (\d+)", caplog.text)]
    assert len(links) > 3
    ends = [start + count for start, count in links]
    assert [start for start, _ in links] == [0, *ends[:-1]]
    assert ends[-1] == ROWS
