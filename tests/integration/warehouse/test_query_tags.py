"""Query tags: what a statement is for, in the warehouse's own history."""

from __future__ import annotations

import pytest

from blade_sandbox.warehouse.errors import SqlError
from blade_sandbox.warehouse.session.session import Session
from blade_server.errors import Deadline
from blade_server.warehouse import Target, Warehouse

ENDLESS = "SELECT count(*) FROM main.blade.numbers a, main.blade.numbers b WHERE a.amount * b.amount = 3.3"
TAGS = {"blade_job": "job-1", "blade_trace": ""}


def rows(warehouse: Warehouse, sql: str) -> list[dict[str, object]]:
    return [row for batch in warehouse.execute(sql) for row in batch.to_pylist()]


def test_a_session_has_those_that_are_not_empty_and_goes_on_having_them(target: Target) -> None:
    with Warehouse(target, tags=TAGS) as warehouse:
        assert rows(warehouse, "SET QUERY_TAGS") == [{"key": "QUERY_TAGS", "value": "blade_job:job-1"}]
        with pytest.raises(Deadline):  # its session is given up
            warehouse.execute(ENDLESS, timeout_s=0.05)
        assert rows(warehouse, "SET QUERY_TAGS") == [{"key": "QUERY_TAGS", "value": "blade_job:job-1"}]


def test_a_warehouse_that_takes_none_is_asked_without_and_the_log_says_so(
    target: Target, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assign = Session.assign

    def refuse(session: Session, name: str, value: str) -> None:
        if name == "QUERY_TAGS":
            raise SqlError("CONFIG_NOT_AVAILABLE", "42K0I", "Configuration QUERY_TAGS is not available.")
        assign(session, name, value)

    monkeypatch.setattr(Session, "assign", refuse)
    with Warehouse(target, tags=TAGS) as warehouse:
        assert rows(warehouse, "SELECT 1 AS one") == [{"one": 1}]
    assert [record.message for record in caplog.records if "query tags" in record.message] == [
        f"{target} takes no query tags: its history does not tell which job a statement is of"
    ]
