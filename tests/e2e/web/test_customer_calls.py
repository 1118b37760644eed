"""The five calls of the customer's document, as written there, with curl."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")

SOURCE = """{
  "name": "blade-maintenance",
  "displayName": "BLADE Maintenance Data",
  "dataType": "maintenance",
  "enabled": true,
  "config": {
    "catalog": "main",
    "schema": "blade",
    "table": "blade_maintenance_data",
    "warehouse_id": "test-warehouse"
  }
}"""


@pytest.fixture
def curl(http_url):
    def run(method, path, body=None, headers=()):
        command = [
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--write-out",
            "\n%{http_code}",
            "-X",
            method,
        ]
        for header in headers:
            command += ["-H", header]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", body]
        done = subprocess.run([*command, http_url + path], capture_output=True, check=True, text=True)
        text, _, code = done.stdout.rpartition("\n")
        return int(code), text

    return run


def test_the_five_calls(curl):
    code, text = curl("POST", "/configure/blade/maintenance", SOURCE)
    assert code == 200, text
    code, text = curl("GET", "/configure/blade/blade-maintenance")
    assert (code, json.loads(text)["displayName"]) == (200, "BLADE Maintenance Data")

    code, text = curl("GET", "/blade/maintenance?limit=10")
    assert code == 200, text
    items = json.loads(text)["items"]
    assert len(items) == 10
    assert {item["dataType"] for item in items} == {"maintenance"}

    code, text = curl("POST", "/blade/maintenance/MAINT-123/ingest")
    assert code == 200, text
    assert json.loads(text)["outcome"] == "CREATED"
    assert json.loads(curl("POST", "/blade/maintenance/MAINT-123/ingest")[1])["outcome"] == "ALREADY_EXISTS"

    code, text = curl(
        "POST", "/jobs/blade/query/start", """{"sql": "SELECT * FROM maintenance WHERE priority='HIGH'"}"""
    )
    assert code == 202, text
    job_id = json.loads(text)["jobId"]

    deadline = time.monotonic() + 60
    status = {"status": "PENDING"}
    while status["status"] in ("PENDING", "RUNNING"):
        assert time.monotonic() < deadline, status
        code, text = curl("GET", f"/jobs/blade/query/status?id={job_id}")
        status = json.loads(text)
        assert code == 200
        time.sleep(0.1)
    assert status["status"] == "COMPLETED"
    assert status["processedItems"] == status["totalItems"] == status["successCount"] > 0
    assert status["errorCount"] == 0

    code, text = curl("GET", f"/jobs/{job_id}:watch", headers=["Accept: text/event-stream"])
    assert code == 200
    assert text.rstrip().endswith("id: end\nevent: end\ndata: {}")


def test_an_error_of_the_service_keeps_its_code_and_details(curl):
    code, text = curl("GET", "/jobs/blade/query/status?id=job-00000000000000000000")
    error = json.loads(text)["error"]
    assert (code, error["status"], error["details"][0]["reason"]) == (404, "NOT_FOUND", "JOB_NOT_FOUND")
