"""Statements over a change data feed."""

from __future__ import annotations

import pytest

from blade_server.core import sql

TABLE = "`main`.`s`.`it``s '`"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT a FROM `main`.`s`.`t`",
        "SELECT *, 1 AS b FROM `main`.`s`.`t`",
        "SELECT * FROM `main`.`s`.`t` WHERE a > 1",
        "SELECT * FROM `main`.`s`.`t` LIMIT 3",
        "SELECT DISTINCT * FROM `main`.`s`.`t`",
        "SELECT * FROM `main`.`s`.`t` AS x JOIN `main`.`s`.`u` AS y ON x.a = y.a",
        "SELECT * FROM `main`.`s`.`t` VERSION AS OF 3",
        "SELECT * FROM `main`.`s`.`t`, `main`.`s`.`u`",
        "SELECT * EXCEPT (a) FROM `main`.`s`.`t`",
        "SELECT * FROM (SELECT * FROM `main`.`s`.`t`) AS x",
        "SELECT * FROM `main`.`s`.`t` TABLESAMPLE (10 PERCENT)",
    ],
)
def test_a_query_that_is_not_all_of_one_table_has_no_feed(statement):
    assert sql.table_of(statement) == ""


def test_all_of_a_table_has_one():
    assert sql.table_of("SELECT * FROM `Main`.`s`.`t`") == "`Main`.`s`.`t`"


def test_the_name_of_a_table_is_a_text_that_cannot_end_early():
    assert sql.change_rows(TABLE, 3) == r"SELECT 1 FROM table_changes('`main`.`s`.`it``s \'`', 3, 3) LIMIT 1"
