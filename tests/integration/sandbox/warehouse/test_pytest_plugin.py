"""The pytest plugin, used as its users use it: in a project of their own, run by a pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.paths import ROOT

DOCS = ROOT / "docs" / "sandbox.md"


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pytest over a folder, in a process of its own, with what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *arguments, str(folder)],
        capture_output=True, text=True, timeout=100, check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def documented_files() -> dict[str, str]:
    """The example project of docs/sandbox.md: file name -> content."""
    section = DOCS.read_text().split("### In your own tests", 1)[1].split("\n### ", 1)[0]
    return {
        name: re.sub(r"(?m)^    ", "", body)
        for name, body in re.findall(r"^`([\w.]+\.py)`:\n\n((?:    .*\n|\n)+)", section, re.MULTILINE)
    }


def test_the_example_of_the_documentation_runs_as_written(tmp_path: Path) -> None:
    files = documented_files()
    assert sorted(files) == ["conftest.py", "report.py", "test_report.py"]
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


CONFTEST = 'pytest_plugins = ["blade_sandbox.pytest_plugin"]\n'

TABLES = """
import datetime
import decimal
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.paths import ROOT

HERE = Path(__file__).parent


def rows(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]


def types(connection, table):
    return [row[1] for row in rows(connection, f"DESCRIBE {table}")]


def test_from_mappings(databricks_connection, databricks_table):
    table = databricks_table("sortie", [{"id": 1, "tail": "N1"}, {"id": 2}])
    assert rows(databricks_connection, f"SELECT * FROM {table} ORDER BY id") == [(1, "N1"), (2, None)]
    assert rows(databricks_connection, "SELECT count(*) FROM sortie") == [(2,)]
    assert types(databricks_connection, table) == ["bigint", "string"]


def test_from_sequences_with_types(databricks_connection, databricks_table):
    columns = {"id": "INT", "cost": "DECIMAL(10,2)", "due": "DATE", "tags": "ARRAY<STRING>"}
    table = databricks_table("due", [(1, decimal.Decimal("1.5"), datetime.date(2024, 1, 2), ["a"])], columns=columns)
    assert types(databricks_connection, table) == ["int", "decimal(10,2)", "date", "array<string>"]
    assert rows(databricks_connection, "SELECT id, cost, due, tags[0] FROM due") == [
        (1, decimal.Decimal("1.50"), datetime.date(2024, 1, 2), "a")
    ]


def test_without_rows(databricks_connection, databricks_table):
    databricks_table("empty", columns={"id": "BIGINT"})
    assert rows(databricks_connection, "SELECT * FROM empty") == []
    with pytest.raises(ValueError, match="needs columns"):
        databricks_table("nothing")


def test_from_arrow_and_over_a_table_of_that_name(databricks_connection, databricks_table):
    databricks_table("t", pa.table({"a": [1]}))
    databricks_table("t", pa.table({"b": ["x", "y"]}))
    assert rows(databricks_connection, "SELECT b FROM t ORDER BY b") == [("x",), ("y",)]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.ndjson"])
def test_from_a_file(databricks_connection, databricks_table, name):
    databricks_table("filed", HERE / name)
    assert rows(databricks_connection, "SELECT id, name FROM filed ORDER BY id") == [(1, "a"), (2, "b")]


def test_a_missing_file(databricks_table):
    with pytest.raises(ValueError, match="does not exist"):
        databricks_table("missing", "missing.csv")


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_has_a_schema_of_its_own(databricks_connection, databricks_table, number):
    assert rows(databricks_connection, "SHOW TABLES") == []
    databricks_table("left_behind", [{"n": number}])


def test_the_schemas_of_the_tests_before_are_gone(databricks_connection, databricks_schema):
    found = {row[0] for row in rows(databricks_connection, "SHOW SCHEMAS LIKE 'test_*'")}
    assert found == {databricks_schema}
"""

FAULTS = """
import pytest
from databricks import sql


def test_a_fault_strikes(databricks_connection, databricks_faults):
    databricks_faults(fail_next={"count": 1, "code": 502, "call": "ExecuteStatement"}, slow_fetch_ms=1)
    with pytest.raises(sql.Error):
        databricks_connection.cursor().execute("SELECT 1")
    databricks_faults(expire_sessions=True)
    with pytest.raises(sql.Error, match="Invalid SessionHandle"):
        databricks_connection.cursor().execute("SELECT 1")
    with pytest.raises(ValueError, match="explode"):
        databricks_faults(explode=True)
    databricks_faults(fail_next={"count": 5, "code": 502})


def test_the_next_test_is_not_struck(databricks_connection, databricks_warehouse):
    assert databricks_connection.cursor().execute("SELECT 1").fetchone()[0] == 1
    assert databricks_warehouse.faults.shown()["slow_fetch_ms"] == 0
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_tables.py").write_text(TABLES)
    (tmp_path / "test_faults.py").write_text(FAULTS)
    pq.write_table(pa.table({"id": [1, 2], "name": ["a", "b"]}), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("id,name\n1,a\n2,b\n")
    (tmp_path / "rows.ndjson").write_text('{"id": 1, "name": "a"}\n{"id": 2, "name": "b"}\n')
    return tmp_path


def test_tables_and_faults_are_there_for_one_test_and_gone_after_it(project: Path) -> None:
    done = run_pytest(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 passed" in done.stdout


@pytest.mark.slow
def test_processes_side_by_side_do_not_meet(project: Path) -> None:
    """What pytest-xdist does: the same tests in several processes at once."""
    arguments = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(project)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(arguments, cwd=project, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in running:
        out, _ = process.communicate(timeout=100)
        assert process.returncode == 0, out


def test_it_can_be_named_on_the_command_line(project: Path) -> None:
    (project / "conftest.py").unlink()
    done = run_pytest(project, "-p", "blade_sandbox.pytest_plugin", "-k", "mappings")
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_not_loaded_unless_it_is_named(project: Path) -> None:
    (project / "conftest.py").unlink()
    done = run_pytest(project, "-k", "mappings")
    assert "fixture 'databricks_connection' not found" in done.stdout
