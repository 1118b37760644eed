"""What SQL sees of tables of which not all is there for its caller, on a real warehouse.

`vis` has everything, `truth` what Python says is there. Whatever is asked, rows or errors, must be the same of both:
then nothing that is asked can tell of the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from blade_sandbox.warehouse import Warehouse as Sandbox
from blade_sandbox.warehouse.errors import SqlError
from blade_server.core import sql
from blade_server.core.sql import Reach
from blade_server.core.transform.transform import Transform
from blade_server.errors import BladeError
from blade_server.model import Classification, RowMapping, RowQuery, Source, SourceConfig
from blade_server.model.access import View

ORDER = ("UNCLASS", "CUI", "SECRET")
UP_TO_CUI = ("UNCLASS", "CUI")
MARKINGS = [
    "UNCLASS",
    "CUI",
    "SECRET",
    " CUI ",
    "cui",
    None,
    "",
    " ",
    "\tUNCLASS\r\n",
    "TOP",
    "UNCLASS",
    "SECRET",
    "CUI",
]
PEOPLE = pa.table(
    {
        "id": [f"P-{n}" for n in range(len(MARKINGS))],
        "name": [f"name {n}" for n in range(len(MARKINGS))],
        # What is not there fails in a cast, a division and a look-up.
        "note": [str(n) if (mark or "").strip() in UP_TO_CUI else f"hidden {n}" for n, mark in enumerate(MARKINGS)],
        "n": [n + 1 if (mark or "").strip() in UP_TO_CUI else 0 for n, mark in enumerate(MARKINGS)],
        "unit": [f"U{n % 4}" for n in range(len(MARKINGS))],
        "level": MARKINGS,
        "salary": [1000 * n for n in range(len(MARKINGS))],
        "Badge": [f"badge {n}" for n in range(len(MARKINGS))],
        "box": [{"salary": n, "open": n % 2 == 0} for n in range(len(MARKINGS))],
        "xs": [[n, n + 1] for n in range(len(MARKINGS))],
    }
)
UNITS = pa.table(
    {
        "unit": ["U0", "U1", "U2", "U3"],
        "city": ["Aachen", "Berlin", "Celle", "Dresden"],
        "salary": [1, 2, 3, 4],
        "marking": ["UNCLASS", "SECRET", "CUI", None],
    }
)
TABLES = {"people": PEOPLE, "units": UNITS}
MASKED = {"people": ("salary", "badge"), "units": ("salary",)}


def a_source(name: str, schema: str) -> Source:
    column, item_id, data_type = {"people": ("level", "id", "person"), "units": ("marking", "unit", "place")}[name]
    return Source(
        name=name,
        display_name=name,
        data_type=data_type,
        enabled=True,
        config=SourceConfig(catalog="main", schema=schema, table=name),
        mapping=RowMapping(item_id=item_id, last_modified="", classification=Classification(column=column)),
    )


def there(table: pa.Table, source: Source) -> pa.Table:
    """The rows whose items are CUI at most, without what is masked: by the transform itself."""
    transform = Transform(source, table.schema, known_classifications=ORDER, metadata={})
    ids = [item.item_id for item in transform.all(table.to_batches()).items if item.classification in UP_TO_CUI]
    key = source.mapping.item_id
    kept = table.filter(pa.array([one in ids for one in table[key].to_pylist()]))
    return kept.drop_columns([name for name in table.column_names if name.casefold() in MASKED[source.name]])


@pytest.fixture(scope="module")
def warehouse(_sandbox: Sandbox) -> Iterator[Sandbox]:
    for name, table in TABLES.items():
        _sandbox.load(f"main.vis.{name}", table)
        _sandbox.load(f"main.truth.{name}", there(table, a_source(name, "vis")))
    yield _sandbox
    for schema in ("vis", "truth"):
        _sandbox.run(f"DROP SCHEMA main.{schema} CASCADE")


SEEN = {name: View(ceiling="CUI", classifications=UP_TO_CUI, masked=masked) for name, masked in MASKED.items()}
REACHES = {
    "vis": Reach([a_source("people", "vis"), a_source("units", "vis")], views=SEEN),
    "truth": Reach([a_source("people", "truth"), a_source("units", "truth")]),
    "truth of which all is there": Reach(
        [a_source("people", "truth"), a_source("units", "truth")],
        views=dict.fromkeys(TABLES, View(ceiling="SECRET", classifications=ORDER)),
    ),
}


def answer(warehouse: Sandbox, schema: str, text: str) -> tuple[str, object]:
    """What somebody is told who asks: rows, or an error's words."""
    text = text.replace("vis.", f"{schema.split(maxsplit=1)[0]}.")
    chosen = REACHES[schema].sources[:1]
    try:
        statement = sql.resolve(text, REACHES[schema], chosen=chosen).statement
        return "rows", sorted(map(repr, warehouse.run(statement)))
    except (BladeError, SqlError) as exc:
        return "error", str(exc).splitlines()[0].replace("truth", "vis")


FORMS = [
    "SELECT * FROM people",
    "SELECT count(*) FROM people",
    "SELECT count(*), min(n), max(note), sum(n) FROM people",
    "SELECT people.* FROM people",
    "SELECT p.* FROM people AS p",
    "SELECT p.id, P.N FROM people p WHERE p.n > 2",
    "SELECT * FROM person",
    "SELECT person.id FROM person",
    "SELECT * FROM `people`",
    "SELECT * FROM PEOPLE",
    "SELECT * FROM main.vis.people",
    "SELECT * FROM `Main`.vis.`People`",
    "SELECT * FROM vis.people",
    "SELECT people.id, vis.people.n, main.vis.people.note FROM main.vis.people WHERE vis.people.n > 1",
    "SELECT vis.people.* FROM vis.people ORDER BY main.vis.people.n DESC LIMIT 3",
    "SELECT p.id FROM main.vis.people p",
    "SELECT * EXCEPT (note) FROM people",
    "SELECT people.* EXCEPT (note, n) FROM people",
    "SELECT * FROM (SELECT * FROM people) t WHERE t.n > 1",
    "WITH w AS (SELECT * FROM people) SELECT * FROM w",
    "WITH people AS (SELECT id, n FROM people) SELECT * FROM people",
    "WITH people AS (SELECT 1 AS id) SELECT * FROM people",
    "WITH w AS (SELECT * FROM people), v AS (SELECT w.id FROM w JOIN people USING (id)) SELECT count(*) FROM v",
    "SELECT a.id, b.id FROM people a JOIN people b ON a.n = b.n",
    "SELECT a.id, b.id FROM people a, people b WHERE a.n < b.n",
    "SELECT p.id, u.city FROM people p JOIN units u ON p.unit = u.unit",
    "SELECT p.id, u.city FROM people p LEFT JOIN units u ON p.unit = u.unit",
    "SELECT p.id, u.city FROM people p RIGHT JOIN units u ON p.unit = u.unit",
    "SELECT p.id, u.city FROM people p FULL OUTER JOIN units u ON p.unit = u.unit",
    "SELECT id, city FROM people JOIN units USING (unit)",
    "SELECT * FROM people NATURAL JOIN units",
    "SELECT p.id FROM people p LEFT SEMI JOIN units u ON p.unit = u.unit",
    "SELECT p.id FROM people p LEFT ANTI JOIN units u ON p.unit = u.unit",
    "SELECT people.id FROM people CROSS JOIN units",
    "SELECT people.id, units.city FROM (people JOIN units ON people.unit = units.unit)",
    "SELECT id FROM people WHERE unit IN (SELECT unit FROM units)",
    "SELECT id FROM people WHERE unit NOT IN (SELECT unit FROM units)",
    "SELECT id FROM people p WHERE EXISTS (SELECT 1 FROM units u WHERE u.unit = p.unit)",
    "SELECT id FROM people p WHERE NOT EXISTS (SELECT 1 FROM units WHERE units.unit = p.unit)",
    "SELECT id, (SELECT max(n) FROM people) AS top FROM people",
    "SELECT id, (SELECT u.city FROM units u WHERE u.unit = p.unit) AS city FROM people p",
    "SELECT id FROM people WHERE n > (SELECT avg(n) FROM people)",
    "SELECT p.id, t.city FROM people p, LATERAL (SELECT city FROM units u WHERE u.unit = p.unit) t",
    "SELECT id FROM people UNION SELECT unit FROM units",
    "SELECT id FROM people UNION ALL SELECT id FROM people",
    "SELECT unit FROM people INTERSECT SELECT unit FROM units",
    "SELECT unit FROM people EXCEPT SELECT unit FROM units",
    "SELECT id, row_number() OVER (ORDER BY n, id) AS r FROM people",
    "SELECT id, sum(n) OVER (PARTITION BY unit) AS s, lag(n) OVER (ORDER BY id) AS l FROM people",
    "SELECT id, rank() OVER (ORDER BY n DESC) AS r FROM people QUALIFY r <= 2",
    "SELECT unit, count(*) AS c FROM people GROUP BY unit HAVING count(*) > 1",
    "SELECT unit, count(*) FROM people GROUP BY ROLLUP (unit)",
    "SELECT DISTINCT unit FROM people",
    "SELECT id, x FROM people LATERAL VIEW explode(xs) t AS x",
    "SELECT id, box.open FROM people",
    "SELECT id, box.salary FROM people",
    "SELECT people.box.open FROM people",
    "SELECT CASE WHEN n > 3 THEN 'many' ELSE 'few' END AS k, count(*) FROM people GROUP BY 1 ORDER BY 1",
    "SELECT level, count(*) FROM people GROUP BY level",
    "SELECT * FROM people ORDER BY id LIMIT 2 OFFSET 1",
    "SELECT t.a FROM people AS t(a, b, c, d, e, f, g)",
    "SELECT source_rows.id FROM people AS source_rows",
    "WITH source_rows AS (SELECT 'x' AS level) SELECT p.id FROM people p, source_rows",
    "SELECT 'it''s' AS q, id FROM people WHERE name LIKE 'name %'",
    "SELECT id -- a comment\nFROM people /* and another */",
    "SELECT * FROM people TABLESAMPLE (100 PERCENT)",
    "SELECT * FROM people TABLESAMPLE (100 PERCENT) AS s",
    "SELECT * FROM (SELECT unit, n FROM people) PIVOT (sum(n) FOR unit IN ('U0', 'U1'))",
    "SELECT * FROM VALUES (1), (2) AS v(a) WHERE a IN (SELECT n FROM people)",
]
ATTACKS = [
    # A masked column by its name: as one that is not there.
    "SELECT salary FROM people",
    "SELECT people.salary FROM people",
    "SELECT p.SALARY FROM people p",
    "SELECT main.vis.people.salary FROM main.vis.people",
    "SELECT vis.people.`Badge` FROM vis.people",
    "SELECT id FROM people WHERE salary > 3000",
    "SELECT id FROM people WHERE badge = 'badge 1'",
    "SELECT id FROM people ORDER BY salary",
    "SELECT count(*) FROM people GROUP BY salary",
    "SELECT sum(salary) FROM people",
    "SELECT CAST(badge AS INT) FROM people",
    "SELECT count(badge) FROM people",
    "SELECT id FROM people QUALIFY row_number() OVER (ORDER BY salary) = 1",
    "SELECT unit FROM people GROUP BY unit HAVING max(salary) > 0",
    "SELECT a.id FROM people a JOIN people b ON a.salary = b.salary",
    "SELECT id FROM people JOIN units USING (salary)",
    "SELECT * EXCEPT (salary) FROM people",
    "SELECT people.* EXCEPT (badge) FROM people",
    "SELECT 1 AS salary, salary + 1 FROM people",
    "SELECT n AS salary, id FROM people ORDER BY salary",
    "SELECT id FROM people p WHERE EXISTS (SELECT salary FROM units WHERE unit = p.unit)",
    "SELECT id FROM people p WHERE EXISTS (SELECT 1 FROM (SELECT 1) t WHERE p.salary > 1)",
    "SELECT u.city FROM units u WHERE u.unit IN (SELECT unit FROM people WHERE salary = u.salary)",
    "SELECT x FROM people LATERAL VIEW explode(array(salary)) t AS x",
    "SELECT * FROM people PIVOT (sum(salary) FOR unit IN ('U0', 'U1'))",
    "SELECT * FROM people PIVOT (sum(n) FOR unit IN ('U0', 'U1'))",
    "SELECT stack(2, id, salary) FROM people",
    # All columns at once.
    "SELECT struct(*) FROM people",
    "SELECT to_json(struct(*)) FROM people",
    "SELECT to_json(struct(people.*)) FROM people",
    "SELECT named_struct('a', people.*) FROM people",
    "SELECT hash(*) FROM people",
    "SELECT concat_ws(',', *) FROM people",
    "SELECT coalesce(*) FROM people",
    "SELECT count(*), count(people.*) FROM people",
    "SELECT people FROM people",
    "SELECT to_json(people) FROM people",
    "SELECT p FROM people p",
    "SELECT source_rows.salary FROM people",
    "SELECT source_rows.* FROM people",
    "SELECT people.source_rows FROM people",
    "SELECT _metadata FROM people",
    "SELECT _metadata.file_path FROM people",
    "SELECT columns('sal.*') FROM people",
    "SELECT * FROM people JOIN units ON people.unit = units.unit",
    # Rows that are not there, by what fails on them.
    "SELECT id FROM people WHERE CAST(note AS INT) >= 0",
    "SELECT id FROM people WHERE 10 / n > 1",
    "SELECT count(*) FROM people WHERE 1 / n >= 0",
    "SELECT id FROM (SELECT *, CAST(note AS INT) AS k FROM people) WHERE k >= 0",
    "SELECT id FROM people WHERE CASE WHEN n = 0 THEN CAST('x' AS INT) ELSE 1 END = 1",
    "SELECT id FROM people WHERE IF(level = 'SECRET', raise_error('there'), true)",
    "SELECT id FROM people WHERE assert_true(n > 0) IS NULL",
    "SELECT sum(CAST(note AS INT)) FROM people",
    "SELECT max(CAST(note AS INT)) OVER () FROM people",
    "SELECT a.id FROM people a JOIN people b ON CAST(a.note AS INT) = CAST(b.note AS INT)",
    "SELECT id FROM people ORDER BY CAST(note AS INT)",
    "SELECT CAST(note AS INT) AS k, count(*) FROM people GROUP BY 1",
    "SELECT id FROM people WHERE level = 'SECRET'",
    "SELECT id FROM people WHERE level IS NULL OR trim(level) = ''",
    "SELECT id FROM people WHERE level NOT IN ('UNCLASS') OR true",
    "SELECT count(*) FILTER (WHERE level = 'SECRET') FROM people",
    "SELECT count(DISTINCT level) FROM people",
    "SELECT approx_count_distinct(id) FROM people",
    "SELECT u.unit, count(p.id) FROM units u LEFT JOIN people p ON p.unit = u.unit GROUP BY u.unit",
    "SELECT city FROM units WHERE unit = 'U1' OR 1 = 1",
    "SELECT (SELECT count(*) FROM people) - count(*) FROM people",
    "SELECT id FROM people WHERE n = 0 LIMIT 1",
    "SELECT max(id) FROM people HAVING count(*) > 7",
    "SELECT 1 FROM people WHERE 1 = 0 UNION ALL SELECT count(*) FROM people",
    "SELECT exists(xs, x -> x > 11) FROM people",
    "SELECT id FROM people WHERE rand() >= 0 AND CAST(note AS INT) >= 0",
]


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_sql_sees_what_is_there(warehouse: Sandbox, text: str) -> None:
    seen = answer(warehouse, "vis", text)
    assert seen == answer(warehouse, "truth", text)
    assert seen[0] == "rows", seen


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_that_is_asked_tells_of_the_rest(warehouse: Sandbox, text: str) -> None:
    assert answer(warehouse, "vis", text) == answer(warehouse, "truth of which all is there", text)


def test_the_tables_differ_in_all_that_matters(warehouse: Sandbox) -> None:
    """Or the tests above would prove nothing."""
    whole = Reach(REACHES["vis"].sources)
    people = REACHES["vis"].sources[:1]
    found = sql.resolve("SELECT count(*) FROM people", whole, chosen=people)
    assert warehouse.run(found.statement) == [(13,)]
    assert answer(warehouse, "truth", "SELECT count(*) FROM people") == ("rows", ["(6,)"])
    assert answer(warehouse, "truth", "SELECT unit FROM units") == ("rows", ["('U0',)", "('U2',)"])
    failing = sql.resolve("SELECT sum(CAST(note AS INT)) FROM people", whole, chosen=people)
    with pytest.raises(SqlError, match="hidden"):
        warehouse.run(failing.statement)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (RowQuery(), ""),
        (RowQuery(filter="people.n > 1 AND vis.people.note <> main.vis.people.id", order_by=["n desc"]), ""),
        (RowQuery(columns=["id", "N"], filter="level = :l", parameters={"l": "CUI"}), ""),
        (RowQuery(filter="box.salary > 3"), ""),
        (RowQuery(filter="CAST(note AS INT) >= 0 AND 1 / n > 0"), ""),
        (RowQuery(columns=["salary"]), "the table has no column 'salary'"),
        (RowQuery(filter="salary > 3"), "the table has no column 'salary'"),
        (RowQuery(order_by=["Badge desc"]), "the table has no column 'Badge'"),
    ],
)
def test_a_filter_sees_what_is_there(warehouse: Sandbox, query: RowQuery, error: str) -> None:
    def told(schema: str) -> object:
        source = a_source("people", schema)
        view = SEEN["people"] if schema == "vis" else View()
        asked = replace(query, filter=query.filter.replace("vis.", f"{schema}."))
        columns = warehouse.run(f"DESCRIBE TABLE main.{schema}.people")
        hidden = {name.casefold() for name in view.masked}
        schema_ = pa.schema([(name, pa.string()) for name, *_ in columns if name.casefold() not in hidden])
        try:
            statement = sql.select(source, asked, schema_, view=view)
        except BladeError as exc:
            return exc.message
        statement = re.sub(r":(\w+)", lambda found: repr(asked.parameters[found[1]]), statement)
        return sorted(map(repr, warehouse.run(statement)))

    seen = told("vis")
    assert seen == told("truth")
    assert (error in str(seen)) if error else isinstance(seen, list)
    assert "salary" not in str(seen).replace("'salary':", "").replace(
        f"column {query.columns and query.columns[0]!r}", ""
    ).replace("column 'salary'", "")


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"classification": Classification(value="CUI")}, 13),
        ({"classification": Classification(value="SECRET")}, 0),
        ({"classification": Classification(value="UNCLASS"), "min_classification": "SECRET"}, 0),
        ({"classification": Classification(column="level"), "min_classification": "SECRET"}, 0),
        ({"classification": Classification(column="level"), "min_classification": "CUI"}, 6),
        ({"classification": Classification(column="LEVEL")}, 6),
        ({"classification": Classification(column="n")}, 0),
    ],
)
def test_a_row_has_the_classification_of_its_item(warehouse: Sandbox, mapping: dict, expected: int) -> None:
    source = a_source("people", "vis")
    source = replace(source, mapping=replace(source.mapping, **mapping))
    counted = f"SELECT count(*) FROM ({sql.select(source, RowQuery(), view=SEEN['people'])}) t"
    assert warehouse.run(counted) == [(expected,)]
    transform = Transform(source, PEOPLE.schema, known_classifications=ORDER, metadata={})
    items = transform.all(PEOPLE.to_batches()).items
    assert sum(item.classification in UP_TO_CUI for item in items) == expected


def test_a_ceiling_that_is_not_known_any_more_lets_nothing_through(warehouse: Sandbox) -> None:
    for mapping in (Classification(column="level"), Classification(value="UNCLASS")):
        source = a_source("people", "vis")
        source = replace(source, mapping=replace(source.mapping, classification=mapping))
        assert warehouse.run(sql.select(source, RowQuery(), view=View(ceiling="GONE"))) == []


def test_versions_that_a_job_pins_hold_under_the_view(sandbox: Sandbox) -> None:
    for name, table in TABLES.items():
        sandbox.load(f"main.later.{name}", table)
    reach = replace(REACHES["vis"], sources=[a_source(name, "later") for name in TABLES])
    text = "SELECT people.id FROM people JOIN units u ON people.unit = u.unit"
    statement = sql.resolve(text, reach, chosen=reach.sources[:1]).statement
    versions = {table: int(sandbox.run(sql.history(table))[0][0]) for table in sql.tables(statement)}
    assert len(versions) == 2
    before = sorted(sandbox.run(sql.pin(statement, versions)))
    assert before
    sandbox.run("UPDATE main.later.people SET level = 'SECRET'")
    assert sandbox.run(statement) == []
    assert sorted(sandbox.run(sql.pin(statement, versions))) == before
    assert sandbox.run(sql.count(sql.pin(statement, versions))) == [(len(before),)]
