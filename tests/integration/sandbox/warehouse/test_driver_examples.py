"""The driver's published examples, each as a short program of ours: the name in the docstring is the example's file."""

from __future__ import annotations

import io
import logging
import time
import urllib.error
import urllib.request
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy
from databricks import sql
from databricks.sql.exc import DatabaseError
from databricks.sql.parameters import DecimalParameter, TimestampNTZParameter
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tests.support.waiting import wait_until

from blade_sandbox.warehouse import Warehouse

from .conftest import Connect, control

ENDLESS = "SELECT sum(a.id - b.id) FROM range(1000000000) a CROSS JOIN range(100000000) b GROUP BY (a.id - b.id)"


def test_query_execute(warehouse: Warehouse) -> None:
    """query_execute.py"""
    with sql.connect(**warehouse.connect_options()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM main.blade.item LIMIT 2")
        assert len(cursor.fetchall()) == 2


def test_insert_data(connect: Connect) -> None:
    """insert_data.py"""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS squares (x int, x_squared int)")
        cursor.execute("INSERT INTO squares VALUES " + ",".join(f"({x}, {x * x})" for x in range(100)))
        cursor.execute("SELECT * FROM squares WHERE x < 3 ORDER BY x")
        assert [tuple(row) for row in cursor.fetchall()] == [(0, 0), (1, 1), (2, 4)]
        cursor.execute("DROP TABLE squares")


def test_query_cancel(connect: Connect, warehouse: Warehouse) -> None:
    """query_cancel.py: another thread cancels, and the cursor can be used again."""
    from concurrent.futures import ThreadPoolExecutor

    with connect() as connection, connection.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        running = pool.submit(cursor.execute, ENDLESS)
        wait_until(lambda: cursor.active_command_id is not None and _running(warehouse) == 1)
        cursor.cancel()
        with pytest.raises(DatabaseError):
            running.result(timeout=60)
        for fetch in (cursor.fetchall, cursor.fetchone, lambda: cursor.fetchmany(10)):
            with pytest.raises(sql.Error):
                fetch()
        assert len(cursor.execute("SELECT * FROM range(3)").fetchall()) == 3
    wait_until(lambda: _running(warehouse) == 0)


def _running(warehouse: Warehouse) -> int:
    return int(control(warehouse, "/sandbox/status")["running_operations"])


def test_query_async_execute(connect: Connect) -> None:
    """query_async_execute.py, also from another connection's cursor while it runs."""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute_async(
            "SELECT COUNT(*) FROM RANGE(16) x JOIN RANGE(1000) y "
            "ON FROM_UNIXTIME(x.id * y.id, \"yyyy-MM-dd\") LIKE '%not%a%date%'"
        )
        wait_until(lambda: not cursor.is_query_pending())
        cursor.get_async_execution_result()
        assert [tuple(row) for row in cursor.fetchall()] == [(0,)]


@pytest.mark.parametrize("inline", [False, "silent"])
def test_parameters_by_name_in_both_modes(connect: Connect, inline: bool | str) -> None:
    """parameters.py, examples 1 and 2"""
    with connect(use_inline_params=inline).cursor() as cursor:
        found = cursor.execute(
            "SELECT %(name)s `name`, %(age)s `age`, %(active)s `active`", {"name": "Jane", "age": 30, "active": True}
        ).fetchone()
    assert (found.name, found.age, found.active) == ("Jane", 30, True)


def test_parameters_by_position(connect: Connect) -> None:
    """parameters.py, examples 3 and 4"""
    moment = datetime(2012, 10, 15, 12, 57, 18, tzinfo=ZoneInfo("America/Chicago"))
    price = Decimal("12.3456")
    values = [moment, TimestampNTZParameter(moment), price, DecimalParameter(price, scale=4, precision=2)]
    with connect().cursor() as cursor:
        found = cursor.execute("SELECT ? `p1`, ? `p2`, ? `p3`, ? `p4`", values).fetchone()
    assert found.p1 == moment
    assert found.p2 == datetime(2012, 10, 15, 12, 57, 18)  # noqa: DTZ001 - the type has no zone
    assert (found.p3, found.p4) == (price, Decimal("12.35"))
    with connect(use_inline_params="silent").cursor() as cursor:
        assert tuple(cursor.execute("SELECT %s `a`, %s `b`", ["Jane", 30]).fetchone()) == ("Jane", 30)


def test_set_user_agent(connect: Connect) -> None:
    """set_user_agent.py"""
    with connect(_user_agent_entry="ExamplePartnerTag") as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchone()[0] == 1


def test_query_tags(connect: Connect) -> None:
    """query_tags_example.py: for the session and for one statement, ANSI mode off."""
    configuration = {"QUERY_TAGS": "team:engineering,test:query-tags", "ansi_mode": False}
    with connect(session_configuration=configuration) as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT 1", query_tags={"step": "load"}).fetchone()[0] == 1
        assert tuple(cursor.execute("SET QUERY_TAGS").fetchone()) == ("QUERY_TAGS", configuration["QUERY_TAGS"])


def test_custom_logger(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """custom_logger.py"""
    caplog.set_level(logging.DEBUG, "databricks.sql")
    with connect() as connection:
        connection.cursor().execute("SELECT 1")
        connection.close()
    assert "Session appears to have been closed already" in caplog.text


def test_custom_cred_provider(warehouse: Warehouse) -> None:
    """custom_cred_provider.py: the token comes from the program's own provider."""

    class Provider:
        def auth_type(self) -> str:
            return "sandbox"

        def __call__(self) -> Any:
            return lambda: {"Authorization": f"Bearer {warehouse.token}"}

    options = {name: value for name, value in warehouse.connect_options().items() if name != "access_token"}
    with sql.connect(**options, credentials_provider=Provider()) as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchone()[0] == 1


@pytest.mark.slow
def test_retries_of_a_busy_warehouse(connect: Connect, warehouse: Warehouse) -> None:
    """v3_retries_query_execute.py: a warehouse that is busy for two calls."""
    policy = {"_retry_stop_after_attempts_count": 5, "_retry_stop_after_attempts_duration": 30}
    with connect(**policy, _retry_delay_min=0.1, _retry_delay_max=0.2) as connection, connection.cursor() as cursor:
        warehouse.set_faults(fail_next={"count": 2, "code": 503, "retry_after": 1, "call": "ExecuteStatement"})
        assert cursor.execute("SELECT 1").fetchone()[0] == 1


def test_transactions(connect: Connect) -> None:
    """transactions.py: money moves between accounts, all of it or nothing."""
    with connect(ignore_transactions=False) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute("CREATE TABLE IF NOT EXISTS accounts (id int, balance int)")
        cursor.execute("CREATE TABLE IF NOT EXISTS transfers (from_id int, to_id int, amount int)")
        connection.commit()
        cursor.execute("INSERT INTO accounts VALUES (1, 1000), (2, 500)")
        cursor.execute("UPDATE accounts SET balance = balance - 100 WHERE id = 1")
        cursor.execute("UPDATE accounts SET balance = balance + 100 WHERE id = 2")
        cursor.execute("INSERT INTO transfers VALUES (1, 2, 100)")
        connection.commit()
        cursor.execute("SELECT * FROM accounts ORDER BY id")
        assert [tuple(row) for row in cursor.fetchall()] == [(1, 900), (2, 600)]
        connection.rollback()
        connection.autocommit = True
        cursor.execute("DROP TABLE accounts")
        cursor.execute("DROP TABLE transfers")


def test_staging_ingestion(connect: Connect, tmp_path: Path) -> None:
    """staging_ingestion.py: a file goes up, comes back, and is removed."""
    sent, got = tmp_path / "sent.csv", tmp_path / "got.csv"
    sent.write_bytes(b"hello world!")
    stage = "stage://tmp/sandbox/tmp/11/15/file1.csv"
    with connect(staging_allowed_local_path=str(tmp_path)) as connection, connection.cursor() as cursor:
        cursor.execute(f"PUT '{sent}' INTO '{stage}' OVERWRITE")
        cursor.execute(f"GET '{stage}' TO '{got}'")
        assert got.read_bytes() == b"hello world!"
        with pytest.raises(sql.Error, match="FILE_IN_STAGING_PATH_ALREADY_EXISTS"):
            cursor.execute(f"PUT '{sent}' INTO '{stage}'")
        cursor.execute(f"REMOVE '{stage}'")
        with pytest.raises(sql.Error, match="unsuccessful: 404"):
            cursor.execute(f"GET '{stage}' TO '{got}'")


def test_a_link_is_for_one_file_and_one_method(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(staging_allowed_local_path="/")
    cursor = connection.cursor()
    cursor.execute("PUT '__input_stream__' INTO 'stage://tmp/sandbox/linked' OVERWRITE", input_stream=io.BytesIO(b"x"))
    links = []
    monkeypatch.setattr(cursor, "_handle_staging_get", lambda **given: links.append(given["presigned_url"]))
    cursor.execute("GET 'stage://tmp/sandbox/linked' TO '/nowhere'")
    with urllib.request.urlopen(links[0], timeout=60) as reply:
        assert reply.read() == b"x"
    for url, method in ((links[0], "PUT"), (links[0], "DELETE"), (links[0] + "x", "GET")):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(urllib.request.Request(url, method=method, data=b""), timeout=60)


def test_streaming_put_and_volume_operations(connect: Connect) -> None:
    """streaming_put.py and volume_operations.py: a stream goes into a volume and is listed there."""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE VOLUME IF NOT EXISTS main.default.files")
        path = "/Volumes/main/default/files/dir-1/stream.txt"
        cursor.execute(f"PUT '__input_stream__' INTO '{path}' OVERWRITE", input_stream=io.BytesIO(b"streamed"))
        cursor.execute("LIST '/Volumes/main/default/files/dir-1'")
        assert [(row.path, row.size) for row in cursor.fetchall()] == [(path, 8)]
        cursor.execute("LIST '/Volumes/main/default/files/'")
        assert [row.name for row in cursor.fetchall()] == ["dir-1/"]
        cursor.execute("DROP VOLUME main.default.files")
        with pytest.raises(sql.Error, match="NOT_FOUND"):
            cursor.execute("LIST '/Volumes/main/default/files/'")


class Base(DeclarativeBase):
    pass


class Show(Base):
    __tablename__ = "show"
    name: Mapped[str] = mapped_column(sqlalchemy.String(255), primary_key=True)
    episodes: Mapped[int]


def test_sqlalchemy(warehouse: Warehouse) -> None:
    """sqlalchemy.py: tables from classes, rows through a session."""
    options = warehouse.connect_options()
    pytest.importorskip("databricks.sqlalchemy", reason="databricks-sqlalchemy is not installed")
    url = f"databricks://token:{warehouse.token}@127.0.0.1?http_path={warehouse.http_path}&catalog=main&schema=default"
    engine = sqlalchemy.create_engine(url, connect_args=options)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Show(name="a", episodes=6), Show(name="b", episodes=12)])
        session.commit()
        assert len(session.scalars(sqlalchemy.select(Show)).all()) == 2
    Base.metadata.drop_all(engine)
    engine.dispose()


def test_persistent_and_interactive_oauth_are_not_for_the_sandbox(warehouse: Warehouse) -> None:
    """persistent_oauth.py, interactive_oauth.py, m2m_oauth.py: a wrong token is refused at once."""
    began = time.monotonic()
    options = {**warehouse.connect_options(), "access_token": "oauth", "_retry_stop_after_attempts_count": 1}
    with pytest.raises(sql.Error, match="Invalid access token"):
        sql.connect(**options)
    assert time.monotonic() - began < 5
