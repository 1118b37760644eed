"""What a PostgreSQL refuses is one sentence with its own reason and the way out; and poolers are found out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

import psycopg2
import pytest
from tests.support.databases import create_database
from tests.support.pooler import pgbouncer

from blade_server.errors import StorageUnavailable
from blade_server.storage import probe as probe_module
from blade_server.storage.connect import Pooling, parsed
from blade_server.storage.migrate import migrate
from blade_server.storage.probe import check_bell, probe


def execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(**parsed(url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@contextmanager
def a_role(url: str, options: str = "") -> Iterator[tuple[str, str]]:
    """The name of a role that may log in, and the URL with it."""
    name = f"role_{secrets.token_hex(4)}"
    execute(url, f"CREATE ROLE {name} LOGIN {options}")
    try:
        yield name, re.sub(r"//[^@]*@", f"//{name}:s3cret@", url)
    finally:
        execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def start(url: str) -> None:
    """As a server does."""
    migrate(probe(url))


def refused(url: str, *says: str) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        start(url)
    sentence = str(caught.value)
    assert all(words in sentence for words in says), sentence
    assert "s3cret" not in sentence
    assert "\n" not in sentence


@pytest.fixture(scope="module")
def server(_postgres: str) -> str:
    """The URL of a database without tables."""
    return _postgres


@pytest.fixture(scope="module")
def over_tcp(server: str) -> Iterator[str]:
    """PostgreSQL at a TCP port, where TLS can be asked for: behind a PgBouncer that has none."""
    with pgbouncer(server, "session") as url:
        yield url


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("nothing.invalid", ["could not translate host name", "check the host in DATABASE_URL"]),
        ("127.0.0.1:1", ["Connection refused", "does not answer; check DATABASE_URL"]),
    ],
)
def test_a_host_that_is_not_there(change: str, says: list[str]) -> None:
    refused(f"postgresql://blade:s3cret@{change}/blade", *says)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("&foo=1", ['invalid URI query parameter: "foo"', "check what is behind the ? in DATABASE_URL"]),
        ("&sslmode=perhaps", ['invalid sslmode value: "perhaps"', "check what is behind the ?"]),
        ("&options=-cfoo%3D1", ['unrecognized configuration parameter "foo"', "check `options` in DATABASE_URL"]),
        ("&options=-cwork_mem%3Dmuch", ['invalid value for parameter "work_mem"', "check `options`"]),
        ("&options=-csearch_path%3Dnowhere", ["no schema has been selected", "CREATE SCHEMA"]),
        ("&options=-cdefault_transaction_read_only%3Don", ["read-only", "?target_session_attrs=read-write"]),
        ("&target_session_attrs=standby", ["not in hot standby"]),
    ],
)
def test_what_the_url_asks_for_and_does_not_get(empty_postgres_url: str, query: str, says: list[str]) -> None:
    refused(empty_postgres_url + query, *says)


def test_a_database_or_a_role_that_is_not_there(server: str) -> None:
    refused(server.replace("/postgres?", "/nowhere?"), 'database "nowhere" does not exist', "CREATE DATABASE")
    refused(re.sub("//[^@]*@", "//nobody:s3cret@", server), 'role "nobody" does not exist', "CREATE ROLE")


def test_tls_where_there_is_none(over_tcp: str) -> None:
    refused(f"{over_tcp}?sslmode=require", "does not support SSL", "check sslmode in DATABASE_URL")


def test_a_password_that_is_wrong(server: str) -> None:
    with pgbouncer(server, "session", auth_type="md5", users={"postgres": "right"}) as url:
        wrong = url.replace("postgres@", "postgres:s3cret@")
        refused(wrong, "password authentication failed", "check user and password in DATABASE_URL")


def test_too_many_connections_are_waited_for_and_then_told(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "START_PATIENCE_S", 0.3)
    with a_role(empty_postgres_url, "CONNECTION LIMIT 0") as (name, url):
        refused(url, f'too many connections for role "{name}"', "CONNECTION LIMIT")


def test_a_release_that_is_too_old(empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "OLDEST", 99)
    refused(empty_postgres_url, "BLADE needs 99 or later")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_that_cannot_hold_everything(server: str, encoding: str) -> None:
    name = f"other_{secrets.token_hex(4)}"
    execute(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'")
    try:
        refused(server.replace("/postgres?", f"/{name}?"), f"is encoded in {encoding}", "ENCODING 'UTF8'")
    finally:
        execute(server, f"DROP DATABASE {name}")


def test_a_role_without_rights_is_told_which(empty_postgres_url: str) -> None:
    with a_role(empty_postgres_url) as (name, url):
        execute(empty_postgres_url, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
        refused(url, "no schema has been selected", "GRANT USAGE ON it")
        execute(empty_postgres_url, f"GRANT USAGE ON SCHEMA public TO {name}")
        refused(url, "permission denied for schema public", "CREATE ON SCHEMA")
        migrate(empty_postgres_url)
        refused(url, "permission denied for table alembic_version", "GRANT USAGE ON SCHEMA")
        execute(
            empty_postgres_url,
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
            f"GRANT UPDATE ON about TO {name}",
        )
        refused(url, f"{name} may not DELETE in the table access_grant", f"IN SCHEMA public TO {name}")
        execute(empty_postgres_url, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
        start(url)


# ------------------------------------------------------------------------------------------------- several hosts


def test_of_several_hosts_the_one_that_takes_writes_is_used(server: str, over_tcp: str) -> None:
    there = parsed(over_tcp)
    hosts = f"127.0.0.1:1,{there['host']}:{there['port']}"
    for url in (
        f"postgresql://{there['user']}@{hosts}/{there['dbname']}?target_session_attrs=read-write",
        f"postgresql://{there['user']}@/{there['dbname']}?host=127.0.0.1:1&host=127.0.0.1:{there['port']}",
    ):
        assert probe(url).place == f"127.0.0.1,127.0.0.1/{there['dbname']}"


# ------------------------------------------------------------------------------------------------- poolers


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("session", {}),
        ("transaction", {}),
        ("transaction", {"server_round_robin": 1}),
        ("transaction", {"server_round_robin": 1, "default_pool_size": 2}),
        ("transaction", {"default_pool_size": 1}),
    ],
)
def test_a_pooler_is_found_out(server: str, mode: str, settings: dict[str, object]) -> None:
    with pgbouncer(server, mode, **settings) as url:
        _fill(url, int(str(settings.get("default_pool_size", 3))))
        assert probe(url).pooling is Pooling(mode)


def _fill(url: str, backends: int) -> None:
    """Has the pooler make so many backends."""
    connections = [psycopg2.connect(url) for _ in range(backends)]
    for connection in connections:
        with connection.cursor() as cursor:
            cursor.execute("SELECT")
    for connection in connections:
        connection.commit()  # else the pooler lets its backend go
        connection.close()


def test_without_a_pooler_there_is_none_and_what_is_set_is_not_asked_for(server: str) -> None:
    assert probe(server).pooling is Pooling.NONE
    assert probe(server, pooling=Pooling.TRANSACTION).pooling is Pooling.TRANSACTION


def test_a_pooler_that_keeps_no_transaction_together_is_refused(server: str) -> None:
    with pgbouncer(server, "statement") as url:
        refused(url, "refuses transactions", "pool_mode to session or transaction")


def test_the_url_to_listen_at_leads_to_the_same_tables(postgres_url: str, server: str) -> None:
    other = create_database(server, f"other_{secrets.token_hex(4)}", "template0")
    migrate(other)
    check_bell(probe(postgres_url, listen_url=postgres_url))
    with pytest.raises(StorageUnavailable, match="BLADE_LISTEN_DATABASE_URL leads to"):
        check_bell(probe(postgres_url, listen_url=other))
    execute(server, f"DROP DATABASE {parsed(other)['dbname']} WITH (FORCE)")


def test_a_password_and_options_with_odd_letters_are_taken_as_they_are() -> None:
    given = parsed(f"postgresql://us%65r:p#s?/ s%2F@h/d?options={quote('-c a.b=x')}")
    assert (given["user"], given["password"], given["options"]) == ("user", "p#s?/ s/", "-c a.b=x")
