"""What all tests share: the real records of ../shared/data and what is left out without them, and own databases."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.access import ADMIN_TOKEN
from tests.support.databases import create_database, own_database
from tests.support.paths import ROOT, SHARED_DATA
from tests.support.postgres import postgres_without_sync
from tests.support.waiting import wait_until

SHARED_FILES = (
    "maintenance_faa_sdr_b737_ata32_2024_2025.parquet",
    "maintenance_faa_aid_1975_2008.parquet",
)
_TEMPLATE = "blade_template"

os.environ["BLADE_TOKEN"] = ADMIN_TOKEN  # of every client and every command that a test starts
for _name in ("BLADE_TOKEN_FILE", "BLADE_PROFILE"):
    os.environ.pop(_name, None)


def pytest_configure(config: pytest.Config) -> None:
    """Ctrl+C works in what the tests start, also where this run was put in the background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _absent() and os.environ.get("BLADE_REQUIRE_SHARED_DATA") == "1":
        raise pytest.UsageError(f"BLADE_REQUIRE_SHARED_DATA=1, and {SHARED_DATA} lacks {', '.join(_absent())}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Of `-n auto`: two a core, because most tests wait more than they compute; of `-n logical`: one.

    Xdist's own variable goes before.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    a_core = 2 if config.getoption("numprocesses") == "auto" else 1
    return min(a_core * (os.cpu_count() or 1), 8)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says which extra tests did not run, and how to have this order again."""
    skipped = terminalreporter.getreports("skipped")
    left_out = sorted(report.nodeid for report in skipped if "shared_data" in report.keywords)
    if left_out:
        terminalreporter.section("left out", sep="-", yellow=True)
        terminalreporter.line(
            f"{len(left_out)} extra tests did not run, because they need the real records in {SHARED_DATA}:"
        )
        for nodeid in left_out:
            terminalreporter.line(f"  {nodeid}")
    seed = config.getoption("randomly_seed", None)
    if seed is not None:
        terminalreporter.line(f"The same order again: --randomly-seed={seed}")


# ------------------------------------------------------------------------------------------------- the real records


def _absent() -> list[str]:
    return [name for name in SHARED_FILES if not (SHARED_DATA / name).is_file()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out the tests marked shared_data where the records are absent; all of tests/faults is slow."""
    for item in items:
        if "faults" in item.path.relative_to(ROOT).parts:
            item.add_marker(pytest.mark.slow)
    if _absent():
        for item in items:
            if item.get_closest_marker("shared_data"):
                item.add_marker(pytest.mark.skip(reason=f"needs {SHARED_DATA}"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real records; use it only in tests marked shared_data."""
    return SHARED_DATA


# ------------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="session", autouse=True)
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What servers keep outside PostgreSQL goes with this run, and not into the user's folder; nor do profiles."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session")
def _postgres() -> Iterator[str]:
    """URL of a PostgreSQL server for this run; its `postgres` database stays empty."""
    with postgres_without_sync() as url:
        yield url


@pytest.fixture(scope="session")
def _migrated_template(_postgres: str) -> str:
    from blade_server.storage.migrate import migrate

    migrate(create_database(_postgres, _TEMPLATE, "template0"))
    return _TEMPLATE


@pytest.fixture
def postgres_url(_postgres: str, _migrated_template: str) -> Iterator[str]:
    """URL of a database of the test's own, with all tables and no rows."""
    with own_database(_postgres, _migrated_template) as url:
        yield url


@pytest.fixture
def empty_postgres_url(_postgres: str) -> Iterator[str]:
    """URL of a database of the test's own, without any table."""
    with own_database(_postgres, "template0") as url:
        yield url


# ------------------------------------------------------------------------------------------------- waiting


@pytest.fixture(name="wait_until", scope="session")
def _wait_until() -> Callable[..., None]:
    """`wait_until(condition, timeout_s=30)`: polls where there is no event to wait for."""
    return wait_until
