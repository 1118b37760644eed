"""Programs and packages of others that tests run for real, and that no install of BLADE brings."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from typing import Any, NoReturn

import pytest
from tests.support.paths import ROOT

_FOLDERS = f"{ROOT / '.build' / 'tools'}:/usr/sbin:/usr/local/sbin:/sbin"


def program(name: str, package: str = "", *, by: str = "") -> str:
    """The path of a program, which a package of Debian brings, or what `by` says.

    Where it is absent the test is left out; with BLADE_REQUIRE_PROGRAMS=1 it fails.
    """
    path = shutil.which(name) or shutil.which(name, path=_FOLDERS)
    return path or _left_out(f"needs {name} ({by or f'Debian: apt install {package}'})")


def package(name: str, extra: str) -> Any:
    """A Python package of an extra; left out or failed as for a program."""
    try:
        return import_module(name)
    except ImportError:
        _left_out(f"needs {name} (pip install 'blade[{extra}]')")


def _left_out(words: str) -> NoReturn:
    if os.environ.get("BLADE_REQUIRE_PROGRAMS") == "1":
        pytest.fail(words)
    pytest.skip(words)
