"""Servers of other releases beside one of this tree, on one PostgreSQL, warehouse and catalog."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.paths import ROOT
from tests.upgrade.world import UpgradeWorld

_RELEASES = ROOT / "tests" / "upgrade" / "releases.txt"
_BUILT = ROOT / ".build" / "releases"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(900))  # the first one makes the environment of an older release


def python_of(release: str) -> Path:
    """Of an environment with that release in it, with its own versions of all it needs; made once."""
    commit = dict(line.split() for line in _RELEASES.read_text().splitlines() if not line.startswith("#"))[release]
    folder = _BUILT / f"{release}-{commit[:12]}"
    python = folder / ".venv" / "bin" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _build(commit, folder, python)
            (folder / "ready").touch()
    return python


def _build(commit: str, folder: Path, python: Path) -> None:
    code = folder / "code"
    shutil.rmtree(code, ignore_errors=True)
    code.mkdir()
    packed = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True)
    if packed.returncode:
        words = f"the older release is not here (a shallow clone?): {packed.stderr.decode().strip()}"
        if os.environ.get("BLADE_REQUIRE_RELEASES") == "1":
            pytest.fail(words)
        pytest.skip(words)
    subprocess.run(["tar", "-x", "-C", code], input=packed.stdout, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder / ".venv"], check=True)
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--constraint",
        code / "constraints.txt",
        "--editable",
        ".[server]",
    ]
    subprocess.run(install, cwd=code, check=True)


@pytest.fixture(scope="session")
def old() -> Path:
    """Python of 0.2.0."""
    return python_of("0.2.0")


@pytest.fixture(scope="session")
def first() -> Path:
    """Python of 0.1.0."""
    return python_of("0.1.0")


@pytest.fixture
def world(tmp_path: Path, empty_postgres_url: str) -> Iterator[UpgradeWorld]:
    world = UpgradeWorld(tmp_path, empty_postgres_url)
    yield world
    world.close()
