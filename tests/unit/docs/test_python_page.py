"""Every example of docs/python.md runs, against the fake that it explains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from blade.v1 import access_service_pb2 as access
from blade.v1 import audit_service_pb2 as audit
from blade.v1 import job_service_pb2 as jobs
from blade.v1 import sync_service_pb2 as syncs
from blade.v1.job_pb2 import Job
from blade_client.testing import FakeBlade

PAGE = Path(__file__).parents[3] / "docs" / "python.md"
EXAMPLES = [
    re.sub(r"^    ", "", block, flags=re.MULTILINE)
    for block in re.findall(r"(?:^(?:    .*)?\n)+", PAGE.read_text(), re.M)
]
TESTS = [example for example in EXAMPLES if "def test_" in example]


def test_the_page_has_examples_of_both_kinds() -> None:
    assert len(TESTS) == 2
    assert sum("BladeClient(" in example for example in EXAMPLES) == 3


@pytest.mark.parametrize("example", TESTS, ids=["jobs", "conditions"])
def test_the_tests_on_the_page_pass(example: str) -> None:
    names: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_the_calls_on_the_page_work(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [example for example in EXAMPLES if "blade.query(" in example and "def test_" not in example]
    with FakeBlade() as fake:
        fake.add_source("blade-maintenance", data_type="maintenance")
        fake.add_items("blade-maintenance", {"MAINT-1": {"priority": "HIGH"}, "MAINT-2": {"priority": "LOW"}})
        fake.refuse("MAINT-2", message="422 unknown tail number")
        exec(compile(example.replace("127.0.0.1:50051", fake.target), str(PAGE), "exec"), {})
    said = capsys.readouterr().out
    assert "MAINT-2 422 unknown tail number\n2\n" in said
    assert "MAINT-1 {'priority': 'HIGH'}" in said
    assert "ITEM_NOT_FOUND" in said


def test_the_calls_about_access_on_the_page_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (example,) = [example for example in EXAMPLES if "BladeClient(" in example and "blade.access" in example]
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("blade_x_y")
    with FakeBlade() as fake:
        fake.on("CreateToken", access.CreateTokenResponse(secret="blade_n_s", token={"token_id": "n"}))
        fake.on("CreateGrant", access.CreateGrantResponse())
        fake.on("ListTokens", access.ListTokensResponse(tokens=[{"token_id": "n"}]))
        fake.on("RevokeToken", access.RevokeTokenResponse())
        refused = audit.AuditEntry(number=7, principal="eve", method="CancelJob", detail="ACCESS_DENIED")
        fake.on("ListAuditEntries", audit.ListAuditEntriesResponse(entries=[refused]))
        fake.on("VerifyAuditLog", audit.VerifyAuditLogResponse(intact=True))
        fake.on("ExportAuditLog", [])
        here = example.replace("blade.example.org:50051", fake.target).replace("tls=True, ", "")
        code = f"from blade_client import BladeClient\n{here.replace('admin.token', str(token))}"
        exec(compile(code, str(PAGE), "exec"), {})
        assert fake.metadata["authorization"] == "Bearer blade_x_y"
    assert capsys.readouterr().out == "anybody\n['n']\n7 eve CancelJob ACCESS_DENIED\nTrue\n"


def test_the_calls_about_syncs_on_the_page_work(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [example for example in EXAMPLES if "blade.syncs.create" in example]
    with FakeBlade() as fake:
        fake.add_source("blade-maintenance")
        done = Job(job_id="job-1", status="COMPLETED", sync_report={"counts": {"created": 3}})
        fake.on("PlanSync", syncs.PlanSyncResponse(job=done))
        fake.on("RunSync", syncs.RunSyncResponse(job=done))
        fake.on("WatchJob", [jobs.WatchJobResponse(job=done)])
        fake.on("GetSyncReport", syncs.GetSyncReportResponse(job=done, changes=[{"kind": "CREATE", "item_id": "M-1"}]))
        code = f"from blade_client import BladeClient\n{example.replace('127.0.0.1:50051', fake.target)}"
        exec(compile(code, str(PAGE), "exec"), {})
    assert capsys.readouterr().out == "1 M-1\ncreated: 3\n\n"
