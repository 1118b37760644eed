"""The real maintenance records of the FAA, with the oddities they came with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Cli

from blade_sandbox.check import Expected, Row, check
from blade_sandbox.sandbox import Sandbox

pytestmark = pytest.mark.shared_data
SDR, AID = "main.blade.faa_sdr", "main.blade.faa_aid"
FILES = {
    SDR: "maintenance_faa_sdr_b737_ata32_2024_2025.parquet",
    AID: "maintenance_faa_aid_1975_2008.parquet",
}


@pytest.fixture(scope="module")
def world(make_world: Callable[..., Sandbox], shared_data: Path) -> Sandbox:
    return make_world(tables={table: shared_data / file for table, file in FILES.items()})


def expected(data_type: str, item_id: str, last_modified: str) -> Expected:
    return Expected(
        data_type=data_type,
        item_id=lambda row: row[item_id].strip(),
        classification=lambda _: "UNCLASS",
        last_modified=lambda row: moment(row, last_modified),
    )


def moment(row: Row, column: str) -> datetime | None:
    text = (row[column] or "").strip()
    if not text:
        return None
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%m/%d/%Y", "%m/%d/%Y %H:%M:%S", "%Y%m%d"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return datetime.fromisoformat(text).astimezone(UTC)


def moved(world: Sandbox, name: str, table: str, item_id: str, last_modified: str, *, code: int) -> Any:
    blade = Cli(world.target)
    blade(
        "source", "add", "--name", name, "--data-type", name, "--table", table,
        "--item-id", item_id, "--last-modified", last_modified, "--classification", "UNCLASS",
    )  # fmt: skip
    job_id = blade("job", "start", "--source", name, "--json").json["jobId"]
    blade("job", "watch", job_id, code=code)
    return blade, blade("job", "show", job_id, "--json").json


def test_the_seven_difficulty_reports_without_an_id_are_errors_and_the_other_484_arrive(world: Sandbox) -> None:
    blade, job = moved(world, "sdr", SDR, "OperatorControlNumber", "SubmissionDate", code=8)
    assert (job["status"], job["totalItems"], job["successCount"], job["errorCount"]) == ("COMPLETED", 491, 484, 7)
    errors = blade("job", "errors", job["jobId"], "--json").json["errors"]
    assert [error["reason"] for error in errors] == ["ERROR_REASON_MISSING_ITEM_ID"] * 7
    assert {error["field"] for error in errors} == {"OperatorControlNumber"}
    with_id = "trim(coalesce(OperatorControlNumber, '')) <> ''"
    statement = f"SELECT * FROM {SDR} WHERE {with_id} ORDER BY trim(OperatorControlNumber)"
    found = check(world, statement, expected("sdr", "OperatorControlNumber", "SubmissionDate"))
    assert found.clean, found
    assert found.items == 484


def test_all_accident_records_arrive_with_their_blank_padded_fields(world: Sandbox) -> None:
    _, job = moved(world, "aid", AID, "control_number", "date_last_modified", code=0)
    assert (job["status"], job["successCount"], job["errorCount"]) == ("COMPLETED", 2763, 0)
    found = check(
        world,
        f"SELECT * FROM {AID} ORDER BY trim(control_number)",
        expected("aid", "control_number", "date_last_modified"),
    )
    assert found.clean, found
