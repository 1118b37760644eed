"""Somebody with a little tries for more, against a whole server over a warehouse: by SQL, filters, heads and pages."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
import requests
from tests.support.access import HEADERS
from tests.support.databases import own_database
from tests.support.servers import Served
from tests.support.waiting import wait_until

from blade.v1 import config_service_pb2_grpc, cost_pb2
from blade_sandbox.catalog import CatalogServer
from blade_sandbox.warehouse import Warehouse as Sandbox

TIMEOUT_S = 30.0
SECRET_ROW, HIDDEN = "row-of-salaries", "pay-of-row-2"


def _rows(names: list[str]) -> pa.Table:
    return pa.table(
        {
            "id": list(range(len(names))),
            "name": names,
            "level": ["UNCLASS" if number % 2 == 0 else "SECRET" for number in range(len(names))],
            "pay": [f"pay-of-row-{number}" for number in range(len(names))],
        }
    )


class World:
    """A server, and callers by name."""

    def __init__(self, url: str, folder: Path) -> None:
        self.warehouse = Sandbox(tables={})
        self.catalog = CatalogServer(directory=folder)
        self.warehouse.__enter__()
        self.catalog.__enter__()
        self.warehouse.load("main.blade.parts", _rows([f"part-{number}" for number in range(10)]))
        self.warehouse.load("main.blade.salaries", _rows([SECRET_ROW] * 4))
        self.server = Served(
            "--json",
            DATABASE_URL=url,
            DATABRICKS_SERVER_HOSTNAME=self.warehouse.url,
            DATABRICKS_HTTP_PATH=self.warehouse.http_path,
            DATABRICKS_TOKEN=self.warehouse.token,
            BLADE_CATALOG_URL=self.catalog.url,
            BLADE_ADMIN_PORT=None,
        )
        self.said = self.server.said()
        self.http = f"http://127.0.0.1:{self.said['http_port']}"
        for name in ("parts", "salaries"):
            source = {
                "name": name,
                "dataType": name,
                "config": {"catalog": "main", "schema": "blade", "table": name},
                "mapping": {
                    "itemId": "P-{id}",
                    "classification": {"column": "level"},
                    "maskedColumns": ["pay"],
                },
            }
            added = requests.post(f"{self.http}/configure/blade/{name}", json=source, headers=HEADERS, timeout=30)
            assert added.ok, added.text
        self.tokens = {
            name: self._caller(name, role, ceiling)
            for name, role, ceiling in (
                ("viewer", "VIEWER", ""),
                ("reader", "READER", "UNCLASS"),
                ("operator", "OPERATOR", "UNCLASS"),
            )
        }

    def _caller(self, name: str, role: str, ceiling: str) -> str:
        grant = {"principal": name, "role": role, "scope": "source:parts"}
        grant |= {"ceiling": ceiling} if ceiling else {}
        granted = requests.post(f"{self.http}/access/grants", json=grant, headers=HEADERS, timeout=30)
        assert granted.ok, granted.text
        made = requests.post(f"{self.http}/access/tokens", json={"principal": name}, headers=HEADERS, timeout=30)
        assert made.ok, made.text
        return str(made.json()["secret"])

    def __call__(self, who: str, verb: str, path: str, **options: Any) -> requests.Response:
        headers = {"authorization": f"Bearer {self.tokens[who]}"} | options.pop("headers", {})
        return requests.request(verb, self.http + path, headers=headers, timeout=TIMEOUT_S, **options)

    def ended(self, job_id: str) -> requests.Response:
        """Of a job of the operator."""
        answers = [self("operator", "GET", f"/jobs/{job_id}")]

        def is_final() -> bool:
            answers.append(self("operator", "GET", f"/jobs/{job_id}"))
            return answers[-1].json()["status"] in ("COMPLETED", "FAILED")

        wait_until(is_final)
        return answers[-1]

    def close(self) -> None:
        _, log = self.server.stop()
        self.catalog.__exit__(None, None, None)
        self.warehouse.__exit__(None, None, None)
        assert "Traceback" not in log
        assert SECRET_ROW not in log


@pytest.fixture(scope="module")
def world(_postgres: str, _migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with own_database(_postgres, _migrated_template) as url:
        world = World(url, tmp_path_factory.mktemp("catalog"))
        yield world
        world.close()


QUERIES = [
    "SELECT * FROM salaries",
    "SELECT * FROM main.blade.salaries",
    "SELECT * FROM `main`.`blade`.`salaries`",
    "SELECT * FROM SALARIES",
    "TABLE salaries",
    "SELECT * FROM IDENTIFIER('main.blade.salaries')",
    "SELECT * FROM IDENTIFIER('main.blade.' || 'salaries')",
    "WITH parts AS (SELECT * FROM main.blade.salaries) SELECT * FROM parts",
    "WITH x AS (SELECT * FROM salaries) SELECT * FROM x",
    "SELECT p.* FROM parts p, LATERAL (SELECT * FROM salaries) s",
    "SELECT *, (SELECT max(name) FROM salaries) AS m FROM parts",
    "SELECT * FROM parts WHERE EXISTS (SELECT 1 FROM salaries)",
    "SELECT * FROM parts UNION ALL SELECT * FROM salaries",
    "SELECT * FROM parts ORDER BY (SELECT max(id) FROM salaries)",
    "SELECT * FROM parts LIMIT (SELECT count(*) FROM salaries)",
    "SELECT * FROM parts VERSION AS OF (SELECT 1 FROM salaries)",
    "SELECT * FROM parts TABLESAMPLE (10 ROWS) JOIN salaries USING (id)",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM main.information_schema.tables",
    "SELECT * FROM system.access.audit",
    "SELECT * FROM system.information_schema.tables",
    "SELECT * FROM delta.`/salaries`",
    "SELECT * FROM parquet.`s3://x/y`",
    "SELECT * FROM csv.`/etc/passwd`",
    "SELECT * FROM read_files('/x')",
    "SELECT * FROM table_changes('main.blade.salaries', 0)",
    "SELECT * FROM event_log('x')",
    "SELECT *, secret('a', 'b') AS s FROM parts",
    "SELECT *, reflect('java.lang.System', 'getenv') AS s FROM parts",
    "SELECT *, java_method('java.lang.System', 'getenv') AS s FROM parts",
    "SELECT *, ai_query('m', name) AS s FROM parts",
    "SELECT *, http_request(conn => 'x', method => 'GET', path => '/') AS s FROM parts",
    "SELECT *, main.s.myudf(1) AS s FROM parts",
    "SELECT *, myudf(1) AS s FROM parts",
    "SELECT *, read_files('/x') AS s FROM parts",
    "SELECT * FROM parts; DROP TABLE parts",
    "EXECUTE IMMEDIATE 'SELECT * FROM salaries'",
    "DESCRIBE salaries",
    "SHOW TABLES",
    "EXPLAIN SELECT * FROM salaries",
    "SET x = 1",
    "INSERT INTO parts SELECT * FROM parts",
    "FROM salaries SELECT *",
    "FROM parts |> JOIN salaries USING (id)",
    "SELECT * FROM parts WHERE name = session.x",
    "SELECT * FROM (VALUES (1)) WHERE 1 IN (TABLE salaries)",
    "SELECT * FROM parts /*! UNION SELECT * FROM salaries */ WHERE salaries.id = 1",
    "SELECT pay FROM parts",
    "SELECT id, name, level, pay AS p FROM parts",
    "SELECT * FROM parts WHERE pay = 'pay-of-row-2'",
    "SELECT *, to_json(struct(pay)) AS j FROM parts",
    "SELECT *, p.pay AS j FROM parts p",
    "SELECT * FROM parts ORDER BY pay",
    "SELECT *, max(pay) OVER () AS m FROM parts",
    "SELECT id, name, 'UNCLASS' AS level FROM parts",
    "SELECT id, name, upper(level) AS level FROM parts",
]


@pytest.mark.parametrize("sql", QUERIES)
def test_no_sql_reads_what_is_not_his(world: World, sql: str) -> None:
    for path in ("/jobs/blade/query/preview", "/jobs/blade/query/start"):
        answer = world("operator", "POST", path, json={"sql": sql, "source": "parts"})
        if answer.status_code == 202:  # the warehouse knows that there is no such column for him
            answer = world.ended(answer.json()["jobId"])
            assert answer.json()["status"] == "FAILED", answer.text
        else:
            assert answer.status_code in (400, 403, 404), (path, answer.status_code, answer.text)
        assert SECRET_ROW not in answer.text
        assert HIDDEN not in answer.text.replace(sql, "")


@pytest.mark.parametrize(
    "filter_",
    [
        "1=1) OR (1=1",
        "1=1) UNION SELECT * FROM salaries --",
        "id IN (SELECT id FROM salaries)",
        "id IN (SELECT id FROM main.blade.parts WHERE level = 'SECRET')",
        "pay = 'pay-of-row-2'",
        "`PAY` LIKE 'pay%'",
        "parts.pay = 'pay-of-row-2'",
        "secret('a', 'b') = 'x'",
        "assert_true(level = 'UNCLASS') IS NULL OR myudf(1)",
        "EXISTS (TABLE salaries)",
        "id = (SELECT count(*) FROM information_schema.tables)",
    ],
)
def test_no_filter_reads_what_is_not_his(world: World, filter_: str) -> None:
    answer = world("reader", "GET", "/blade/parts", params={"filter": filter_})
    assert answer.status_code in (400, 403, 404), answer.text
    assert SECRET_ROW not in answer.text
    assert HIDDEN not in answer.text.replace(filter_, "")


def test_rows_above_his_ceiling_are_not_there_in_any_form(world: World) -> None:
    for path in ("/blade/parts", "/blade/parts?filter=level%3D%27SECRET%27", "/blade/parts?filter=true%20OR%20true"):
        answer = world("reader", "GET", path)
        assert answer.ok, answer.text
        assert "SECRET" not in answer.text
        assert "pay-of-row" not in answer.text
    assert world("reader", "GET", "/blade/parts/P-1").status_code == 404
    assert world("reader", "GET", "/blade/parts/P-2").ok
    sql = "SELECT id, name, level, count(*) OVER () AS seen FROM parts"
    preview = world("reader", "POST", "/jobs/blade/query/preview", json={"sql": sql, "source": "parts"})
    assert preview.ok, preview.text
    assert "SECRET" not in preview.text.replace(sql, "")
    assert world("operator", "POST", "/blade/parts/P-1/ingest").status_code in (403, 404)


def test_costs_are_told_of_what_he_may_see(world: World) -> None:
    for name in ("parts", "salaries"):
        preview = requests.post(
            f"{world.http}/jobs/blade/query/preview", json={"source": name}, headers=HEADERS, timeout=TIMEOUT_S
        )
        assert preview.ok, preview.text
    path = "/costs/blade"
    everything = requests.get(world.http + path, headers=HEADERS, timeout=TIMEOUT_S).json()
    assert [cost["source"] for cost in everything["costs"]] == ["parts", "salaries"]
    first = requests.get(f"{world.http}{path}?pageSize=1", headers=HEADERS, timeout=TIMEOUT_S).json()
    for who in world.tokens:
        assert [cost["source"] for cost in world(who, "GET", path).json()["costs"]] == ["parts"]
        for options in (f"pageToken={first['nextPageToken']}", f"pageToken={first['nextPageToken']}&pageSize=1"):
            assert world(who, "GET", f"{path}?{options}").status_code == 400
    for since in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2026-01-01T00:00:00%2B18:00"):
        assert world("viewer", "GET", f"{path}?since={since}").ok
    for bad in ("since=x", "pageSize=-1", "pageSize=100000000000", "pageToken=x", "since=10000-01-01T00:00:00Z"):
        assert world("viewer", "GET", f"{path}?{bad}").status_code == 400
    assert requests.get(world.http + path, timeout=TIMEOUT_S).status_code == 401


@pytest.mark.parametrize(
    "seconds", [-62135596801, 253402300800, 2**62, -(2**62)], ids=["year 0", "year 10000", "late", "early"]
)
def test_times_that_there_are_not_are_said_over_grpc(world: World, seconds: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{world.said['port']}") as channel:
        stub: Any = config_service_pb2_grpc.ConfigServiceStub(channel)
        request = cost_pb2.ListSourceCostsRequest()
        request.since.seconds = seconds
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListSourceCosts(request, metadata=tuple(HEADERS.items()), timeout=TIMEOUT_S)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_keys_of_the_inside_are_nobodys(world: World) -> None:
    admin = HEADERS["authorization"].removeprefix("Bearer ")
    inside = {"blade-door": "x", "blade-peer": "127.0.0.1", "blade-session": admin, "blade-principal": "admin"}
    assert requests.get(f"{world.http}/access/whoami", headers=inside, timeout=TIMEOUT_S).status_code == 401
    mine = world("viewer", "GET", "/access/whoami", headers=inside | {"x-forwarded-for": "10.9.9.9"})
    assert "viewer" in mine.text
    with grpc.insecure_channel(f"127.0.0.1:{world.said['port']}") as channel:
        call: Any = channel.unary_unary("/blade.v1.AccessService/WhoAmI", lambda raw: raw, lambda raw: raw)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", metadata=tuple(inside.items()), timeout=TIMEOUT_S)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "trace",
    [
        {"traceparent": "x"},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"traceparent": "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" * 100},
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b," * 1500},
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "=;'--"},
        {"baggage": "x=" + "y" * 5000},
    ],
)
def test_a_trace_that_is_none_does_no_harm(world: World, trace: dict[str, str]) -> None:
    assert world("operator", "POST", "/blade/parts/P-2/ingest", headers=trace).status_code in (200, 201)
    job = world("operator", "POST", "/jobs/blade/query/start", json={"source": "parts"}, headers=trace)
    assert job.ok, job.text


def test_the_admin_port_has_nothing_but_probes_and_metrics(world: World) -> None:
    admin = f"http://127.0.0.1:{world.said['admin_port']}"
    for path in ("/", "/jobs", "/openapi.json", "/docs", "/access/whoami", "/metrics/", "/metrics/../jobs", "/blade"):
        assert requests.get(admin + path, headers=HEADERS, timeout=TIMEOUT_S, allow_redirects=False).status_code in (
            404,
            307,
        ), path
    for verb in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        assert requests.request(verb, f"{admin}/metrics", timeout=TIMEOUT_S).status_code == 405
    shown = requests.get(f"{admin}/metrics", timeout=TIMEOUT_S).text
    assert not any(word in shown for word in (SECRET_ROW, "pay-of-row", "part-1", "viewer", "operator", "job-"))
    with socket.create_connection(("127.0.0.1", world.said["admin_port"])) as connection:
        connection.sendall(b"GET http://127.0.0.1:1/metrics HTTP/1.1\r\nHost: evil\r\n\r\n")
        assert b"job-" not in connection.recv(1 << 20)
