"""A secret of its own in each place where one can be configured, and none of them anywhere else.

One server does what servers do, well and badly; then all that it answered, logged, traced and stored is searched, and
what every process of the machine shows of its command line.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pytest
import requests
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool
from tests.support.access import ADMIN_TOKEN
from tests.support.engine import maintenance_rows
from tests.support.oidc import AUDIENCE, FakeProvider
from tests.support.otlp import Collector
from tests.support.servers import Served, run
from tests.support.waiting import wait_until
from tests.support.webhooks import Received, Receiver

from blade_sandbox.catalog import CatalogServer
from blade_sandbox.warehouse import Warehouse as Sandbox
from blade_server.core.access.tokens import new_token
from blade_server.settings import Settings, files_of_secrets, variable

TIMEOUT_S = 30.0


def canary(name: str) -> str:
    return f"canary-{name}-{secrets.token_hex(12)}"


class Secrets:
    """By name. Those of tokens are their last part; the rest of a token is its public id."""

    def __init__(self, folder: Path) -> None:
        self.admin = new_token()[1]
        self.stranger = new_token()[1]
        self.values = {
            "DATABASE_URL": canary("database"),
            "BLADE_LISTEN_DATABASE_URL": canary("bell"),
            "DATABRICKS_TOKEN": canary("warehouse"),
            "DATABRICKS_CLIENT_SECRET": canary("oauth"),
            "BLADE_CATALOG_TOKEN": canary("catalog"),
            "BLADE_OIDC_CLIENT_SECRET": canary("sign-in"),
            "credentials of a destination": canary("destination"),
            "secret of a webhook": base64.b64encode(secrets.token_bytes(32)).decode(),
            "address of a webhook": canary("address"),
            "BLADE_ADMIN_TOKEN_FILE": self.admin.split("_", 2)[2],
            "credentials env:": canary("by-environment"),
            "credentials file:": canary("by-file"),
            "credentials written out": canary("pasted"),
            "authorization of a stranger": self.stranger.split("_", 2)[2],
            "authorization of another scheme": canary("basic"),
            "key of a collector": canary("collector"),
        }
        self.file = folder / "secrets" / "warehouse"
        self.file.parent.mkdir()
        self.file.write_text(self.values["credentials file:"])
        self.admin_file = folder / "admin-token"
        self.admin_file.write_text(self.admin)

    def found_in(self, where: str, content: str) -> list[str]:
        """The names of those that stand there, as they are or encoded."""
        return [f"{name} in {where}" for name, value in self.values.items() if any(f in content for f in _forms(value))]


def _forms(value: str) -> set[str]:
    raw = value.encode()
    middles = {base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3)}  # wherever it stands in more
    return {value, quote(value, safe=""), raw.hex(), *middles}


def test_every_secret_of_the_settings_has_one(tmp_path: Path) -> None:
    known = Secrets(tmp_path).values.keys()
    assert {variable(name) for name in files_of_secrets()} <= known
    assert {variable(name) for name in Settings.model_fields if name.endswith("token_file")} <= known


@pytest.fixture
def warehouse(hidden: Secrets) -> Iterator[Sandbox]:
    with Sandbox(tables={}, token=hidden.values["credentials env:"]) as warehouse:
        rows = maintenance_rows(40)
        rows["last_modified"][7] = None
        rows["classification"][3] = "NOT ONE"
        warehouse.load("main.blade.maintenance", pa.table(rows))
        yield warehouse


@pytest.fixture
def catalog(hidden: Secrets, tmp_path: Path) -> Iterator[CatalogServer]:
    with CatalogServer(directory=tmp_path / "catalog", token=hidden.values["BLADE_CATALOG_TOKEN"]) as catalog:
        yield catalog


@pytest.fixture
def elsewhere(hidden: Secrets, tmp_path: Path) -> Iterator[CatalogServer]:
    """The catalog of a destination."""
    token = hidden.values["credentials of a destination"]
    with CatalogServer(directory=tmp_path / "elsewhere", token=token) as catalog:
        yield catalog


@pytest.fixture
def provider(hidden: Secrets) -> Iterator[FakeProvider]:
    with FakeProvider().running() as provider:
        provider.secret = hidden.values["BLADE_OIDC_CLIENT_SECRET"]
        yield provider


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver().running() as hook:
        yield hook


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector().running() as collector:
        yield collector


@pytest.fixture
def hidden(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path)


class Calls:
    """Remembers every answer, head and body."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.heard: list[str] = []

    def __call__(self, verb: str, path: str, authorization: str = "", **options: Any) -> requests.Response:
        headers = options.pop("headers", {}) | ({"authorization": authorization} if authorization else {})
        answer = requests.request(verb, self._url + path, headers=headers, timeout=TIMEOUT_S, **options)
        self.heard.append(f"{verb} {path}: {answer.status_code} {dict(answer.headers)} {answer.text}")
        return answer


def source(name: str, **config: str) -> dict[str, Any]:
    table = {"catalog": "main", "schema": "blade", "table": "maintenance"}
    return {"name": name, "dataType": name, "config": table | config}


def command_lines() -> str:
    """Of every process there is."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


def rows_of_every_table(url: str) -> str:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        names = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"
        tables = connection.execute(text(names)).scalars().all()
        assert "public.web_session" in tables
        dumped = [str(row) for table in tables for row in connection.execute(text(f"SELECT t::text FROM {table} t"))]
    engine.dispose()
    return "\n".join(dumped)


@pytest.mark.slow
def test_no_secret_leaves_its_place(
    postgres_url: str,
    hidden: Secrets,
    warehouse: Sandbox,
    catalog: CatalogServer,
    elsewhere: CatalogServer,
    provider: FakeProvider,
    hook: Receiver,
    collector: Collector,
    tmp_path: Path,
) -> None:
    values = hidden.values
    host = warehouse.url
    url, bell = (
        make_url(postgres_url).set(password=values[name]).render_as_string(hide_password=False)
        for name in ("DATABASE_URL", "BLADE_LISTEN_DATABASE_URL")
    )
    environment = {
        "DATABASE_URL": url,
        "BLADE_LISTEN_DATABASE_URL": bell,
        "DATABRICKS_SERVER_HOSTNAME": host,
        "DATABRICKS_HTTP_PATH": warehouse.http_path,
        "DATABRICKS_CLIENT_ID": "client",
        "DATABRICKS_CLIENT_SECRET": values["DATABRICKS_CLIENT_SECRET"],
        "DATABRICKS_MINE": values["credentials env:"],
        "BLADE_SECRET_DIR": str(hidden.file.parent),
        "BLADE_ALLOWED_WAREHOUSE_HOSTS": f"{host}=env:DATABRICKS_MINE|file:warehouse",
        "BLADE_CATALOG_URL": catalog.url,
        "BLADE_CATALOG_TOKEN": values["BLADE_CATALOG_TOKEN"],
        "BLADE_ADMIN_TOKEN_FILE": str(hidden.admin_file),
        "BLADE_ALLOWED_CATALOG_HOSTS": f"{urlsplit(elsewhere.url).netloc}=env:BLADE_SECRET_PARTNER",
        "BLADE_SECRET_PARTNER": values["credentials of a destination"],
        "BLADE_ALLOWED_WEBHOOK_HOSTS": f"{hook.host}=env:BLADE_SECRET_HOOK|env:BLADE_SECRET_ADDRESS",
        "BLADE_SECRET_HOOK": f"whsec_{values['secret of a webhook']}",
        "BLADE_SECRET_ADDRESS": f"{hook.url}/{values['address of a webhook']}",
        "BLADE_OIDC_ISSUER": provider.issuer,
        "BLADE_OIDC_AUDIENCE": AUDIENCE,
        "BLADE_OIDC_CLIENT_ID": "blade-page",
        "BLADE_OIDC_CLIENT_SECRET": values["BLADE_OIDC_CLIENT_SECRET"],
        "BLADE_PUBLIC_URL": "http://127.0.0.1",
        "BLADE_AUDIT_ANCHOR_FILE": str(tmp_path / "anchors"),
        "BLADE_RETRY_ATTEMPTS": "0",
        "BLADE_TOKEN": None,
        "BLADE_ADMIN_PORT": None,
        "BLADE_LOG_FORMAT": "json",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={values['key of a collector']},{values['key of a collector']}",
        **collector.environment,
    }
    server = Served("--json", "--log-level", "debug", afresh=True, **environment)  # its command line is looked at
    try:
        call = Calls(f"http://127.0.0.1:{server.said()['http_port']}")
        shown_once = _use(call, hidden, values)
        _send_elsewhere(call, f"Bearer {hidden.admin}", elsewhere)
        _tell(call, f"Bearer {hidden.admin}", hook)
        _sign_in_there(call, provider)
        seen = command_lines()
        metrics = requests.get(f"http://127.0.0.1:{server.said()['admin_port']}/metrics", timeout=TIMEOUT_S).text
        assert 'blade_jobs_ended_total{source="good"' in metrics
        assert "blade_server serve" in seen
    finally:
        _, log = server.stop()
    failed = run("serve", **environment | {"DATABRICKS_TOKEN": values["DATABRICKS_TOKEN"], "BLADE_LEASE_BEAT_S": "9"})[
        1
    ]
    dead = f"postgresql://blade:{values['DATABASE_URL']}@127.0.0.1:1/blade"
    failed += run("migrate", **environment | {"DATABASE_URL": dead})[1]

    assert "WAREHOUSE_DENIED" in "".join(call.heard)
    assert len(log.splitlines()) > 30
    assert all(json.loads(line)["event"] for line in log.splitlines())
    assert {"job", "statement", "upload"} <= {span.name for span in collector.spans()}
    places = {
        "an answer": "\n".join(one for one in call.heard if one not in shown_once),
        "the log": log,
        "a trace": str(collector.requests),
        "what a failed start says": failed,
        "a table": rows_of_every_table(postgres_url),
        "a command line": seen,
        "the metrics": metrics,
        "the anchor file": (tmp_path / "anchors").read_text() if (tmp_path / "anchors").exists() else "",
    }
    assert [place for name, content in places.items() for place in hidden.found_in(name, content)] == []
    row = "MAINT-3"  # one that fails, and stands in errors
    assert row in places["an answer"]
    assert [name for name in ("the log", "a trace") if row in places[name] or "CAST(" in places[name]] == []


def _is_final(call: Calls, path: str, authorization: str) -> bool:
    return call("GET", path, authorization).json()["status"] in ("COMPLETED", "FAILED")


def _use(call: Calls, hidden: Secrets, values: dict[str, str]) -> list[str]:
    """Everything once, well and badly. Returns the two answers that show a secret, this once."""
    admin = f"Bearer {hidden.admin}"
    for authorization in (f"Bearer {hidden.stranger}", f"Basic {values['authorization of another scheme']}", "", admin):
        call("GET", "/access/whoami", authorization)
    good = call("POST", "/configure/blade/good", admin, json=source("good", credentials="env:DATABRICKS_MINE"))
    assert good.ok, good.text
    for name, config in (
        ("by-oauth", {}),
        ("by-file", {"credentials": "file:warehouse"}),
        ("pasted", {"credentials": values["credentials written out"]}),
        ("elsewhere", {"credentials": "env:DATABRICKS_MINE", "host": "https://other.example"}),
    ):
        assert not call("POST", f"/configure/blade/{name}", admin, json=source(name, **config)).ok, name
    call("POST", "/configure/blade/good:test", admin)
    for path in ("/blade/good?limit=5", "/blade/good?filter=nothing%3D1", "/blade/good/MAINT-1", "/blade/good/none"):
        call("GET", path, admin)
    bad = {"sql": "SELECT CAST(tail_number AS INT) AS n, * FROM good", "source": "good"}
    for sql in ({"source": "good"}, bad, {"sql": "SELEC", "source": "good"}):
        call("POST", "/jobs/blade/query/preview", admin, json=sql)
    for sql in ({"source": "good"}, bad):
        job = call("POST", "/jobs/blade/query/start", admin, json=sql).json()
        path = f"/jobs/blade/query/status?id={job['jobId']}"
        wait_until(partial(_is_final, call, path, admin))
        assert call("GET", path, admin).ok
        call("GET", f"/jobs/{job['jobId']}/errors", admin)
    call("POST", "/blade/good/MAINT-2/ingest", admin)

    made = call(
        "POST", "/access/tokens", admin, json={"principal": "program", "grants": [{"role": "READER", "scope": "*"}]}
    )
    shown = [call.heard[-1]]
    program = made.json()["secret"]
    values["an API token"] = program.split("_", 2)[2]
    call("GET", "/blade/good?limit=1", f"Bearer {program}")
    call("POST", "/jobs/blade/query/start", f"Bearer {program}", json={"source": "good"})
    signed_in = call("POST", "/session", json={"token": program}, headers={"origin": call._url})
    assert signed_in.ok, signed_in.text
    shown.append(call.heard[-1])
    (cookie,) = signed_in.cookies
    values["the cookie of a session"] = cookie.value or ""
    assert len(cookie.value or "") > 20
    cookies = {cookie.name: cookie.value or ""}
    for path in ("/", "/session", "/access/whoami", "/jobs", "/sources", "/openapi.json", "/docs"):
        call("GET", path, cookies=cookies)
    call("DELETE", "/session", cookies=cookies)
    call("DELETE", f"/access/tokens/{made.json()['token']['tokenId']}", admin)
    call("GET", "/blade/good?limit=1", f"Bearer {program}")
    for path in (
        "/access/tokens",
        "/access/grants",
        "/configure/blade",
        "/audit",
        "/audit:export",
        "/audit:verify",
        "/jobs",
    ):
        call("GET", path, admin)
    assert ADMIN_TOKEN not in "".join(call.heard)
    assert json.loads(signed_in.text)["principal"] == "program"
    return shown


def _send_elsewhere(call: Calls, admin: str, elsewhere: CatalogServer) -> None:
    """Destinations, and a sync that sends to one, well and badly."""
    partner = {"name": "partner", "url": elsewhere.url, "credentials": "env:BLADE_SECRET_PARTNER"}
    made = call("POST", "/destinations", admin, json=partner)
    assert made.ok, made.text
    for name, changes in (("unbound", {"credentials": "env:BLADE_SECRET_HOOK"}), ("away", {"url": "https://no.host"})):
        assert not call("POST", "/destinations", admin, json=partner | {"name": name} | changes).ok, name
    for path in ("/destinations", "/destinations/partner"):
        call("GET", path, admin)
    call("POST", "/destinations/partner:test", admin)
    call("POST", "/syncs", admin, json={"name": "kept", "spec": {"source": "good", "destination": "partner"}})
    job = call("POST", "/syncs/kept:run", admin, json={}).json()
    wait_until(partial(_is_final, call, f"/jobs/blade/query/status?id={job['jobId']}", admin))
    for path in ("/syncs", "/syncs/kept", "/syncs/kept/runs", f"/syncs/kept/runs/{job['jobId']}/report"):
        assert call("GET", path, admin).ok, path
    assert elsewhere.status()["uploads"]


def _tell(call: Calls, admin: str, hook: Receiver) -> None:
    """Notifications whose receiver takes them, and refuses them."""
    signed = {"name": "signed", "url": hook.url, "secret": "env:BLADE_SECRET_HOOK"}
    slack = {"name": "slack", "url": "env:BLADE_SECRET_ADDRESS", "format": "SLACK"}
    unbound = {"name": "unbound", "url": hook.url, "secret": "env:BLADE_SECRET_PARTNER"}
    assert not call("POST", "/notifications", admin, json=unbound).ok
    for one in (signed, slack):
        made = call("POST", "/notifications", admin, json=one)
        assert made.ok, made.text
        for status in (204, 500):
            hook.answers = partial(_answer, status)
            assert call("POST", f"/notifications/{one['name']}:test", admin, json={}).ok
        for path in ("", f"/{one['name']}", f"/{one['name']}/deliveries"):
            assert call("GET", f"/notifications{path}", admin).ok
    assert len(hook.received) == 4


def _answer(status: int, _: Received) -> int:
    return status


def _sign_in_there(call: Calls, provider: FakeProvider) -> None:
    """At the identity provider, which takes the server's secret, and then takes another one."""
    for secret in (provider.secret, "another"):
        begun = call("GET", "/session/oidc", allow_redirects=False)
        answer = provider.approve(begun.headers["location"])
        provider.secret = secret
        back = call("GET", "/session/oidc/callback", params=answer, cookies=dict(begun.cookies), allow_redirects=False)
        assert back.ok == (secret != "another"), back.text
