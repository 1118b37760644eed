"""The OpenAPI document under Redocly's recommended rules. Needs node, and the npm registry the first time."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from blade.v1 import config_service_pb2, ingest_service_pb2, job_service_pb2, query_service_pb2
from blade_server.web.openapi import document
from blade_server.web.transcoder.rules import rules_of

LINTER = "@redocly/cli@2.77.0"
FILES = (config_service_pb2, query_service_pb2, ingest_service_pb2, job_service_pb2)


@pytest.mark.timeout(300)
def test_the_document_has_no_fault(tmp_path):
    npx = shutil.which("npx")
    if npx is None:
        message = "npx is missing (install node)"
        if os.environ.get("BLADE_REQUIRE_REDOCLY"):
            pytest.fail(message)
        pytest.skip(message)
    services = [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]
    (tmp_path / "openapi.json").write_bytes(document(rules_of(services)))
    done = subprocess.run(
        [npx, "--yes", LINTER, "lint", "openapi.json", "--format=stylish"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"REDOCLY_TELEMETRY": "off"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
