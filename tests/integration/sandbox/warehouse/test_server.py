"""The server around the SQL: tokens, sessions, cancelling, faults, many clients, the command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from databricks import sql
from databricks.sql.exc import DatabaseError, RequestError, ServerOperationError
from tests.support.timing import assert_within, seconds
from tests.support.waiting import wait_until
from urllib3.exceptions import HTTPError, MaxRetryError

from blade_sandbox.warehouse import Warehouse

from .conftest import ROWS, Connect, control, open_connection

SLOW = "SELECT count(*) AS n FROM range(100000) a, range(10000000) b WHERE a.id * b.id % 7 = 3"
ALL = "SELECT id, name, amount FROM main.blade.item ORDER BY id"


@pytest.fixture
def own_warehouse(parquet_file: Path) -> Iterator[Warehouse]:
    """A warehouse a test may break."""
    server = Warehouse(tables={"main.blade.item": parquet_file}, idle_timeout_s=0.5)
    server.start()
    yield server
    server.stop()


def status(server: Warehouse) -> dict[str, int]:
    found: dict[str, int] = control(server, "/sandbox/status")
    return found


def faults(server: Warehouse, **switches: Any) -> None:
    control(server, "/sandbox/faults", "POST", switches)


def test_a_wrong_token_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(RequestError, match="Invalid access token"):
        open_connection(warehouse, access_token="wrong")


def test_an_unknown_warehouse_is_not_found(warehouse: Warehouse) -> None:
    with pytest.raises(RequestError, match="RESOURCE_DOES_NOT_EXIST"):
        open_connection(warehouse, _connection_uri=f"{warehouse.url}/sql/1.0/warehouses/other")


@pytest.mark.parametrize("path", ["/sandbox/status", "/sandbox/faults"])
def test_the_control_paths_need_the_token(warehouse: Warehouse, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        control(warehouse, path, token="wrong")


def test_a_session_starts_where_it_is_told(connect: Connect) -> None:
    cursor = connect(catalog="main", schema="blade").cursor()
    cursor.execute("SELECT current_schema(), count(*) FROM item")
    assert tuple(cursor.fetchone()) == ("blade", ROWS)


def test_a_session_in_an_unknown_schema_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(DatabaseError, match="SCHEMA_NOT_FOUND"):
        open_connection(warehouse, catalog="main", schema="nope")


def test_cancel_stops_the_statement_in_the_warehouse(connect: Connect, warehouse: Warehouse) -> None:
    before = status(warehouse)["cancelled"]
    cursor = connect().cursor()
    attempts = 0

    def attempt() -> float:
        nonlocal attempts
        attempts += 1
        cursor.execute_async(SLOW)
        wait_until(lambda: status(warehouse)["running_operations"] == 1)
        took_s = seconds(cursor.cancel)
        wait_until(lambda: status(warehouse)["running_operations"] == 0)
        return took_s

    assert_within(1.0, attempt)
    assert status(warehouse)["cancelled"] == before + attempts


def test_cancel_from_another_thread_ends_a_waiting_execute(connect: Connect, warehouse: Warehouse) -> None:
    cursor = connect().cursor()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cursor.execute, SLOW)
        wait_until(lambda: status(warehouse)["running_operations"] == 1 and cursor.active_command_id is not None)
        cursor.cancel()
        with pytest.raises(DatabaseError, match="canceled"):
            running.result(timeout=60)
    wait_until(lambda: status(warehouse)["running_operations"] == 0)


def test_closing_the_session_stops_what_it_runs(warehouse: Warehouse) -> None:
    connection = open_connection(warehouse)
    connection.cursor().execute_async(SLOW)
    wait_until(lambda: status(warehouse)["running_operations"] == 1)
    connection.close()
    wait_until(lambda: status(warehouse)["running_operations"] == 0)


def test_an_idle_session_ends_and_its_results_with_it(own_warehouse: Warehouse) -> None:
    connection = open_connection(own_warehouse)
    cursor = connection.cursor()
    cursor.execute(ALL)
    wait_until(lambda: status(own_warehouse)["open_sessions"] == 0)
    assert status(own_warehouse)["open_operations"] == 0
    with pytest.raises(DatabaseError, match="Invalid SessionHandle"):
        connection.cursor().execute("SELECT 1")
    with pytest.raises(DatabaseError, match="Invalid OperationHandle"):
        cursor.close()
    cursor.active_result_set = None
    connection.close()


def test_sessions_can_be_expired_at_once(connect: Connect, warehouse: Warehouse) -> None:
    connection = connect()
    faults(warehouse, expire_sessions=True)
    with pytest.raises(DatabaseError, match="Invalid SessionHandle"):
        connection.cursor().execute("SELECT 1")


def test_a_running_statement_does_not_outlive_its_session(connect: Connect, warehouse: Warehouse) -> None:
    connect().cursor().execute_async(SLOW)
    wait_until(lambda: status(warehouse)["running_operations"] == 1)
    faults(warehouse, expire_sessions=True)
    wait_until(lambda: status(warehouse)["running_operations"] == 0)


@pytest.mark.parametrize("code", [400, 500, 502])
def test_the_next_calls_can_fail_with_a_code(connect: Connect, warehouse: Warehouse, code: int) -> None:
    cursor = connect().cursor()
    faults(warehouse, fail_next={"count": 1, "code": code, "call": "ExecuteStatement"})
    with pytest.raises((RequestError, HTTPError)):
        cursor.execute("SELECT 1")
    cursor.execute("SELECT 2 AS x")
    assert cursor.fetchone()[0] == 2


def test_a_busy_answer_is_retried_by_the_driver(connect: Connect, warehouse: Warehouse) -> None:
    cursor = connect().cursor()
    before = status(warehouse)["statements"]
    faults(warehouse, fail_next={"count": 1, "code": 429, "retry_after": 1, "call": "ExecuteStatement"})
    cursor.execute("SELECT 1 AS x")
    assert cursor.fetchone()[0] == 1
    assert status(warehouse)["statements"] == before + 1


def test_a_starting_warehouse_says_so(warehouse: Warehouse) -> None:
    faults(warehouse, starting={"seconds": 60})
    with pytest.raises((RequestError, MaxRetryError)):
        open_connection(warehouse, _retry_stop_after_attempts_count=1)
    control(warehouse, "/sandbox/faults", "DELETE")
    open_connection(warehouse).close()


def test_a_lost_reply_leaves_the_work_done(connect: Connect, warehouse: Warehouse) -> None:
    cursor = connect().cursor()
    cursor.execute("CREATE OR REPLACE TABLE main.default.once (a INT)")
    faults(warehouse, drop_reply={"count": 3, "call": "ExecuteStatement"})
    with pytest.raises((RequestError, HTTPError)):
        cursor.execute("INSERT INTO main.default.once VALUES (1)")
    faults(warehouse, drop_reply=None)
    cursor.execute("SELECT count(*) FROM main.default.once")
    assert cursor.fetchone()[0] >= 1


@pytest.mark.parametrize("cloud_fetch", [True, False])
def test_a_short_result_loses_rows_without_a_word(connect: Connect, warehouse: Warehouse, cloud_fetch: bool) -> None:
    faults(warehouse, short_result={"rows": 3})
    cursor = connect(use_cloud_fetch=cloud_fetch).cursor()
    cursor.execute(ALL)
    assert cursor.fetchall_arrow().num_rows == ROWS - 3
    cursor.execute("SELECT count(*) FROM main.blade.item")
    assert cursor.fetchone()[0] == ROWS


@pytest.mark.parametrize(("switch", "call"), [("slow_execute_ms", "execute"), ("slow_fetch_ms", "fetch")])
def test_slowness_can_be_ordered(connect: Connect, warehouse: Warehouse, switch: str, call: str) -> None:
    cursor = connect().cursor()
    faults(warehouse, **{switch: 400})
    began = time.monotonic()
    cursor.execute("SELECT 1")
    cursor.fetchall()
    assert time.monotonic() - began >= 0.4, call


def test_a_failing_download_is_an_error_and_not_a_short_result(connect: Connect, warehouse: Warehouse) -> None:
    cursor = connect(max_download_threads=1).cursor()
    faults(warehouse, fail_next={"count": 100, "code": 404, "call": "download"})
    with pytest.raises(Exception, match="404"):
        cursor.execute(ALL).fetchall_arrow()


def test_an_unknown_fault_is_refused_and_changes_nothing(warehouse: Warehouse) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        faults(warehouse, slow_fetch_ms=5, explode=True)
    assert control(warehouse, "/sandbox/faults")["slow_fetch_ms"] == 0


def test_kill_cuts_everybody_off_and_a_restart_serves_on_the_same_port(own_warehouse: Warehouse) -> None:
    connection = open_connection(own_warehouse, _retry_stop_after_attempts_count=1)
    port = own_warehouse.port
    faults(own_warehouse, kill=True)
    with pytest.raises((RequestError, HTTPError, OSError)):
        connection.cursor().execute("SELECT 1")
    own_warehouse.start()
    assert own_warehouse.port == port
    with open_connection(own_warehouse) as again:
        cursor = again.cursor()
        cursor.execute("SELECT count(*) FROM main.blade.item")
        assert cursor.fetchone()[0] == ROWS


@pytest.mark.slow
def test_many_clients_at_once_get_their_own_answers(warehouse: Warehouse) -> None:
    def client(number: int) -> bool:
        with open_connection(warehouse) as connection:
            cursor = connection.cursor()
            found = []
            for step in range(5):
                cursor.execute("SELECT :n * 100 + :s AS v, id FROM main.blade.item LIMIT 50", {"n": number, "s": step})
                found.append(cursor.fetchall()[0][0] == number * 100 + step)
            return all(found)

    sessions = status(warehouse)["open_sessions"]
    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(client, range(80)))
    assert status(warehouse)["open_sessions"] == sessions
    assert status(warehouse)["open_operations"] == 0


def test_writers_queue_and_none_is_lost(warehouse: Warehouse) -> None:
    with open_connection(warehouse) as connection:
        connection.cursor().execute("CREATE OR REPLACE TABLE main.default.counted (n INT)")

    def writer(number: int) -> None:
        with open_connection(warehouse) as own:
            own.cursor().execute("INSERT INTO main.default.counted VALUES (?)", [number])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(writer, range(32)))
    with open_connection(warehouse) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT count(DISTINCT n) FROM main.default.counted")
        assert cursor.fetchone()[0] == 32


def test_a_body_that_is_no_thrift_does_not_stop_the_server(warehouse: Warehouse) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        control(warehouse, warehouse.http_path, "POST", {"not": "thrift"})
    open_connection(warehouse).close()


def test_nothing_is_left_after_stop(parquet_file: Path) -> None:
    before = set(threading.enumerate())
    server = Warehouse(tables={"main.blade.item": parquet_file})
    server.start()
    connection = open_connection(server)
    connection.cursor().execute(ALL)
    connection.cursor().execute_async(SLOW)
    server.stop()

    def left() -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("warehouse")]

    wait_until(lambda: not left(), say=lambda: str(left()))  # what interrupts a statement looks 100 times a second
    server.stop()


def test_tls_speaks_https_with_the_given_certificate(tmp_path: Path, parquet_file: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with Warehouse(tables={"main.blade.item": parquet_file}, tls_cert=certificate, tls_key=key) as server:
        connection = sql.connect(
            server_hostname="localhost",
            http_path=server.http_path,
            _port=server.port,
            access_token=server.token,
            _tls_trusted_ca_file=str(certificate),
            enable_telemetry=False,
        )
        cursor = connection.cursor()
        cursor.execute(ALL)
        assert cursor.fetchall_arrow().num_rows == ROWS
        connection.close()


def test_the_command_serves_tells_how_to_connect_and_stops_cleanly(parquet_file: Path) -> None:
    code = "from blade_sandbox.warehouse.cli import warehouse; warehouse()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--table", f"main.blade.item={parquet_file}", "--token", "t1"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"warehouse (http://\S+) path (\S+)", line)
        assert match, line
        url, path = match.groups()
        with sql.connect(
            url, path, access_token="t1", _connection_uri=url + path, enable_telemetry=False
        ) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT count(*) FROM main.blade.item")
            assert cursor.fetchone()[0] == ROWS
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_command_refuses_a_wrong_table_with_a_message() -> None:
    code = "from blade_sandbox.warehouse.cli import warehouse; warehouse()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--table", "main.blade.item=/no/such.csv"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "/no/such.csv" in done.stderr


def test_an_error_after_many_rows_is_an_error_of_the_statement(connect: Connect) -> None:
    cursor = connect().cursor()
    with pytest.raises(ServerOperationError, match="DIVIDE_BY_ZERO"):
        cursor.execute("SELECT 1 / (id - 900000) AS x FROM range(1000000) t(id)")
