"""`blade doctor` as a command: what it finds with a real PostgreSQL, warehouse and catalog, and with none."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import psycopg2
import pyarrow as pa
import pytest
import requests
from sqlalchemy import make_url
from tests.support.access import HEADERS
from tests.support.databases import of_a_newer_release
from tests.support.engine import maintenance_rows
from tests.support.forks import SERVER, Forked, run_forked
from tests.support.paths import ROOT
from tests.support.pooler import pgbouncer
from tests.support.servers import TIMEOUT_S, environment
from tests.support.waiting import wait_until

from blade_sandbox.catalog import CatalogServer
from blade_sandbox.warehouse import Warehouse as Sandbox

GONE = "postgresql://blade:s3cret@127.0.0.1:1/blade"


def examined(*arguments: str, code: int | None = None, **changes: str | None) -> dict[str, dict[str, str]]:
    """The checks by their names, of several with one name the worst, that with a way out."""
    done = run_forked(SERVER, ["doctor", "--json", *arguments], environment(**changes), TIMEOUT_S)
    assert done.stderr == ""
    assert "s3cret" not in done.stdout
    document = json.loads(done.stdout)
    assert done.returncode == (1 if document["failed"] else 0)
    assert code in (None, done.returncode), done.stdout
    found: dict[str, dict[str, str]] = {}
    for check in document["checks"]:
        assert bool(check["wayOut"]) == (check["outcome"] in ("WARNING", "FAILED")), check
        if check["name"] not in found or check["wayOut"]:
            found[check["name"]] = check
    return found


def outcomes(found: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: check["outcome"] for name, check in found.items()}


def said(check: dict[str, str]) -> str:
    return f"{check['outcome']} {check['found']} -> {check['wayOut']}"


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Sandbox]:
    with Sandbox(tables={}, token="good-one") as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CatalogServer]:
    with CatalogServer(directory=tmp_path_factory.mktemp("catalog"), token="good-one") as catalog:
        yield catalog


@pytest.fixture
def all_there(postgres_url: str, warehouse: Sandbox, catalog: CatalogServer, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": postgres_url,
        "DATABRICKS_SERVER_HOSTNAME": warehouse.url,
        "DATABRICKS_HTTP_PATH": warehouse.http_path,
        "DATABRICKS_TOKEN": "good-one",
        "BLADE_CATALOG_URL": catalog.url,
        "BLADE_CATALOG_TOKEN": "good-one",
        "BLADE_DATA_DIR": str(tmp_path / "data"),
    }


def test_nothing_fails_where_all_is_there_and_nothing_is_left_behind(all_there: dict[str, str], tmp_path: Path) -> None:
    found = examined(code=0, **all_there)
    assert outcomes(found) == dict.fromkeys(found, "PASSED") | {"server": "NOT_RUN"}
    assert {name.partition(".")[0] for name in found} == {
        *("versions", "settings", "disk", "postgresql", "warehouse", "catalog", "server")
    }
    assert len([name for name in found if name.startswith("postgresql.")]) == 6
    assert list(tmp_path.iterdir()) == []


def test_people_get_a_line_for_each_thing_and_the_way_out_below(all_there: dict[str, str]) -> None:
    changes = all_there | {"BLADE_CATALOG_TOKEN": "bad-one", "BLADE_HOTS": "1"}
    done = run_forked(SERVER, ["doctor"], environment(**changes), TIMEOUT_S)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert any(line.startswith("ok       postgresql.rights       the role may do all") for line in lines)
    at = next(number for number, line in enumerate(lines) if line.startswith("FAILED   catalog.authenticate"))
    assert lines[at + 1].strip() == "-> renew BLADE_CATALOG_TOKEN"
    assert any(line.startswith("WARNING  settings") and "did you mean BLADE_HOST?" in line for line in lines)
    assert lines[-1].endswith("failed: catalog.authenticate")


def test_what_does_not_answer_is_named_and_what_needs_it_is_not_run(tmp_path: Path) -> None:
    found = examined(
        DATABASE_URL=GONE,
        DATABRICKS_SERVER_HOSTNAME="http://127.0.0.1:1",
        DATABRICKS_HTTP_PATH="/sql/1.0/warehouses/1",
        DATABRICKS_TOKEN="s3cret",
        BLADE_CATALOG_URL="http://127.0.0.1:1",
    )
    assert re.search(r"check DATABASE_URL .*Connection refused", said(found["postgresql"]))
    assert "postgresql.clock" not in found
    assert said(found["warehouse.connect"]).startswith("FAILED 127.0.0.1:1 does not accept connections")
    assert said(found["catalog.connect"]).startswith("FAILED 127.0.0.1:1 does not accept connections")
    assert "warehouse.authenticate" not in found


def test_without_any_setting_there_is_nothing_to_fail_and_no_database_is_made(tmp_path: Path) -> None:
    found = examined(code=0, BLADE_DATA_DIR=str(tmp_path / "data"))
    assert [name for name, outcome in outcomes(found).items() if outcome == "NOT_RUN"] == [
        *("postgresql", "warehouse", "catalog", "server")
    ]
    assert not (tmp_path / "data").exists()


def test_settings_that_cannot_be_right_are_all_that_is_said() -> None:
    found = examined(code=1, DATABASE_URL=GONE, BLADE_LEASE_BEAT_S="9")
    assert list(found) == ["settings"]
    assert "BLADE_LEASE_BEAT_S=9 is more than a third" in found["settings"]["found"]


@pytest.mark.parametrize(
    ("changes", "name", "says"),
    [
        ({"BLADE_HOST": "0.0.0.0"}, "settings", "FAILED others can reach BLADE_HOST=0.0.0.0"),
        ({"BLADE_ADMINS": "anna"}, "settings", "FAILED BLADE_ADMINS has 'anna'"),
        (
            {"BLADE_TLS_CERT_FILE": "/no/cert", "BLADE_TLS_KEY_FILE": "/no/key"},
            "certificate",
            "FAILED the TLS certificate /no/cert and key /no/key cannot be used",
        ),
        ({"BLADE_DATA_DIR": "/proc/blade"}, "disk", "FAILED /proc/blade "),
        ({"DATABRICKS_SERVER_HOSTNAME": "x.test"}, "warehouse", "FAILED source.config.warehouse_id: must be set"),
        ({"BLADE_CATALOG_URL": "nothing"}, "catalog", "FAILED BLADE_CATALOG_URL is 'nothing'"),
        ({"DATABASE_URL": "mysql://root:s3cret@db/x"}, "postgresql", "FAILED DATABASE_URL is 'mysql://***@db/x'"),
    ],
)
def test_what_is_wrong_with_the_settings(changes: dict[str, str], name: str, says: str) -> None:
    assert said(examined(code=1, **changes)[name]).startswith(says)


def run_sql(url: str, *statements: str) -> None:
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    connection.autocommit = True
    for statement in statements:
        connection.cursor().execute(statement)
    connection.close()


def as_role(url: str, role: str) -> str:
    return make_url(url).set(username=role).render_as_string(hide_password=False)


@pytest.fixture
def weak_role(postgres_url: str) -> Iterator[str]:
    """A role that may read and write some of the tables."""
    role = f"weak_{os.getpid()}"
    run_sql(
        postgres_url,
        f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 10",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        f"REVOKE DELETE ON job FROM {role}",
        f"REVOKE INSERT ON audit_entry FROM {role}",
    )
    yield role
    run_sql(postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_rights_and_connections_of_a_role(postgres_url: str, weak_role: str) -> None:
    found = examined(code=1, DATABASE_URL=as_role(postgres_url, weak_role))
    assert found["postgresql.rights"]["found"] == "the role lacks DELETE on job, INSERT on audit_entry"
    assert found["postgresql.rights"]["outcome"] == "FAILED"
    assert found["postgresql.migrations"]["outcome"] == "PASSED"
    assert said(found["postgresql.connections"]).startswith("WARNING it takes 10, ")
    assert re.search(r"one server may want \d\d -> lower BLADE_DATABASE_POOL", said(found["postgresql.connections"]))


def test_tables_that_are_older_newer_or_not_there(postgres_url: str, empty_postgres_url: str, weak_role: str) -> None:
    there = examined(code=0, DATABASE_URL=empty_postgres_url)["postgresql.migrations"]
    assert there["outcome"] == "WARNING"
    assert "are missing, from 0001 on" in there["found"]
    run_sql(postgres_url, "UPDATE alembic_version SET version_num = '0004'")
    assert "are missing, from 0005 on" in examined(DATABASE_URL=postgres_url)["postgresql.migrations"]["found"]
    run_sql(postgres_url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    weak = examined(code=1, DATABASE_URL=as_role(postgres_url, weak_role))["postgresql.migrations"]
    assert weak["found"].endswith("from 0005 on, and the role may not make tables")
    of_a_newer_release(postgres_url, readable_from="99.1.0")
    assert said(examined(code=1, DATABASE_URL=postgres_url)["postgresql.migrations"]).startswith(
        "FAILED the tables in Postgr"
    )


@pytest.mark.parametrize(
    ("statement", "name", "says"),
    [
        (
            "ALTER DATABASE {database} SET default_transaction_read_only = on",
            "postgresql.version",
            "takes no writes -> promote it",
        ),
        ("ALTER DATABASE {database} CONNECTION LIMIT 12", "postgresql.connections", "it takes 12, "),
    ],
)
def test_a_database_that_is_set_up_otherwise(postgres_url: str, statement: str, name: str, says: str) -> None:
    run_sql(postgres_url, statement.format(database=make_url(postgres_url).database))
    assert says in said(examined(DATABASE_URL=postgres_url)[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "says"), [("session", "PASSED it can be used"), ("transaction", "WARNING a pooler pools transactions")]
)
def test_a_pooler_in_front_of_postgresql(postgres_url: str, mode: str, says: str) -> None:
    with pgbouncer(postgres_url, mode) as url:
        found = examined(code=0, DATABASE_URL=url)
        assert said(found["postgresql.pooler"]).startswith(says)
        around = examined(code=0, DATABASE_URL=url, BLADE_LISTEN_DATABASE_URL=postgres_url)
        assert around["postgresql.pooler"]["outcome"] == "PASSED"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ahead_s", "says"),
    [(70, "FAILED this machine's clock is 70.* s ahead of PostgreSQL's, and"), (-20, "WARNING .* 20.* s behind Post")],
)
def test_a_clock_that_is_wrong(postgres_url: str, tmp_path: Path, ahead_s: int, says: str) -> None:
    (tmp_path / "all").write_text(str(ahead_s))
    turned = {"PYTHONPATH": str(ROOT / "tests" / "faults" / "clock"), "BLADE_FAULT_CLOCK": str(tmp_path)}
    command = [sys.executable, "-m", "blade_server", "doctor", "--json"]
    own = environment(DATABASE_URL=postgres_url, **turned)
    document = json.loads(subprocess.run(command, env=own, capture_output=True, check=False).stdout)
    (check,) = (check for check in document["checks"] if check["name"] == "postgresql.clock")
    assert re.match(says, said(check))


def test_a_bundle_needs_a_new_file(tmp_path: Path) -> None:
    there = tmp_path / "bundle.zip"
    there.write_text("mine")
    done = run_forked(SERVER, ["doctor", "--bundle", str(there)], environment(), TIMEOUT_S)
    assert (done.returncode, there.read_text()) == (2, "mine")
    assert "is there already; name a new file" in done.stderr


def members(file: Path) -> dict[str, str]:
    with ZipFile(file) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def test_a_bundle_is_written_although_nothing_answers(tmp_path: Path) -> None:
    file = tmp_path / "bundle.zip"
    examined("--bundle", str(file), code=1, DATABASE_URL=GONE)
    assert file.stat().st_mode & 0o777 == 0o600
    assert members(file).keys() == {"doctor.json", "environment.json", "settings.json"}
    assert json.loads(members(file)["settings.json"])["database_url"] == "set"


class Canaries:
    """A text of its own in each place where a secret, SQL or a row stands."""

    NAMES = ("database", "warehouse", "catalog", "webhook", "sql", "row", "filter", "proxy")

    def __init__(self) -> None:
        self.values = {name: f"canary-{name}-{secrets.token_hex(8)}" for name in self.NAMES}

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def found_in(self, texts: dict[str, str]) -> list[str]:
        return [
            f"{name} in {part}" for part, text in texts.items() for name, value in self.values.items() if value in text
        ]


def used(http_port: int, canaries: Canaries) -> str:
    """Jobs and a sync, well and badly. Returns the id of a job with errors."""

    def call(verb: str, path: str, body: dict[str, object] | None = None) -> dict[str, str]:
        answer = requests.request(verb, f"http://127.0.0.1:{http_port}{path}", headers=HEADERS, json=body, timeout=30)
        found: dict[str, str] = answer.json()
        return found

    config = {"catalog": "main", "schema": "blade", "table": "maintenance"}
    call("POST", "/configure/blade/parts", {"name": "parts", "dataType": "parts", "config": config})
    call("GET", f"/blade/parts?filter=remarks%3D%27{canaries['filter']}%27%20AND%20nothing%3D1")
    good = f"SELECT * FROM parts WHERE remarks <> '{canaries['sql']}'"
    jobs = [call("POST", "/jobs/blade/query/start", {"source": "parts", "sql": sql}) for sql in (good, f"{good} AND")]
    bad = f"SELECT CAST(remarks AS INT) AS n, * FROM parts WHERE remarks <> '{canaries['sql']}'"
    jobs.append(call("POST", "/jobs/blade/query/start", {"source": "parts", "sql": bad}))
    spec = {"source": "parts", "filter": f"remarks <> '{canaries['filter']}'"}
    call("POST", "/syncs", {"name": "kept", "spec": spec})
    jobs.append(call("POST", "/syncs/kept:run", {}))
    for job in jobs:
        if "jobId" in job:
            path = f"/jobs/blade/query/status?id={job['jobId']}"
            wait_until(lambda path=path: call("GET", path)["status"] in ("COMPLETED", "FAILED"))
    return jobs[0]["jobId"]


def test_a_bundle_has_no_secret_no_sql_and_no_row(postgres_url: str, catalog: CatalogServer, tmp_path: Path) -> None:
    canaries = Canaries()
    rows = maintenance_rows(20) | {"remarks": [canaries["row"]] * 20}
    rows["classification"][3] = "NOT ONE"
    with Sandbox(tables={}, token=canaries["warehouse"]) as warehouse:
        warehouse.load("main.blade.maintenance", pa.table(rows))
        url = make_url(postgres_url).set(password=canaries["database"]).render_as_string(hide_password=False)
        own = {
            "DATABASE_URL": url,
            "DATABRICKS_SERVER_HOSTNAME": warehouse.url,
            "DATABRICKS_HTTP_PATH": warehouse.http_path,
            "DATABRICKS_TOKEN": canaries["warehouse"],
            "BLADE_CATALOG_URL": catalog.url,
            "BLADE_CATALOG_TOKEN": "good-one",
            "BLADE_SECRET_HOOK": canaries["webhook"],
            "HTTPS_PROXY": f"http://me:{canaries['proxy']}@127.0.0.1:1",
            "NO_PROXY": "127.0.0.1",
            "BLADE_ADMIN_PORT": None,
            "BLADE_READY_FILE": str(tmp_path / "ready"),
            "BLADE_DATA_DIR": str(tmp_path / "data"),
        }
        log_file = tmp_path / "blade.log"
        with log_file.open("ab") as log:
            server = Forked(SERVER, ["serve", "--log-level", "debug"], environment(**own), output=log)
            try:
                wait_until((tmp_path / "ready").exists)
                job_id = used(json.loads((tmp_path / "ready").read_text())["http_port"], canaries)
                log.write(f"Traceback (most recent call last):\nValueError: {canaries['row']}\n{url}\n".encode())
                log.flush()
                found = examined("--bundle", str(tmp_path / "bundle.zip"), "--log-file", str(log_file), code=0, **own)
            finally:
                server.terminate()
                server.wait(TIMEOUT_S)

    assert said(found["server"]) == "PASSED it is ready -> "
    parts = members(tmp_path / "bundle.zip")
    assert canaries.found_in(parts) == []
    assert 'blade_job_items_total{outcome="error",source="parts"} 2.0' in parts["metrics.txt"]
    assert "[+] postgres: ok" in parts["readyz.txt"]
    (summary,) = (job for job in json.loads(parts["jobs.json"]) if job["job_id"] == job_id)
    assert (summary["status"], summary["errors"]) == ("COMPLETED", {"UNKNOWN_CLASSIFICATION": 1})
    assert [sync["name"] for sync in json.loads(parts["syncs.json"])] == ["kept"]
    assert "job" in [table["name"] for table in json.loads(parts["tables.json"])]
    assert "blade.v1.JobService/GetJob OK" in parts["log.txt"]
    assert "Traceback (most recent call last):\nValueError: ***\n***\n" in parts["log.txt"]
