"""A real Prometheus reads a server that works, and is asked everything that dashboards and rules ask."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests
import yaml
from tests.support.access import HEADERS
from tests.support.engine import maintenance_rows
from tests.support.forks import SERVER, Forked
from tests.support.ports import free_port
from tests.support.programs import program
from tests.support.servers import TIMEOUT_S, environment
from tests.support.waiting import wait_until
from tests.support.watching import PROMETHEUS, queries, rules

from blade_sandbox.catalog import CatalogServer
from blade_sandbox.warehouse import Warehouse as Sandbox

pytestmark = pytest.mark.slow

TABLE = "main.blade.maintenance"
WINDOW = "40s"
WITHOUT_DATA: set[tuple[str, str]] = set()
"""(dashboard, panel): none."""


class Prometheus:
    """One that scrapes each second, with the rules of deploy/."""

    def __init__(self, folder: Path, admin_port: int) -> None:
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(PROMETHEUS / "rules.yml")]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{admin_port}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}/api/v1"
        options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "tsdb"}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        command = [program("prometheus", "prometheus"), f"--web.listen-address={address}", *arguments]
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def scrapes(self) -> bool:
        with suppress(requests.RequestException):
            return bool(self.ask("up == 1"))
        return False

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The samples that are a number."""
        answer = requests.get(f"{self.url}/query", params={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", answer
        return [sample for sample in answer["data"]["result"] if sample["value"][1] != "NaN"]

    def rules(self) -> list[dict[str, Any]]:
        groups = requests.get(f"{self.url}/rules", timeout=10).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@pytest.fixture
def warehouse() -> Iterator[Sandbox]:
    with Sandbox(tables={}, token="good-one") as warehouse:
        rows = maintenance_rows(6000)
        for number in range(0, 6000, 7):
            rows["classification"][number] = "NOT ONE"
        warehouse.load(TABLE, pa.table(rows))
        yield warehouse


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[CatalogServer]:
    with CatalogServer(directory=tmp_path / "catalog", token="good-one") as catalog:
        yield catalog


@pytest.fixture
def server(postgres_url: str, warehouse: Sandbox, catalog: CatalogServer, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What it says of itself; a process of its own runs the jobs."""
    ready = tmp_path / "ready"
    settings = environment(
        DATABASE_URL=postgres_url,
        DATABRICKS_SERVER_HOSTNAME=warehouse.url,
        DATABRICKS_HTTP_PATH=warehouse.http_path,
        DATABRICKS_TOKEN="good-one",
        BLADE_CATALOG_URL=catalog.url,
        BLADE_CATALOG_TOKEN="good-one",
        BLADE_ADMIN_PORT=None,
        BLADE_READY_FILE=str(ready),
    )
    with (tmp_path / "blade.log").open("wb") as log:
        process = Forked(SERVER, ["serve", "--workers", "1"], settings, output=log)
    try:
        wait_until(ready.exists, TIMEOUT_S, (tmp_path / "blade.log").read_text)
        yield json.loads(ready.read_text())
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


Call = Callable[..., Any]


@pytest.fixture
def call(server: dict[str, Any]) -> Call:
    """`call(verb, path, body)`: the answer of REST."""

    def call(verb: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
        url = f"http://127.0.0.1:{server['http_port']}{path}"
        return requests.request(verb, url, json=body, headers=headers or HEADERS, timeout=30).json()

    return call


@pytest.fixture
def prometheus(server: dict[str, Any], tmp_path: Path) -> Iterator[Prometheus]:
    prometheus = Prometheus(tmp_path, server["admin_port"])
    try:
        wait_until(prometheus.scrapes, 30, (tmp_path / "prometheus.log").read_text)
        yield prometheus
    finally:
        prometheus.process.terminate()
        prometheus.process.wait(10)


FAILING = "SELECT CAST(tail_number AS INT) AS number, * FROM parts"


def begin(call: Call) -> None:
    """A sync that runs at once, and jobs."""
    config = {"catalog": "main", "schema": "blade", "table": "maintenance"}
    call("POST", "/configure/blade/parts", {"name": "parts", "dataType": "parts", "config": config})
    call("POST", "/syncs", {"name": "nightly", "spec": {"source": "parts", "schedule": {"every": "60s"}}})
    call("POST", "/syncs/nightly:run", {})
    start(call)


def start(call: Call) -> None:
    """A job that takes a while, and one that fails."""
    for job in ({"limits": {"itemsPerSecond": 100}}, {"sql": FAILING}):
        assert "jobId" in call("POST", "/jobs/blade/query/start", {"source": "parts", **job})


def use(call: Call) -> None:
    """As callers do, good ones and others."""
    for path in ("/jobs", "/syncs", "/jobs/none"):
        call("GET", path)
    call("GET", "/jobs", headers={"authorization": "Bearer nonsense"})


def in_prometheus(expression: str) -> str:
    return expression.replace("$__rate_interval", WINDOW).replace("$job", ".*").replace("$instance", ".*")


def test_every_panel_has_data_and_every_rule_is_good(
    prometheus: Prometheus, call: Call, catalog: CatalogServer
) -> None:
    begin(call)
    wait_until(lambda: prometheus.ask('blade_jobs_ended_total{status="FAILED"}'))
    # What Prometheus has seen once has no rate yet.
    catalog.set_faults(status={"code": 429, "retry_after": "0", "count": 3})
    start(call)

    missing = [each for each in queries() if each[:2] not in WITHOUT_DATA]
    assert len(missing) > 60

    def all_have_data() -> bool:
        use(call)
        missing[:] = [each for each in missing if not prometheus.ask(in_prometheus(each[2]))]
        return not missing

    wait_until(all_have_data, 40, lambda: json.dumps(missing, indent=1))

    for rule in rules():
        prometheus.ask(rule["expr"])
    assert {(rule["name"], rule["health"]) for rule in prometheus.rules()} == {
        (rule.get("alert") or rule["record"], "ok") for rule in rules()
    }
    firing = {sample["metric"]["alertname"] for sample in prometheus.ask('ALERTS{alertstate="firing"}')}
    assert firing == {"BladeJobsFailing"}, "a job has failed, and nothing else is wrong"
