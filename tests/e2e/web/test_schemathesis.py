"""Schemathesis against the whole: thousands of requests made from the OpenAPI document, right and wrong ones.

Needs the package `schemathesis`, which is not among the dependencies for development: it brings many of its own.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method"
)


@pytest.fixture(autouse=True)
def _schemathesis():
    if importlib.util.find_spec("schemathesis") is None:
        message = "schemathesis is missing (pip install schemathesis)"
        if os.environ.get("BLADE_REQUIRE_SCHEMATHESIS"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.mark.timeout(600)
def test_no_request_makes_a_server_error_or_an_answer_that_is_not_documented(http_url, tmp_path):
    command = Path(sys.executable).with_name("schemathesis")
    options = ["--max-examples", "15", "--seed", "1", "--generation-database", "none", "--request-timeout", "30"]
    done = subprocess.run(
        [command if command.exists() else shutil.which("schemathesis"), "run", f"{http_url}/openapi.json",
         "--checks", CHECKS, *options, "--no-color", "--continue-on-failure"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
