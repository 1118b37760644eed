"""The warehouse layer with the real driver against the sandbox warehouse."""

from __future__ import annotations

import gc
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from databricks.sql.backend.thrift_backend import ThriftDatabricksClient
from databricks.sql.client import Cursor
from pydantic import SecretStr
from tests.support.timing import assert_within, seconds
from tests.support.waiting import wait_until

from blade_server.errors import (
    Deadline,
    Precondition,
    ResultTruncated,
    StatementCancelled,
    WarehouseDenied,
    WarehouseRefused,
    WarehouseUnavailable,
)
from blade_server.model import StepKind, StepOutcome
from blade_server.warehouse import Warehouse, connect_steps

from .conftest import ROWS

ALL = "SELECT * FROM main.blade.numbers"
ENDLESS = "SELECT count(*) FROM main.blade.numbers a, main.blade.numbers b WHERE a.amount * b.amount = 3.3"


def driver_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("warehouse-sandbox")]


def sessions(sandbox) -> int:
    return len(sandbox._service.sessions._open)


class TestRows:
    def test_all_rows_come_once_and_in_batches(self, warehouse):
        result = warehouse.execute(ALL, max_batch_rows=7_000)
        seen = set()
        for batch in result:
            assert 0 < batch.num_rows <= 7_000
            assert batch.schema == result.schema
            seen.update(batch.column("id").to_pylist())
        assert seen == set(range(ROWS))
        assert result.rows_read == ROWS

    def test_a_small_result_at_once_takes_one_request(self, warehouse, monkeypatch):
        list(warehouse.execute("SELECT 1 AS a"))
        warehouse.execute("SELECT 1 AS a").close()
        asked, ask = [], ThriftDatabricksClient.make_request

        def counted(self, method, *arguments, **options):
            asked.append(method.__name__)
            return ask(self, method, *arguments, **options)

        monkeypatch.setattr(ThriftDatabricksClient, "make_request", counted)
        result = warehouse.execute("SELECT 7 AS a", at_once=True)
        assert [batch.to_pydict() for batch in result] == [{"a": [7]}]
        assert [name for name in asked if name != "CloseOperation"] == ["ExecuteStatement"]

    def test_the_schema_is_clean_arrow(self, warehouse):
        schema = warehouse.execute(ALL).schema
        assert schema.field("amount").type == pa.decimal128(18, 3)
        assert schema.field("at").type == pa.timestamp("us", "UTC")
        assert schema.field("day").type == pa.date32()
        assert schema.metadata is None
        assert all(field.metadata is None for field in schema)

    def test_values_are_exact(self, warehouse):
        [batch] = warehouse.execute(f"{ALL} WHERE id = 5")
        assert batch.to_pylist()[0]["amount"] == Decimal("0.714")
        assert batch.to_pylist()[0]["at"] == datetime(2024, 1, 1, 0, 0, 5, tzinfo=UTC)

    def test_an_empty_result_has_a_schema_and_no_batch(self, warehouse):
        result = warehouse.execute(f"{ALL} WHERE id < 0")
        assert result.schema.names == ["id", "name", "amount", "at", "day"]
        assert list(result) == []
        assert result.rows_read == 0

    def test_parameters_are_values_and_never_sql(self, warehouse):
        [batch] = warehouse.execute(f"{ALL} WHERE name = :name", {"name": "name 7"})
        assert batch.num_rows == 1
        assert list(warehouse.execute(f"{ALL} WHERE name = :name", {"name": "x' OR '1'='1"})) == []

    def test_two_columns_of_one_name_both_come(self, warehouse):
        [batch] = warehouse.execute("SELECT 1 AS a, 2 AS a")
        assert [column.to_pylist() for column in batch.columns] == [[1], [2]]

    def test_a_new_statement_ends_the_one_before(self, warehouse):
        first = iter(warehouse.execute(ALL, max_batch_rows=10))
        next(first)
        [batch] = warehouse.execute("SELECT 1 AS a")
        assert batch.num_rows == 1
        with pytest.raises(StatementCancelled):
            list(first)

    def test_many_statements_use_one_session_and_leave_nothing_behind(self, warehouse, sandbox):
        before = sessions(sandbox)
        for number in range(20):
            [batch] = warehouse.execute(f"SELECT {number} AS n")
            assert batch.column(0).to_pylist() == [number]
        assert sessions(sandbox) == before + 1


class TestErrors:
    def test_refused_sql_shows_what_the_warehouse_said_in_one_line(self, warehouse):
        with pytest.raises(WarehouseRefused) as caught:
            warehouse.execute("SELECT nmae FROM main.blade.numbers")
        assert caught.value.message.startswith("[UNRESOLVED_COLUMN.WITH_SUGGESTION]")
        assert "\n" not in caught.value.message
        assert caught.value.metadata["error_class"] == "UNRESOLVED_COLUMN.WITH_SUGGESTION"

    def test_a_refused_statement_keeps_the_session(self, warehouse, sandbox):
        for _ in range(3):
            with pytest.raises(WarehouseRefused):
                warehouse.execute("SELECT * FROM main.blade.nothing")
        before = sessions(sandbox)
        assert len(list(warehouse.execute("SELECT 1 AS a"))) == 1
        assert sessions(sandbox) == before

    def test_a_wrong_token_is_denied_and_not_shown(self, changed):
        with Warehouse(changed(token=SecretStr("wrong-token"))) as warehouse, pytest.raises(WarehouseDenied) as caught:
            warehouse.execute("SELECT 1")
        assert "wrong-token" not in str(caught.value)

    def test_no_credentials_are_denied_without_asking_anybody(self, changed):
        with Warehouse(changed(token=None)) as warehouse, pytest.raises(WarehouseDenied, match="DATABRICKS_TOKEN"):
            warehouse.execute("SELECT 1")

    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"http_path": "/sql/1.0/warehouses/nope"}, "no warehouse 'nope'"),
            ({"host": "http://127.0.0.1:1"}, "refuses connections"),
            ({"host": "no-such-host.invalid"}, "cannot be resolved"),
        ],
    )
    def test_a_warehouse_that_is_not_there_is_named(self, changed, fields, why):
        target = changed(**fields)
        with Warehouse(target) as warehouse, pytest.raises(WarehouseUnavailable, match=why) as caught:
            warehouse.execute("SELECT 1")
        assert target.host in caught.value.message
        assert caught.value.transient

    def test_https_to_a_plain_port_says_so(self, changed, sandbox):
        with (
            Warehouse(changed(host=f"127.0.0.1:{sandbox.port}")) as warehouse,
            pytest.raises(Precondition, match="speaks no TLS there: write http://"),
        ):
            warehouse.execute("SELECT 1")

    def test_a_proxy_that_can_never_work_is_named(self, changed, monkeypatch):
        monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1080")
        monkeypatch.setenv("no_proxy", "")
        with (
            Warehouse(changed(host="workspace.test")) as warehouse,
            pytest.raises(Precondition, match=r"https_proxy is 'socks5://127\.0\.0\.1:1080'"),
        ):
            warehouse.execute("SELECT 1")

    def test_an_expired_session_is_opened_again_once(self, warehouse, faults):
        list(warehouse.execute("SELECT 1 AS a"))
        faults(expire_sessions=True)
        [batch] = warehouse.execute("SELECT 2 AS a")
        assert batch.column(0).to_pylist() == [2]

    def test_a_session_that_expires_while_rows_are_read_is_a_transient_error(self, warehouse, faults):
        rows = iter(warehouse.execute(ALL, max_batch_rows=1_000))
        next(rows)
        faults(expire_sessions=True)
        with pytest.raises(WarehouseUnavailable):
            list(rows)
        assert len(list(warehouse.execute("SELECT 1 AS a"))) == 1

    @pytest.mark.parametrize("code", [500, 502])
    def test_a_failing_warehouse_is_a_transient_error(self, warehouse, faults, code):
        faults(fail_next={"code": code, "count": 1, "call": "ExecuteStatement"})
        with pytest.raises(WarehouseUnavailable, match=f"HTTP {code}"):
            warehouse.execute("SELECT 1")
        assert len(list(warehouse.execute("SELECT 1 AS a"))) == 1

    def test_a_download_that_fails_for_good_is_an_error_and_no_short_result(self, warehouse, faults):
        rows = iter(warehouse.execute(ALL, max_batch_rows=1_000))
        faults(fail_next={"code": 403, "count": 1000, "call": "download"})
        with pytest.raises((WarehouseUnavailable, WarehouseDenied)):
            for _ in rows:
                pass

    def test_rows_that_were_promised_and_do_not_come_are_missed(self, warehouse, monkeypatch):
        result = warehouse.execute(ALL, max_batch_rows=50_000)
        rows = iter(result)
        next(rows)
        ledger = result._statement._ledger
        ledger.promised += 1
        with pytest.raises(ResultTruncated, match=f"announced {ROWS + 1} rows and sent {ROWS}"):
            list(rows)

    def test_a_gap_between_answers_is_missed(self, warehouse):
        result = warehouse.execute(ALL)
        ledger = result._statement._ledger

        class Link:
            startRowOffset = ROWS * 2
            rowCount = 1

        class Queue:
            result_links = [Link()]  # noqa: RUF012

        with pytest.raises(ResultTruncated, match="left out"):
            ledger._enter(Queue())


class TestCancel:
    @pytest.mark.parametrize("at_once", [False, True])
    def test_a_running_statement_ends_at_once_and_on_the_warehouse_too(self, warehouse, sandbox, at_once):
        def attempt() -> None:
            threading.Timer(0.2, warehouse.cancel).start()
            with pytest.raises(StatementCancelled):
                warehouse.execute(ENDLESS, at_once=at_once)

        assert_within(1.0, lambda: seconds(attempt))
        wait_until(lambda: sandbox._service.running() == 0, say=lambda: "still running")

    @pytest.mark.parametrize("at_once", [False, True])
    def test_one_that_somebody_else_ends_there_may_be_run_again(self, warehouse, sandbox, at_once):
        def end_it():
            wait_until(lambda: sandbox._service.running(), say=lambda: "it does not run")
            for guid in list(sandbox._service.operations):
                sandbox._service.operations[guid].cancel()

        threading.Thread(target=end_it).start()
        with pytest.raises(WarehouseUnavailable):
            warehouse.execute(ENDLESS, at_once=at_once)

    def test_a_reader_that_waits_for_a_slow_warehouse_is_freed(self, warehouse, faults):
        faults(slow_fetch_ms=8_000)

        def attempt() -> None:
            threading.Timer(0.3, warehouse.cancel).start()
            with pytest.raises(StatementCancelled):
                list(warehouse.execute(ALL))

        assert_within(2.0, lambda: seconds(attempt))

    @pytest.mark.parametrize("at_once", [False, True])
    def test_a_cancel_before_the_statement_has_a_handle_reaches_it(self, warehouse, sandbox, monkeypatch, at_once):
        list(warehouse.execute("SELECT 1 AS a"))
        about_to_send, may_send = threading.Event(), threading.Event()
        way = "execute" if at_once else "execute_async"
        send = getattr(Cursor, way)

        def held_back(*arguments, **options):
            about_to_send.set()
            assert may_send.wait(60)
            return send(*arguments, **options)

        monkeypatch.setattr(Cursor, way, held_back)
        errors: list[BaseException] = []

        def read():
            try:
                warehouse.execute(ENDLESS, at_once=at_once)
            except StatementCancelled as exc:
                errors.append(exc)

        reader = threading.Thread(target=read)
        reader.start()
        assert about_to_send.wait(30)
        before = sandbox._service.cancelled
        warehouse.cancel()
        reader.join(30)
        assert len(errors) == 1, "the reader still waits"
        may_send.set()
        wait_until(lambda: sandbox._service.cancelled == before + 1, say=lambda: "the warehouse was never told")
        wait_until(lambda: sandbox._service.running() == 0, say=lambda: "still running")

    def test_a_cancel_answers_at_once(self, warehouse, faults):
        faults(slow_fetch_ms=20_000)

        def read():
            with pytest.raises(StatementCancelled):
                warehouse.execute(ALL)

        def attempt() -> float:
            reader = threading.Thread(target=read)
            reader.start()
            time.sleep(0.3)
            took_s = seconds(warehouse.cancel)
            reader.join(10)
            assert not reader.is_alive()
            return took_s

        assert_within(0.1, attempt)

    def test_a_cancel_without_a_statement_ends_the_next_one_only(self, warehouse):
        warehouse.cancel()
        with pytest.raises(StatementCancelled):
            warehouse.execute("SELECT 1")
        assert len(list(warehouse.execute("SELECT 1 AS a"))) == 1

    def test_a_warehouse_works_after_a_cancel(self, warehouse):
        rows = iter(warehouse.execute(ALL, max_batch_rows=100))
        next(rows)
        warehouse.cancel()
        with pytest.raises(StatementCancelled):
            next(rows)
        assert len(list(warehouse.execute("SELECT 1 AS a"))) == 1

    def test_a_time_limit_ends_the_statement(self, warehouse):
        def attempt() -> None:
            with pytest.raises(Deadline, match=r"0\.3 s"):
                warehouse.execute(ENDLESS, timeout_s=0.3)

        assert_within(1.0, lambda: seconds(attempt))

    def test_close_frees_a_reader_in_another_thread(self, target, faults):
        warehouse = Warehouse(target)
        failures: list[BaseException] = []

        def read():
            try:
                warehouse.execute(ENDLESS)
            except StatementCancelled as exc:
                failures.append(exc)

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.3)
        warehouse.close()
        reader.join(30)
        assert len(failures) == 1
        with pytest.raises(StatementCancelled):
            warehouse.execute("SELECT 1")


class TestNothingIsLeft:
    @pytest.mark.slow
    def test_sessions_and_threads_end(self, target, sandbox):
        before = sessions(sandbox)
        for _ in range(3):
            warehouse = Warehouse(target)
            next(iter(warehouse.execute(ALL, max_batch_rows=100)))
            warehouse.close()
        cancelled = Warehouse(target)
        cancelled.execute(ALL, max_batch_rows=100)
        cancelled.cancel()
        cancelled.close()
        wait_until(lambda: sessions(sandbox) == before, say=lambda: "sessions are left")
        gc.collect()
        wait_until(lambda: not driver_threads(), say=lambda: "threads are left")

    def test_close_is_quick_when_the_warehouse_is_dead(self, target):
        """A listener that takes connections and never answers."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            nowhere = replace(target, host=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=20)

            def attempt() -> float:
                dead = Warehouse(nowhere)
                errors: list[BaseException] = []

                def read():
                    try:
                        dead.execute("SELECT 1")
                    except BaseException as exc:
                        errors.append(exc)

                reader = threading.Thread(target=read)
                reader.start()
                time.sleep(0.2)
                took_s = seconds(dead.close)
                reader.join(10)
                assert isinstance(errors[0], StatementCancelled)
                return took_s

            assert_within(0.5, attempt)


class TestConnectSteps:
    def outcomes(self, target):
        return [(step.kind, step.outcome) for step in connect_steps(target)]

    def test_all_four_pass(self, target, sandbox):
        before = sessions(sandbox)
        assert self.outcomes(target) == [(kind, StepOutcome.PASSED) for kind in list(StepKind)[:4]]
        assert sessions(sandbox) == before

    @pytest.mark.parametrize(
        ("fields", "failed"),
        [
            ({"host": "no-such-host.invalid"}, StepKind.RESOLVE),
            ({"host": "http://127.0.0.1:1"}, StepKind.CONNECT),
            ({"token": SecretStr("wrong")}, StepKind.AUTHENTICATE),
            ({"token": None}, StepKind.AUTHENTICATE),
            ({"http_path": "/sql/1.0/warehouses/nope"}, StepKind.WAREHOUSE),
        ],
    )
    def test_the_step_that_fails_is_the_last(self, changed, fields, failed):
        *passed, last = self.outcomes(changed(**fields))
        assert last == (failed, StepOutcome.FAILED)
        assert all(outcome is StepOutcome.PASSED for _, outcome in passed)

    def test_https_to_a_plain_port_fails_to_connect(self, changed, sandbox):
        *_, last = connect_steps(changed(host=f"127.0.0.1:{sandbox.port}"))
        assert last.kind is StepKind.CONNECT
        assert "TLS" in last.message
