"""However BLADE connects to PostgreSQL, it is as the URL asks for, and as BLADE needs it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from blade_server.storage import connect
from blade_server.storage.connect import Target
from blade_server.storage.database import Database

ASKED = "options=-csearch_path%3Dblade_s%20-c%20work_mem%3D5MB&application_name=mine&connect_timeout=3"
SHOWN = ("search_path", "work_mem", "application_name", "TimeZone", "statement_timeout")


def as_pool(url):
    database = Database(url)
    with database.read() as connection:
        shown = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in SHOWN]
    database.close()
    return shown


def as_migration(url):
    engine = connect.engine(Target(url=url), short=False)
    with engine.connect() as connection:
        shown = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in SHOWN]
    engine.dispose()
    return shown


def as_bell(url):
    ready = connect.within(5.0)
    connection = connect.asynchronous(Target(url=url), ready, name="blade-listener")
    shown = []
    with connection.cursor() as cursor:
        for name in SHOWN:
            cursor.execute(f"SHOW {name}")
            connect.finish(connection, ready)
            shown.append(cursor.fetchone()[0])
    connection.close()
    return shown


@pytest.mark.parametrize(("way", "timeout"), [(as_pool, "1min"), (as_migration, "0"), (as_bell, "1min")])
def test_what_the_url_asks_for_is_joined_with_what_blade_needs(empty_postgres_url, way, timeout):
    assert way(f"{empty_postgres_url}&{ASKED}") == ["blade_s", "5MB", "mine", "UTC", timeout]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_each_usual_scheme_of_the_url_works(empty_postgres_url, scheme):
    _, _, rest = empty_postgres_url.partition("://")
    assert as_pool(f"{scheme}://{rest}")[2:4] == ["blade", "UTC"]
