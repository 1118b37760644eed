"""Programs of others that tests run for real; they come from the system's packages, not from PyPI."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of a program. Where it is absent the test is left out; with BLADE_REQUIRE_PROGRAMS=1 it fails."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        words = f"needs {name} (Debian: apt install {package})"
        if os.environ.get("BLADE_REQUIRE_PROGRAMS") == "1":
            pytest.fail(words)
        pytest.skip(words)
    return path
