"""The provider of real_provider.mjs as a process. Needs node, and the npm registry the first time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.paths import ROOT
from tests.support.ports import free_port

PACKAGE = "oidc-provider@9.13.3"
CLIENT_SECRET = "s3cret-of-the-page"
_FOLDER = ROOT / ".build" / "oidc-provider"
_SCRIPT = Path(__file__).with_suffix(".mjs")


@contextmanager
def real_provider(callback: str) -> Iterator[str]:
    """Its issuer. `callback`: where it sends browsers of the page back."""
    node = _node()
    port = free_port()
    shutil.copy(_SCRIPT, _FOLDER / _SCRIPT.name)  # beside what it imports
    process = subprocess.Popen(
        [node, str(_FOLDER / _SCRIPT.name), str(port), callback],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "ready\n":
            assert line, "the provider has not started"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def _node() -> str:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        message = "node and npm are missing"
        if os.environ.get("BLADE_REQUIRE_OIDC_PROVIDER"):
            pytest.fail(message)
        pytest.skip(message)
    if not (_FOLDER / "node_modules" / "oidc-provider").is_dir():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(_FOLDER), PACKAGE],
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr[-500:]}")
    return node
