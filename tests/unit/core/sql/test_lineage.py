"""The column that classifies items: handed on as the table has it, or made by the SQL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.core.sql.test_sql import source

from blade_server.core import sql
from blade_server.core.sql import Reach
from blade_server.model import Classification, RowMapping

MAPPING = RowMapping(item_id="item_id", classification=Classification(column="Classification"))


def over(name: str, table: str, mapping: RowMapping = MAPPING):
    return replace(source(name, name, table), mapping=mapping)


M, S = over("m", "maintenance"), over("s", "sorties")
REACH = Reach([M, S], every_table=True)


def makes(text: str) -> bool:
    return sql.resolve(text, REACH, chosen=[M]).makes_classification


AS_IS = [
    "SELECT * FROM m",
    "SELECT * FROM m AS x WHERE x.classification = 'SECRET' ORDER BY 1 LIMIT 3",
    "SELECT item_id, classification FROM m",
    "SELECT item_id, CLASSIFICATION FROM main.blade.maintenance",
    "SELECT item_id, `Classification` AS classification FROM m",
    "SELECT x.item_id, x.classification FROM m x JOIN s ON s.a = x.a",
    "SELECT classification FROM m JOIN s USING (item_id)",
    "SELECT x.*, s.a FROM m x LEFT JOIN s ON s.a = x.a",
    "SELECT m.* EXCEPT (a), upper(a) AS a FROM m",
    "SELECT * FROM (SELECT item_id, classification FROM m) t",
    "SELECT t.* FROM (SELECT * FROM m) t, main.reference.codes c",
    "WITH w AS (SELECT * FROM m) SELECT * FROM w",
    "WITH w AS (SELECT * FROM m), v AS (SELECT w.* FROM w JOIN s ON w.a = s.a) SELECT item_id, classification FROM v",
    "WITH w(a, b) AS (SELECT 1, 2) SELECT m.* FROM m, w",
    "SELECT * FROM m LATERAL VIEW explode(xs) t AS x",
    "SELECT * FROM m, explode(xs) AS t(x)",
    "SELECT * FROM m, LATERAL (SELECT m.a + 1 AS b) t",
    "SELECT * FROM m, (SELECT max(a) AS top FROM s) t",
    "SELECT classification, count(*) AS n FROM m GROUP BY classification",
    "SELECT DISTINCT item_id, classification, row_number() OVER (ORDER BY a) AS n FROM m QUALIFY n = 1",
    "SELECT * FROM m UNION ALL SELECT * FROM m WHERE a = 1",
    "SELECT a, classification FROM m UNION SELECT b, classification FROM m x INTERSECT SELECT c, classification FROM m",
    "WITH w AS (SELECT * FROM m) SELECT * FROM w UNION ALL SELECT * FROM (SELECT * FROM m)",
    "SELECT a, classification FROM m UNION ALL BY NAME SELECT classification, a FROM m",
    "SELECT item_id, count(*) FROM m GROUP BY item_id",
    "SELECT item_id, upper(classification) AS other, 'classification' AS c FROM m",
    "SELECT * EXCEPT (classification) FROM m",
    "SELECT m.* FROM m VERSION AS OF 3",
    "FROM m SELECT item_id, classification",
    "SELECT item_id, blade.maintenance.classification FROM blade.maintenance",
    "SELECT main.blade.maintenance.* FROM main.blade.maintenance, s",
    "SELECT item_id, classification FROM m LEFT SEMI JOIN s ON s.a = m.a",
    "SELECT * FROM m LEFT ANTI JOIN s ON s.a = m.a",
]
MADE = [
    "SELECT *, 'UNCLASS' AS classification FROM m",
    "SELECT item_id, 'UNCLASS' AS CLASSIFICATION FROM m",
    "SELECT item_id, 'UNCLASS' classification FROM m",
    "SELECT item_id, 'UNCLASS' AS `Classification` FROM m",
    "SELECT item_id, a AS classification FROM m",
    "SELECT item_id, upper(classification) AS classification FROM m",
    "SELECT item_id, coalesce(classification, 'UNCLASS') AS classification FROM m",
    "SELECT item_id, max(classification) AS classification FROM m GROUP BY item_id",
    "SELECT item_id, CASE WHEN a THEN classification END AS classification FROM m",
    "SELECT item_id, (SELECT classification FROM m LIMIT 1) AS classification FROM m",
    "SELECT item_id, first(classification) OVER (ORDER BY a) AS classification FROM m",
    "SELECT item_id, CAST(classification AS STRING) FROM m",
    "SELECT item_id, classification::string FROM m",
    "SELECT item_id, x:classification FROM m",
    "SELECT item_id, x['classification'] FROM m",
    "SELECT item_id, x.classification FROM m",
    "SELECT item_id, a.b.c.d.classification FROM m",
    "SELECT item_id, x.* FROM m",
    "SELECT item_id, named_struct('classification', 'UNCLASS').classification FROM m",
    "SELECT item_id, inline(array(named_struct('Classification', 'UNCLASS'))) FROM m",
    "SELECT item_id, inline(xs) FROM m",
    "SELECT item_id, posexplode(xs) AS (classification, b) FROM m",
    "SELECT item_id, explode(xs) AS classification FROM m",
    "SELECT * EXCEPT (classification), 'UNCLASS' AS classification FROM m",
    "SELECT m.* EXCEPT (classification), a AS classification FROM m",
    "SELECT s.* FROM m, s",
    "SELECT * FROM m, s",
    "SELECT * FROM s",
    "SELECT * FROM main.reference.codes",
    "SELECT item_id, s.classification FROM m JOIN s USING (item_id)",
    "SELECT item_id, classification FROM s",
    "SELECT * FROM m JOIN s USING (classification)",
    "SELECT m.* FROM m FULL JOIN s USING (Classification)",
    "SELECT classification FROM m NATURAL JOIN s",
    "SELECT classification FROM m LATERAL VIEW explode(array('UNCLASS')) t AS classification",
    "SELECT t.classification FROM m LATERAL VIEW explode(array('UNCLASS')) t AS classification",
    "SELECT * FROM m, LATERAL (SELECT 'UNCLASS' AS classification) t",
    "SELECT t.* FROM m, LATERAL (SELECT m.classification) t",
    "SELECT item_id, classification FROM (SELECT *, 'UNCLASS' AS classification FROM m) t",
    "SELECT item_id, classification FROM (SELECT item_id, a FROM m) t(item_id, classification)",
    "SELECT * FROM VALUES ('a', 'UNCLASS') t(item_id, classification), (SELECT 1 FROM m)",
    "SELECT item_id, classification FROM m AS t(item_id, classification)",
    "WITH m AS (SELECT *, 'UNCLASS' AS classification FROM m) SELECT * FROM m",
    "WITH w(item_id, classification) AS (SELECT item_id, a FROM m) SELECT * FROM w",
    "WITH w AS (SELECT item_id, 'UNCLASS' AS classification FROM m), v AS (SELECT * FROM w) SELECT * FROM v",
    "WITH w(x) AS (SELECT a, 'UNCLASS' AS classification FROM m) SELECT * FROM w",
    "SELECT * FROM m AS t(x, y)",
    "WITH RECURSIVE w AS (SELECT * FROM m UNION ALL SELECT * FROM w) SELECT * FROM w",
    "SELECT a, classification FROM m UNION ALL SELECT a, 'UNCLASS' FROM m",
    "SELECT a, 'UNCLASS' AS classification FROM m UNION ALL SELECT a, classification FROM m",
    "SELECT a, classification FROM m UNION ALL SELECT classification, a FROM m",
    "SELECT a, b, classification FROM m UNION ALL SELECT classification, a, b FROM m",
    "SELECT * FROM m UNION ALL SELECT a, classification FROM m",
    "SELECT * FROM m UNION ALL SELECT * FROM s",
    "SELECT * FROM m UNION ALL SELECT * EXCEPT (classification) FROM m",
    "SELECT m.*, 1 AS b FROM m UNION ALL SELECT 1 AS b, m.* FROM m",
    "SELECT * FROM m UNION ALL BY NAME SELECT item_id, a AS classification FROM m",
    "SELECT * FROM m PIVOT (max(a) AS classification FOR b IN (1))",
    "SELECT * FROM m UNPIVOT (classification FOR b IN (c, d))",
    "SELECT * FROM (m JOIN s ON m.a = s.a)",
    "SELECT item_id, stack(1, 'UNCLASS') FROM m",
    "SELECT `classification ` AS classification FROM m",
    # Fields of a struct `x` of `t`, beside a table that is called `x`.
    "SELECT t.x.* FROM (SELECT named_struct('classification', 'UNCLASS') AS x) t, m AS x",
    "SELECT t.x.classification FROM (SELECT named_struct('classification', 'UNCLASS') AS x) t, m AS x",
    "SELECT item_id, t.a.b.c.* FROM (SELECT item_id, xs AS a FROM m) t",
    "SELECT item_id, t.a[0].* FROM (SELECT item_id, xs AS a FROM m) t",
    "SELECT from_json(a, 'c string').* FROM m",
    # What is not read but only looked into; a pivot is of all that stands before it.
    "SELECT item_id, classification FROM s LEFT SEMI JOIN m ON s.a = m.a",
    "SELECT item_id, classification FROM s ANTI JOIN m ON s.a = m.a",
    "SELECT x.* FROM m x JOIN s ON s.a = x.a UNPIVOT (v FOR classification IN (b AS UNCLASS)) AS x",
    "SELECT x.* FROM m x, s UNPIVOT (v FOR classification IN (b AS UNCLASS)) AS x",
]


@pytest.mark.parametrize("text", AS_IS)
def test_as_the_table_has_it(text: str) -> None:
    assert not makes(text)


@pytest.mark.parametrize("text", MADE)
def test_made_by_the_sql(text: str) -> None:
    assert makes(text)


def test_a_fixed_classification_is_in_no_column() -> None:
    fixed = over("m", "maintenance", RowMapping(item_id="a", classification=Classification(value="UNCLASS")))
    assert not sql.resolve("SELECT 1 AS classification FROM m", Reach([fixed])).makes_classification


def test_long_chains_are_followed() -> None:
    assert not makes(" UNION ALL ".join(["SELECT * FROM m"] * 200))
    names = [f"w{n}" for n in range(60)]
    parts = [f"{name} AS (SELECT * FROM {before})" for before, name in zip(["m", *names], names, strict=False)]
    assert not makes(f"WITH {', '.join(parts)} SELECT * FROM {names[-1]}")
