"""`blade serve` as a process: how it says that it is ready, how it stops, what it says to an operator's mistakes."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest
import sqlalchemy
from tests.support.access import METADATA
from tests.support.databases import of_a_newer_release
from tests.support.paths import ROOT
from tests.support.servers import TIMEOUT_S, Served, run

from blade.v1 import access_service_pb2, access_service_pb2_grpc, job_service_pb2, job_service_pb2_grpc

TLS = ROOT / "tests" / "unit" / "client" / "tls"


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    servers = []

    def start(*arguments: str, afresh: bool = False, **changes: str) -> Served:
        servers.append(Served(*arguments, afresh=afresh, **changes))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def test_it_says_that_it_is_ready_serves_and_stops_gracefully(postgres_url: str, serve: Callable[..., Served]) -> None:
    server = serve("--json", afresh=True, DATABASE_URL=postgres_url)
    said = server.said()

    with grpc.insecure_channel(f"{said['host']}:{said['port']}") as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        jobs = stub.ListJobs(job_service_pb2.ListJobsRequest(), metadata=METADATA, timeout=TIMEOUT_S).jobs
    status, errors = server.stop()

    assert list(jobs) == []
    assert said["pid"] == server.process.pid
    assert status == 0
    assert "blade.v1.JobService/ListJobs OK" in errors
    assert "Traceback" not in errors


def test_people_get_one_plain_line(postgres_url: str, serve: Callable[..., Served]) -> None:
    server = serve(DATABASE_URL=postgres_url, BLADE_CATALOG_URL="http://catalog.test:81", BLADE_LOG_LEVEL="error")

    assert server.line.startswith(f"BLADE {version('blade')} serves gRPC on 127.0.0.1:")
    assert "warehouse: none, catalog: http://catalog.test:81)" in server.line
    status, errors = server.stop(signal.SIGINT)
    assert (status, errors) == (0, "")


def test_without_a_database_url_it_brings_its_own_and_the_tables_stay(
    tmp_path: Path, serve: Callable[..., Served]
) -> None:
    for _ in range(2):
        server = serve("--json", BLADE_DATA_DIR=str(tmp_path))
        assert server.said()["database"] == "embedded"
        assert server.stop()[0] == 0
    assert not (tmp_path / "pgdata" / "postmaster.pid").exists()


def test_a_second_signal_ends_it_at_once_although_a_call_is_running(
    postgres_url: str, serve: Callable[..., Served], wait_until: Callable[..., None]
) -> None:
    server = serve("--json", DATABASE_URL=postgres_url, BLADE_DRAIN_TIMEOUT_S="300")
    engine = sqlalchemy.create_engine(postgres_url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection, grpc.insecure_channel(f"127.0.0.1:{server.said()['port']}") as channel:
        connection.exec_driver_sql("LOCK TABLE job")  # so that the call below waits
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        call = stub.ListJobs.future(job_service_pb2.ListJobsRequest(), metadata=METADATA)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: connection.exec_driver_sql(waiting).scalar_one())

        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.5)
        status, _ = server.stop()
        call.cancel()
    engine.dispose()

    assert status == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("BLADE_PORT", "http", "BLADE_PORT is 'http'"),
        ("BLADE_MAX_WATCHERS", "0", "BLADE_MAX_WATCHERS is '0'"),
        (
            "DATABASE_URL",
            "mysql://root:s3cret@db/x",
            "'mysql://***@db/x': it must begin with postgresql",
        ),
        ("DATABASE_URL", "postgresql://root:s3cret@db:port/x", "what stands behind the colon is not a port"),
        ("DATABASE_URL", "host=db password=s3cret", "write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("BLADE_CATALOG_URL", "http://user:s3cret@127.0.0.1:99999", "'99999' is not a port"),
        ("DATABRICKS_SERVER_HOSTNAME", "a..b", "'a..b' is no host name"),
        ("DATABRICKS_SERVER_HOSTNAME", "https://x/sql/1.0/warehouses/1", "is a host name"),
        ("DATABRICKS_HTTP_PATH", "/sql/1.0/ warehouses/1", "DATABRICKS_HTTP_PATH is '/sql/1.0/ warehouses/1'"),
        ("BLADE_ALLOWED_WAREHOUSE_HOSTS", "a.test,b:0", "BLADE_ALLOWED_WAREHOUSE_HOSTS is 'https://b:0'"),
    ],
)
def test_a_setting_that_cannot_be_right_is_one_sentence_and_exit_code_2(variable: str, value: str, says: str) -> None:
    status, sentence = run("serve", **{variable: value})

    assert status == 2
    assert says in sentence


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"BLADE_AUTH": "off"}, ["BLADE_AUTH=off lets in everybody", "listen on 127.0.0.1", "set BLADE_AUTH=on"]),
        ({}, ["BLADE_TLS_CERT_FILE and BLADE_TLS_KEY_FILE", "BLADE_PLAINTEXT=behind-proxy"]),
        ({"BLADE_AUTH": "off", "BLADE_PLAINTEXT": "behind-proxy"}, ["BLADE_AUTH=off lets in everybody"]),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_what_others_can_reach_is_neither_open_nor_plaintext(
    host: str, changes: dict[str, str], says: list[str]
) -> None:
    status, sentence = run("serve", "--host", host, DATABASE_URL="postgresql://root:s3cret@127.0.0.1:1/x", **changes)

    assert status == 2
    assert f"BLADE_HOST={host}" in sentence
    assert all(words in sentence for words in says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"BLADE_AUTH": "off"}, "authentication is off (BLADE_AUTH=off)"),
        ({"BLADE_HOST": "0.0.0.0", "BLADE_PLAINTEXT": "behind-proxy"}, "this server speaks plaintext"),
    ],
)
def test_what_is_open_on_purpose_is_in_the_log(
    postgres_url: str, serve: Callable[..., Served], changes: dict[str, str], says: str
) -> None:
    server = serve("--json", DATABASE_URL=postgres_url, **changes)
    assert server.said()["port"]
    assert says in server.stop()[1]


def test_others_reach_it_with_tls(postgres_url: str, serve: Callable[..., Served]) -> None:
    certificate = {"BLADE_TLS_CERT_FILE": str(TLS / "cert.pem"), "BLADE_TLS_KEY_FILE": str(TLS / "key.pem")}
    server = serve("--json", "--host", "0.0.0.0", "--workers", "1", DATABASE_URL=postgres_url, **certificate)
    assert server.said()["host"] == "0.0.0.0"
    assert "plaintext" not in server.stop()[1]


def test_an_admin_token_is_made_at_the_database_without_a_server(
    empty_postgres_url: str, serve: Callable[..., Served]
) -> None:
    status, token = run("create-admin-token", "--days", "1", DATABASE_URL=empty_postgres_url)
    server = serve("--json", DATABASE_URL=empty_postgres_url)
    with grpc.insecure_channel(f"127.0.0.1:{server.said()['port']}") as channel:
        answer = access_service_pb2_grpc.AccessServiceStub(channel).WhoAmI(
            access_service_pb2.WhoAmIRequest(), timeout=TIMEOUT_S, metadata=[("authorization", f"Bearer {token}")]
        )

    assert status == 0
    assert (answer.principal, answer.kind) == ("admin", "admin")
    assert 86000 < answer.expire_time.seconds - time.time() <= 86400
    assert run("create-admin-token")[0] == 2


def test_settings_that_contradict_each_other_are_one_sentence_without_the_others() -> None:
    status, sentence = run("serve", DATABASE_URL="postgresql://root:s3cret@db/x", BLADE_LEASE_BEAT_S="9")

    assert status == 2
    assert sentence.startswith("blade: BLADE_LEASE_BEAT_S=9 is more than a third of BLADE_LEASE_S=10")


def test_a_wrong_catalog_url_is_one_sentence_and_exit_code_2(postgres_url: str) -> None:
    status, sentence = run("serve", DATABASE_URL=postgres_url, BLADE_CATALOG_URL="catalog.test")

    assert status == 2
    assert "BLADE_CATALOG_URL is 'catalog.test'" in sentence


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_does_not_answer_is_one_sentence_and_exit_code_1(command: str) -> None:
    status, sentence = run(command, DATABASE_URL="postgresql://blade:s3cret@127.0.0.1:1/blade")

    assert status == 1
    assert "does not answer; check DATABASE_URL" in sentence
    assert "Connection refused" in sentence


def test_a_database_that_refuses_is_one_sentence_and_exit_code_1(empty_postgres_url: str) -> None:
    for command, asked in {"serve": "foo=1", "migrate": "options=-cdefault_transaction_read_only%3Don"}.items():
        status, sentence = run(command, DATABASE_URL=f"{empty_postgres_url}&{asked}")
        assert status == 1
        assert sentence.startswith("blade: PostgreSQL ")
        assert "bug" not in sentence


def test_a_port_that_is_taken_is_one_sentence_and_exit_code_1(postgres_url: str, serve: Callable[..., Served]) -> None:
    port = str(serve("--json", DATABASE_URL=postgres_url).said()["port"])

    status, sentence = run("serve", "--port", port, DATABASE_URL=postgres_url)

    assert status == 1
    assert sentence.startswith(f"blade: cannot listen on 127.0.0.1:{port}: Address already in use by a server of ")
    assert "set BLADE_PORT to a free one" in sentence


def test_a_setting_that_is_misspelt_and_secrets_in_files(
    postgres_url: str, serve: Callable[..., Served], tmp_path: Path
) -> None:
    secret = tmp_path / "url"
    secret.write_text(f"{postgres_url}\n")

    server = serve("--json", DATABASE_URL_FILE=str(secret), BLADE_HOTS="1")

    assert server.said()["database"] != "embedded"
    assert "BLADE_HOTS is set and is no setting; did you mean BLADE_HOST?" in server.stop()[1]


def test_migrate_makes_the_tables(empty_postgres_url: str) -> None:
    status, says = run("migrate", DATABASE_URL=empty_postgres_url)
    engine = sqlalchemy.create_engine(empty_postgres_url, poolclass=sqlalchemy.NullPool)

    assert (status, says) == (0, "The tables are up to date.")
    assert "job" in sqlalchemy.inspect(engine).get_table_names()


@pytest.mark.parametrize("arguments", [["serve"], ["serve", "--workers=1"], ["migrate"]])
def test_tables_of_a_newer_release_are_one_sentence_and_exit_code_1(postgres_url: str, arguments: list[str]) -> None:
    of_a_newer_release(postgres_url, readable_from="99.1.0")
    status, sentence = run(*arguments, DATABASE_URL=postgres_url)
    assert status == 1
    assert sentence == (
        "blade: the tables in PostgreSQL are of a newer release, beside which 99.1.0 and later ones may run; this is "
        f"{version('blade')}: start a newer one, or restore a backup of the tables before"
    )


def test_on_tables_of_a_newer_release_that_it_may_run_beside_it_serves_and_says_so(
    postgres_url: str, serve: Callable[..., Served]
) -> None:
    of_a_newer_release(postgres_url, readable_from=version("blade"))
    server = serve("--json", DATABASE_URL=postgres_url)
    with grpc.insecure_channel(f"127.0.0.1:{server.said()['port']}") as channel:
        job_service_pb2_grpc.JobServiceStub(channel).ListJobs(
            job_service_pb2.ListJobsRequest(), metadata=METADATA, timeout=TIMEOUT_S
        )
    status, errors = server.stop()
    assert status == 0
    assert "the tables are of a newer release; this one" in errors
