"""The unit for systemd, looked at by systemd."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.paths import ROOT
from tests.support.programs import program

UNIT = ROOT / "deploy" / "systemd" / "blade.service"
MOST_EXPOSED = 15
"""Tenths of systemd's points, of 100."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """With a program that is here."""
    own = tmp_path / UNIT.name
    own.write_text(UNIT.read_text().replace("/opt/blade/bin/blade serve", f"{sys.executable} -m blade_server serve"))
    return own


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze", "systemd"), "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_has_nothing_against_it(unit: Path) -> None:
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_locked_in(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(unit))
    assert done.returncode == 0, done.stdout.splitlines()[-1]
