"""However BLADE connects to PostgreSQL, it is as the URL asks for, and as BLADE needs it."""

from __future__ import annotations

import psycopg2
import pytest
from sqlalchemy import text
from tests.support.pooler import pgbouncer

from blade_server.storage import connect
from blade_server.storage.connect import Pooling, Target
from blade_server.storage.database import Database

ASKED = "options=-csearch_path%3Dblade_s%20-c%20work_mem%3D5MB&application_name=mine&connect_timeout=3"
SHOWN = ("search_path", "work_mem", "application_name", "TimeZone", "statement_timeout")


def shown(connection):
    return [connection.execute(text(f"SHOW {name}")).scalar_one() for name in SHOWN]


def as_pool(url):
    database = Database(url)
    with database.read() as connection:
        found = shown(connection)
    database.close()
    return found


def as_migration(url):
    engine = connect.engine(Target(url=url), short=False)
    with engine.connect() as connection:
        found = shown(connection)
    engine.dispose()
    return found


def as_bell(url):
    ready = connect.within(5.0)
    connection = connect.asynchronous(Target.of(url), ready, name="blade-listener")
    found = []
    with connection.cursor() as cursor:
        for name in SHOWN:
            cursor.execute(f"SHOW {name}")
            connect.finish(connection, ready)
            found.append(cursor.fetchone()[0])
    connection.close()
    return found


@pytest.mark.parametrize(("way", "timeout"), [(as_pool, "1min"), (as_migration, "0"), (as_bell, "1min")])
def test_what_the_url_asks_for_is_joined_with_what_blade_needs(empty_postgres_url, way, timeout):
    assert way(f"{empty_postgres_url}&{ASKED}") == ["blade_s", "5MB", "mine", "UTC", timeout]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_behind_a_pooler_the_same_holds_for_the_pool_and_for_migrations(empty_postgres_url, mode):
    with pgbouncer(empty_postgres_url, mode, default_pool_size=3) as url:
        target = Target(url=f"{url}?{ASKED}", pooling=Pooling(mode))
        database = Database(target, pool_size=2)
        for _ in range(2):  # neither is lost with the first transaction of a connection
            with database.read() as one, database.begin() as other:
                assert shown(one) == shown(other)
        engine = connect.engine(target, short=False)
        with database.read() as reading, database.begin() as writing, engine.connect() as migrating:
            for connection, timeout in ((reading, "1min"), (writing, "1min"), (migrating, "0")):
                for _ in range(2):
                    assert shown(connection) == ["blade_s", "5MB", "mine", "UTC", timeout]
        with database.at_one_moment() as connection:
            assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "repeatable read"
            assert connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
            assert shown(connection)[0] == "blade_s"
        with database.begin() as connection:
            assert connection.execute(text("SHOW transaction_read_only")).scalar_one() == "off"
        database.close()
        engine.dispose()
        assert as_anybody(url) == ["0"] * 3


def as_anybody(url):
    """The time limit of statements at each of three backends, for whoever comes later."""
    connections = [psycopg2.connect(url) for _ in range(3)]
    found = []
    for connection in connections:  # each is in a transaction from here on, so each has another backend
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            found.append(cursor.fetchone()[0])
    for connection in connections:
        connection.close()
    return found


def test_behind_a_pooler_in_session_mode_the_bell_is_as_the_url_asks_for(empty_postgres_url):
    with pgbouncer(empty_postgres_url, "session") as url:
        target = Target(url=f"{url}?{ASKED}", pooling=Pooling.SESSION)
        assert as_bell(target) == ["blade_s", "5MB", "mine", "UTC", "1min"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("-c%20search_path%3Da,b", {"search_path": "a,b"}),
        ("--work-mem%3D5MB%20-cx.y%3Da%5C%20b", {"work_mem": "5MB", "x.y": "a b"}),
    ],
)
def test_options_are_told_apart_for_a_pooler(options, found):
    settings = connect.settings(Target(url=f"postgresql:///d?options={options}"))
    assert settings.items() >= found.items()


def test_an_option_that_is_no_setting_cannot_be_set_through_a_pooler():
    with pytest.raises(psycopg2.ProgrammingError, match=r"'-e' cannot be set"):
        connect.settings(Target(url="postgresql:///d?options=-cwork_mem%3D5MB%20-e"))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_each_usual_scheme_of_the_url_works(empty_postgres_url, scheme):
    _, _, rest = empty_postgres_url.partition("://")
    assert as_pool(f"{scheme}://{rest}")[2:4] == ["blade", "UTC"]
