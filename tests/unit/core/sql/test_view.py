"""What takes the place of a table of which not all is there, as text; what SQL sees of it is tried on a warehouse."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from tests.unit.core.sql.test_lineage import AS_IS, MADE, REACH
from tests.unit.core.sql.test_sql import source

from blade_server.core import sql
from blade_server.core.sql import Reach
from blade_server.core.sql.parse import reparse
from blade_server.core.sql.view import check_under
from blade_server.errors import Invalid
from blade_server.model import Classification, RowQuery
from blade_server.model.access import WHOLE, View

CUI = View(ceiling="CUI", classifications=("UNCLASS", "CUI"))
MASKED = View(masked=("pay", "odd `name"))
PARTS = replace(
    source("parts", "part", "t"),
    mapping=replace(source().mapping, item_id="id", classification=Classification(column="level")),
)
ROWS = (
    "(SELECT * FROM `main`.`blade`.`t` AS `source_rows` WHERE TRIM(BOTH ' \\t\\r\\n' FROM "
    "CAST(`source_rows`.`level` AS STRING)) IN ('UNCLASS', 'CUI') AND RAND() >= 0)"
)
COLUMNS = "(SELECT * EXCEPT (`pay`, `odd ``name`) FROM `main`.`blade`.`t` AS `source_rows`)"


def resolved(text: str, view: View = CUI) -> str:
    return sql.resolve(text, Reach([PARTS], views={"parts": view})).statement


@pytest.mark.parametrize("view", [CUI, MASKED])
def test_the_rest_of_the_text_stays_as_it_was_written(view: View) -> None:
    rows = ROWS if view is CUI else COLUMNS
    for text, wanted in (
        ("SELECT  a FROM parts", f"SELECT a FROM {rows} AS `parts`"),
        ("select nvl(a, 1) from parts p where p.a>1", f"select nvl(a, 1) from {rows} p where p.a>1"),
        ("SELECT a FROM t AS x", f"SELECT a FROM {rows} AS x"),
        ("SELECT t.a FROM main.blade.T", f"SELECT t.a FROM {rows} AS `t`"),
        ("SELECT blade.t.a, main.blade.t.* FROM blade.t", f"SELECT t.a, t.* FROM {rows} AS `t`"),
        ("SELECT blade.t.box.a, main.blade.T.b FROM blade.t", f"SELECT t.box.a, T.b FROM {rows} AS `t`"),
    ):
        assert resolved(text, view) == wanted


def test_a_ceiling_that_is_not_known_any_more_lets_nothing_through() -> None:
    assert "AS `source_rows` WHERE FALSE) AS `parts`" in resolved("SELECT a FROM parts", View(ceiling="GONE"))


def test_who_may_read_all_of_it_gets_what_he_got(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a word of the statement changes, and the text is not read once more."""
    reads = []
    monkeypatch.setattr(
        sys.modules["blade_server.core.sql.resolve"],
        "reparse",
        lambda *args, **kw: reads.append(1) or reparse(*args, **kw),
    )
    assert sql.resolve("SELECT a FROM parts", Reach([PARTS])).statement == "SELECT a FROM `main`.`blade`.`t` AS `parts`"
    assert len(reads) == 1
    assert sql.select(PARTS, RowQuery(), view=WHOLE) == "SELECT * FROM `main`.`blade`.`t`"


def test_long_sql_is_read_elsewhere_under_the_same_view() -> None:
    many = ", ".join(map(str, range(200)))
    assert (
        resolved(f"SELECT a FROM parts WHERE a IN ({many})") == f"SELECT a FROM {ROWS} AS `parts` WHERE a IN ({many})"
    )


def test_a_name_of_his_own_never_stands_for_the_rows() -> None:
    text = resolved("WITH source_rows AS (SELECT 1 AS level) SELECT `SOURCE_ROWS_1` FROM parts, source_rows")
    assert "AS `source_rows_2` WHERE" in text


@pytest.mark.parametrize("text", [*AS_IS, *MADE])
def test_no_table_stays_past_its_view_whatever_the_form(text: str) -> None:
    views = {name: View(ceiling="CUI", classifications=("CUI",), masked=("pay",)) for name in ("m", "s")}
    reach = replace(REACH, views=views)
    if "VERSION AS OF" in text:
        with pytest.raises(Invalid, match="another version"):
            sql.resolve(text, reach, chosen=REACH.sources[:1])
        return
    found = sql.resolve(text, reach, chosen=REACH.sources[:1])
    assert found.makes_classification is (text in MADE)
    for place in reparse(found.statement).tree.find_all(sql.view.exp.Table):
        if place.name in ("maintenance", "sorties") and place.catalog:
            assert place.alias.startswith("source_rows")
            assert place.parent.parent.expressions[0].args["except_"]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM parts VERSION AS OF 3",
        "SELECT * FROM parts TIMESTAMP AS OF '2024-01-01'",
        "SELECT * FROM main.blade.t VERSION AS OF 3 AS x",
    ],
)
def test_older_versions_are_for_those_who_may_read_all(text: str) -> None:
    with pytest.raises(Invalid, match="another version of the table"):
        resolved(text)
    assert "AS OF" in sql.resolve(text, Reach([PARTS])).statement


def test_what_is_sent_is_checked_once_more() -> None:
    views = {"parts": CUI}
    for text, passes in (
        (resolved("SELECT a FROM parts"), True),
        ("SELECT a FROM main.blade.t", False),
        ("SELECT a FROM (SELECT * FROM main.blade.T AS source_rows) t", False),
        (resolved("SELECT a FROM parts").replace("'CUI'", "'SECRET'"), False),
        (resolved("SELECT a FROM parts").replace(" AND RAND() >= 0", ""), False),
        (resolved("SELECT a FROM parts").replace(" IN (", " NOT IN ("), False),
        ("SELECT a FROM main.blade.other", True),
    ):
        tree = reparse(text).tree
        if passes:
            check_under(tree, views, [PARTS], field="sql")
        else:
            with pytest.raises(Invalid, match="cannot be read in this way"):
                check_under(tree, views, [PARTS], field="sql")


def test_a_table_that_another_source_shows_whole_is_not_held_back() -> None:
    other = replace(PARTS, name="whole", data_type="w")
    reach = Reach([PARTS, other], views={"parts": CUI})
    assert "RAND" not in sql.resolve("SELECT a FROM whole", reach).statement
    assert "RAND" in sql.resolve("SELECT a FROM parts", reach).statement
    assert sql.resolve("SELECT a FROM parts", reach).views == {"parts": CUI}
    assert sql.resolve("SELECT a FROM whole", reach).views == {}


def test_another_spelling_is_no_way_past_it() -> None:
    reach = Reach([PARTS], views={"parts": CUI}, tables=["main.blade.*"], hidden=frozenset({("main", "blade", "t")}))
    for name in ("main.blade.`T`", "main.blade.t", "blade.t", "`t`"):
        assert "RAND" in sql.resolve(f"SELECT a FROM {name}", reach).statement
    for name in ("main.blade.`t@v1`", "main.blade.`t `", "main.blade.`t.x`"):
        with pytest.raises(Invalid):
            sql.resolve(f"SELECT a FROM parts, {name}", reach)
