"""SQL: what is let through, what it becomes, what is refused and why."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import pyarrow as pa
import pytest

from blade_server.core import sql
from blade_server.core.sql import Reach
from blade_server.errors import BladeError, Invalid, Precondition, Reason
from blade_server.model import Classification, RowMapping, RowQuery, Source, SourceConfig


def source(
    name: str = "blade-maintenance", data_type: str = "maintenance", table: str = "blade_maintenance_data", **config
):
    return Source(
        name=name,
        display_name=name,
        data_type=data_type,
        enabled=True,
        config=SourceConfig(**{"catalog": "main", "schema": "blade", "table": table, **config}),
        mapping=RowMapping(item_id="MAINT-{tail_number}-{due_date:%Y}", classification=Classification(value="UNCLASS")),
    )


MAINTENANCE = source()
SORTIE = source("sorties", "sortie", "flights")
SOURCES = [MAINTENANCE, SORTIE]
FULL = "`main`.`blade`.`blade_maintenance_data`"


REACH = Reach(SOURCES)
ALL_TABLES = Reach(SOURCES, every_table=True)


def resolved(text: str, reach: Reach = REACH, **options) -> str:
    return sql.resolve(text, reach, **options).statement


def refusal(text: str, reach: Reach = REACH, **options) -> Invalid:
    with pytest.raises(Invalid) as caught:
        sql.resolve(text, reach, **options)
    return caught.value


class TestResolve:
    def test_a_data_type_names_the_table_of_its_source(self):
        found = sql.resolve("SELECT * FROM maintenance WHERE priority='HIGH'", REACH)
        assert found.statement == f"SELECT * FROM {FULL} AS `maintenance` WHERE priority='HIGH'"
        assert found.source is MAINTENANCE

    @pytest.mark.parametrize(
        "name",
        [
            "`blade-maintenance`",
            "MAINTENANCE",
            "blade_maintenance_data",
            "blade.blade_maintenance_data",
            "main.blade.blade_maintenance_data",
            "Main.`BLADE`.Blade_Maintenance_Data",
        ],
    )
    def test_a_source_goes_by_its_name_data_type_or_table(self, name):
        found = sql.resolve(f"SELECT 1 FROM {name}", REACH)
        assert found.source is MAINTENANCE
        assert FULL in found.statement

    def test_references_by_the_name_used_go_on_working(self):
        text = resolved("SELECT maintenance.priority FROM maintenance")
        assert text == f"SELECT maintenance.priority FROM {FULL} AS `maintenance`"

    def test_an_alias_of_the_user_stays(self):
        assert resolved("SELECT m.a FROM maintenance m") == f"SELECT m.a FROM {FULL} m"

    def test_qualified_references_to_the_table_itself_stay(self):
        text = resolved("SELECT blade.blade_maintenance_data.a FROM blade.blade_maintenance_data")
        assert text == f"SELECT blade.blade_maintenance_data.a FROM {FULL}"

    def test_a_with_clause_comes_before_a_source_of_its_name(self):
        text = resolved("WITH sortie AS (SELECT * FROM maintenance) SELECT * FROM sortie")
        assert "flights" not in text
        assert text.endswith("SELECT * FROM sortie")

    def test_a_with_clause_that_shadows_its_own_source_reads_it(self):
        text = resolved("WITH maintenance AS (SELECT * FROM maintenance WHERE a = 1) SELECT * FROM maintenance")
        assert text.count(FULL) == 1
        assert text.endswith("SELECT * FROM maintenance")

    def test_a_part_of_a_with_clause_sees_the_parts_before_it(self):
        text = resolved(
            "WITH a AS (SELECT * FROM maintenance), b AS (SELECT * FROM a) SELECT * FROM b JOIN a USING (x)"
        )
        assert text.count(FULL) == 1

    def test_subqueries_and_unions_are_resolved_too(self):
        text = resolved("SELECT * FROM (SELECT a FROM maintenance) t UNION ALL (SELECT a FROM maintenance) ORDER BY a")
        assert text.count(FULL) == 2

    def test_a_full_name_that_is_no_source_passes_beside_a_source(self):
        found = sql.resolve("SELECT * FROM maintenance JOIN main.other.tails USING (tail_number)", ALL_TABLES)
        assert "JOIN main.other.tails USING" in found.statement
        assert found.source is MAINTENANCE

    def test_the_chosen_source_maps_the_rows_of_a_table_that_is_no_source(self):
        assert sql.resolve("SELECT * FROM main.other.tails", ALL_TABLES, chosen=[SORTIE]).source is SORTIE

    def test_two_sources_need_a_choice(self):
        text = "SELECT * FROM maintenance JOIN sortie USING (tail_number)"
        error = refusal(text)
        assert error.reason is Reason.SOURCE_AMBIGUOUS
        assert "blade-maintenance, sorties" in error.message
        assert sql.resolve(text, REACH, chosen=[SORTIE]).source is SORTIE

    def test_two_sources_of_one_data_type_need_a_choice(self):
        twin = source("maintenance-2", "maintenance", "other")
        with pytest.raises(Invalid) as caught:
            sql.resolve("SELECT * FROM maintenance", Reach([MAINTENANCE, twin]))
        assert caught.value.reason is Reason.SOURCE_AMBIGUOUS
        assert sql.resolve("SELECT * FROM maintenance", Reach([MAINTENANCE, twin]), chosen=[twin]).source is twin

    def test_sources_on_different_hosts_cannot_be_joined(self):
        far = source("far", "far", "far", host="elsewhere")
        with pytest.raises(Invalid, match="different hosts"):
            sql.resolve("SELECT * FROM far JOIN maintenance USING (a)", Reach([MAINTENANCE, far]), chosen=[far])

    def test_an_unknown_table_is_named_with_its_place_and_a_near_miss(self):
        error = refusal("SELECT *\nFROM maintenence")
        assert error.reason is Reason.INVALID_SQL
        assert "'maintenence' at line 2, column 6" in error.message
        assert "did you mean 'maintenance'" in error.message

    def test_a_query_without_a_table_is_refused(self):
        assert "reads no source" in refusal("SELECT 1").message


HIDING_PLACES = [
    "SELECT {} FROM maintenance",
    "SELECT m.*, {} + 1 AS b FROM maintenance m",
    "SELECT CASE WHEN EXISTS {} THEN 1 END FROM maintenance",
    "SELECT * FROM maintenance WHERE a IN {}",
    "SELECT * FROM maintenance WHERE NOT EXISTS {}",
    "SELECT * FROM maintenance WHERE a > ALL {}",
    "SELECT * FROM maintenance GROUP BY {}",
    "SELECT a FROM maintenance GROUP BY a HAVING max(b) > {}",
    "SELECT * FROM maintenance ORDER BY {}",
    "SELECT * FROM maintenance LIMIT {}",
    "SELECT * FROM maintenance QUALIFY row_number() OVER (ORDER BY {}) = 1",
    "SELECT sum(a) OVER w FROM maintenance WINDOW w AS (PARTITION BY {})",
    "SELECT sum(a) FILTER (WHERE b IN {}) FROM maintenance",
    "SELECT transform(xs, x -> x + {}) FROM maintenance",
    "SELECT aggregate(xs, {}, (a, x) -> a + x) FROM maintenance",
    "SELECT * FROM maintenance JOIN {} t",
    "SELECT * FROM maintenance, LATERAL {} t",
    "SELECT * FROM maintenance m JOIN sortie s ON m.a = {}",
    "SELECT * FROM maintenance LATERAL VIEW explode(array({})) t AS x",
    "SELECT * FROM maintenance PIVOT (max(a) FOR b IN {})",
    "SELECT * FROM VALUES ({}) t(a), maintenance",
    "SELECT * FROM maintenance TIMESTAMP AS OF {}",
    "SELECT * FROM maintenance UNION ALL {}",
    "SELECT * FROM maintenance EXCEPT {}",
    "WITH a AS {} SELECT * FROM maintenance",
    "WITH a AS (SELECT * FROM maintenance), b AS (SELECT * FROM a WHERE x = {}) SELECT * FROM b",
    "FROM maintenance SELECT {}",
    "FROM {} SELECT *",
    "SELECT named_struct('a', {}).a FROM maintenance",
    "SELECT map('k', {})['k'] FROM maintenance",
    "SELECT {}::string FROM maintenance",
    "SELECT * FROM range({}), maintenance",
]
HIDDEN_OTHERWISE = [
    "TABLE main.hidden.t",
    "SELECT * FROM (TABLE main.hidden.t)",
    "SELECT a FROM maintenance UNION ALL TABLE main.hidden.t",
    "SELECT * FROM maintenance WHERE a IN (TABLE main.hidden.t)",
    "SELECT * FROM maintenance WHERE a IN main.hidden.t",
    "SELECT * FROM maintenance, LATERAL main.hidden.t",
    "SELECT * FROM maintenance, LATERAL hidden",
    "SELECT * FROM maintenance NATURAL JOIN main.hidden.t",
    "SELECT * FROM (maintenance JOIN main.hidden.t)",
    "SELECT * FROM ((main.hidden.t))",
    "SELECT * FROM maintenance, (DESCRIBE HISTORY maintenance)",
    "SELECT * FROM maintenance, (DESCRIBE main.hidden.t)",
    "SELECT * FROM maintenance, STREAM(main.hidden.t)",
    "SELECT * FROM maintenance, (FROM main.hidden.t)",
    "SELECT * FROM explode(TABLE(main.hidden.t)), maintenance",
    "SELECT * FROM TABLE(main.hidden.t), maintenance",
    "SELECT * FROM UNNEST(main.hidden.t), maintenance",
    "SELECT * FROM maintenance |> JOIN main.hidden.t ON TRUE",
    "SELECT * FROM maintenance, IDENTIFIER('main.hidden.' || 't')",
    "SELECT * FROM maintenance, read_files('x') WITH ORDINALITY",
    "SELECT * FROM table_changes('main.hidden.t', 1), maintenance",
    "WITH t AS (SELECT 1) SELECT * FROM maintenance, main.hidden.t",
    "WITH maintenance AS (SELECT * FROM hidden) SELECT * FROM maintenance",
    "SELECT * FROM maintenance, (WITH a AS (SELECT 1) SELECT * FROM a), a",
    "WITH a AS (SELECT * FROM b), b AS (SELECT * FROM maintenance) SELECT * FROM a",
    "WITH a AS (SELECT * FROM a) SELECT * FROM a, maintenance",
    "SELECT * FROM maintenance, LIVE.hidden",
    "SELECT * FROM maintenance, global_temp.hidden",
    "SELECT * FROM maintenance m, m.a.b.c",
    "SELECT /*+ BROADCAST(main.hidden.t) */ * FROM maintenance",
    "SELECT * FROM maintenance -- \r JOIN main.hidden.t",
]


def names(reach: Reach, table: str) -> None:
    sql.resolve(f"SELECT * FROM maintenance JOIN {table} USING (a)", reach, chosen=[MAINTENANCE])


SECRET = source("secret", "secret", "secret_table", schema="reference")
REFERENCE = Reach(SOURCES, tables=["main.reference.*", "*.Lists.code_*"], hidden=frozenset({sql.table_name(SECRET)}))


def test_a_hidden_table_is_hidden_whatever_folding_makes_of_its_name() -> None:
    sharp = source("sharp", "sharp", "straße", schema="reference")
    with pytest.raises(Invalid, match="BLADE_ALLOWED_TABLES"):
        names(replace(REFERENCE, hidden=frozenset({sql.table_name(sharp)})), "main.reference.`straße`")


class TestReach:
    @pytest.mark.parametrize(
        "table",
        ["main.reference.codes", "MAIN.`Reference`.Codes", "main.lists.code_a", "main.reference.codes VERSION AS OF 3"],
    )
    def test_a_table_that_the_operator_allows_is_read(self, table):
        names(REFERENCE, table)

    @pytest.mark.parametrize(
        "table",
        [
            "main.other.tails",
            "main.lists.codes",
            "reference.codes",
            "main.reference.codes.history",
            "main.`reference.codes`",
            "`main.reference.codes`",
            "'main.reference.codes'",
            "x.main.reference.codes",
            "main.reference.`codes@v1`",
            "main.reference.`../hidden/t`",
            "main.reference.`codes.history`",
            "main.reference.`a``b`",
            "main.reference.secret_table",
            "main.reference.SECRET_TABLE",
            "main.`Reference`.`secret_table`",
            "main.reference.`secret_table@v1`",
            "STREAM main.reference.secret_table",
            "delta.`/mnt/x`",
            "parquet.`s3://bucket/x`",
            "main.delta.`/mnt/x`",
        ],
    )
    def test_all_others_are_not_known(self, table):
        with pytest.raises(Invalid) as caught:
            names(REFERENCE, table)
        assert caught.value.reason is Reason.INVALID_SQL
        assert "secret (secret)" not in caught.value.message

    def test_a_source_that_he_may_not_know_of_is_refused_in_the_words_of_an_unknown_table(self):
        words = [refusal(f"SELECT * FROM {name}", REFERENCE).message for name in ("secret", "nothing")]
        assert words[0].replace("secret", "nothing") == words[1]
        full = [
            refusal(f"SELECT * FROM main.reference.{name}", REFERENCE).message for name in ("secret_table", "`nix@v1`")
        ]
        assert full[0].replace("secret_table", "nix@v1") == full[1]

    @pytest.mark.parametrize(
        "table",
        [
            "system.access.audit",
            "SYSTEM.Access.Audit",
            "`system`.access.audit",
            "`\u017fystem`.access.audit",
            "system.information_schema.tables",
            "main.information_schema.tables",
            "main.`INFORMATION_SCHEMA`.tables",
            "information_schema.tables",
            "system /* */ . access . audit",
        ],
    )
    def test_system_tables_are_for_nobody(self, table):
        for reach in (ALL_TABLES, Reach(SOURCES, tables=["*.*.*"])):
            with pytest.raises(Invalid, match="is neither"):
                names(reach, table)

    def test_who_may_read_every_table_does(self):
        names(ALL_TABLES, "main.other.tails")
        names(ALL_TABLES, "main.reference.secret_table")

    def test_a_source_that_he_may_only_know_of_is_told_of(self):
        reach = Reach([MAINTENANCE], others=[SORTIE])
        found = sql.resolve("SELECT * FROM maintenance JOIN sortie USING (tail_number)", reach, chosen=[MAINTENANCE])
        assert found.read == (MAINTENANCE, SORTIE)

    def test_a_name_means_the_source_that_he_may_read(self):
        twin = source("maintenance-2", "maintenance", "other")
        assert sql.resolve("SELECT * FROM maintenance", Reach([twin], others=[MAINTENANCE])).source is twin

    @pytest.mark.parametrize("place", HIDING_PLACES)
    def test_no_clause_hides_a_table(self, place):
        for reads in ("(SELECT max(x) FROM main.hidden.t)", "(WITH w AS (FROM main.hidden.t) SELECT max(x) FROM w)"):
            text = place.format(reads)
            assert "'main.hidden.t'" in refusal(text, chosen=[MAINTENANCE]).message
            assert "main.hidden.t" in resolved(text, ALL_TABLES, chosen=[MAINTENANCE]).replace("`", "")

    @pytest.mark.parametrize("text", HIDDEN_OTHERWISE)
    def test_no_spelling_hides_a_table(self, text):
        assert refusal(text).reason is Reason.INVALID_SQL


class TestMeaning:
    """What is written for the warehouse means what the user wrote."""

    @pytest.mark.parametrize(
        ("text", "written"),
        [
            ("'it''s'", r"'it\'s'"),
            (r"'it\'s'", r"'it\'s'"),
            ("'a' 'b'", "'a' 'b'"),
            ('"double""d"', r'"double\"d"'),
            ("''''", r"'\''"),
            ("''", "''"),
            ("9007199254740993", "9007199254740993"),
            ("1.10", "1.10"),
            ("`odd``name`", "`odd``name`"),
            ("'; DROP TABLE x --'", "'; DROP TABLE x --'"),
            ("'ü€😀'", "'ü€😀'"),
            ("`Größe`", "`Größe`"),
        ],
    )
    def test_literals_and_names(self, text, written):
        assert resolved(f"SELECT * FROM maintenance WHERE a = {text}").endswith(f"a = {written}")

    @pytest.mark.parametrize(
        "text",
        [
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY a)",
            "to_date(a, 'yyyy-MM-dd')",
            "date_format(a, 'EEE dd.MM.')",
            "a RLIKE 'x'",
            "nvl2(a, 1, 2)",
            "a:b.c::string",
            "try_to_timestamp(a, 'yyyy')",
        ],
    )
    def test_functions_stay_as_written(self, text):
        assert resolved(f"SELECT {text} FROM maintenance").startswith(f"SELECT {text} FROM ")

    def test_nested_with_clauses_of_one_name_stay_apart(self):
        inner = "(WITH x AS (SELECT {} AS i FROM maintenance) SELECT * FROM x)"
        for raw in ("", ", r'raw'"):  # the second is written anew
            text = resolved(f"SELECT *{raw} FROM {inner.format(1)} a JOIN {inner.format(2)} b")
            assert text.upper().count("(WITH ") == 2

    def test_a_carriage_return_ends_a_comment_as_it_does_for_the_warehouse(self):
        error = refusal("SELECT a FROM maintenance -- \r UNION SELECT secret('a', 'b')")
        assert "the function secret at line 2, column 15 is not allowed" in error.message

    def test_a_raw_string_is_written_anew(self):
        text = r"SELECT r'\d+' FROM maintenance"
        assert "r'" not in resolved(text)
        assert r"'\\d+'" in resolved(text)

    def test_comments_are_dropped(self):
        assert "secret" not in resolved("SELECT 1 -- secret\nFROM /* secret */ maintenance")

    def test_a_semicolon_at_the_end_is_no_second_statement(self):
        assert resolved("SELECT 1 FROM maintenance;").startswith("SELECT 1")


class TestFunctions:
    @pytest.mark.parametrize(
        "call",
        [
            "myudf(1)",
            "MyUdf(1)",
            "`myudf`(1)",
            "`my udf`(1)",
            "`sum `(1)",
            "m\u00fcller(1)",
            "_f(1)",
            "myudf /* x */ (1)",
            "myudf\n(1)",
            "default.myudf(1)",
            "main.default.myudf(1)",
            "main.default.`sum`(1)",
            "builtin.sum(1)",
            "system.builtin.secret('a', 'b')",
            "a.sum(1)",
            "strpos(a, b)",
            "json_extract_scalar(a, 'b')",
            "array_to_string(a, ',')",
            "ai_query('m', a)",
            "ai_new_thing(a)",
            "secret('a', 'b')",
            "`secret`('a', 'b')",
            "try_secret('a', 'b')",
            "http_request(conn => 'x')",
            "java_method('java.lang.Runtime', 'x')",
            "reflect('a', 'b')",
            "from_avro(a, 'subject', 'http://registry')",
            "from_xml(a, 'a INT', map('rowValidationXSDPath', '/etc/x'))",
            "is_account_group_member('admins')",
            "input_file_name()",
            "table_changes('a', 1)",
            "pi.e(1)",
            "1a(2)",
            "f.1a(2)",
            "sets(1)",
            "zone(1)",
            "of(1)",
            "by(1)",
            "offset(1)",
            "group(1)",
            "as(1)",
            "interval(1)",
            "repeatable(1)",
            "`values`(1)",
            "`rollup`(1)",
            "{fn myudf(1)}",
        ],
    )
    @pytest.mark.parametrize(
        "place",
        [
            "SELECT {} FROM maintenance",
            "SELECT sum({}) FROM maintenance",
            "SELECT transform(xs, x -> {}) FROM maintenance",
            "SELECT * FROM maintenance WHERE CASE WHEN a THEN b END = ({})",
            "SELECT * FROM maintenance ORDER BY {}",
            "SELECT sum(a) OVER (PARTITION BY {}) FROM maintenance",
            "SELECT * FROM maintenance PIVOT ({} FOR b IN (1, 2))",
            "SELECT * FROM maintenance LATERAL VIEW {} t AS x",
            "SELECT * FROM {}, maintenance",
            "SELECT * FROM maintenance, LATERAL {}",
            "SELECT * FROM maintenance WHERE a = {}::string",
            "WITH myudf(x) AS (SELECT 1) SELECT {} FROM maintenance",
            "SELECT {} OVER () FROM maintenance",
        ],
    )
    def test_none_but_known_built_ins_are_called(self, call, place):
        assert refusal(place.format(call)).reason is Reason.INVALID_SQL

    @pytest.mark.parametrize("call", ["myudf(a)", "`myudf`(a)", "main.default.f(a)", "secret('a', 'b')", "ai_query(a)"])
    def test_nor_in_a_filter(self, call):
        with pytest.raises(Invalid) as caught:
            selected(filter=f"{call} = 1 OR a = 2")
        assert "is not allowed" in caught.value.message
        assert caught.value.violations[0].field == "filter"

    def test_what_is_wrong_with_one_is_said(self):
        assert (
            "function myudf at line 2, column 8 is not allowed: it is no built-in"
            in refusal("SELECT *,\n       myudf(a) FROM maintenance").message
        )
        assert "did you mean coalesce?" in refusal("SELECT coalesc(a, b) FROM maintenance").message
        assert "it shows secrets" in refusal("SELECT secret('a', 'b') FROM maintenance").message
        assert "user-defined" in refusal("SELECT main.default.f(a) FROM maintenance").message

    @pytest.mark.parametrize(
        "text",
        [
            "WITH w(a, b) AS (SELECT 1, 2) SELECT * FROM w t(c, d), maintenance",
            "WITH RECURSIVE myudf(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM myudf) SELECT * FROM myudf, maintenance",
            "SELECT * FROM maintenance, VALUES (1, 2), (3, 4) v(a, b)",
            "SELECT * FROM maintenance, VALUES (1, 2) AS `v x`(a, b)",
            "SELECT posexplode(xs) AS (i, x), `sum`(a) FROM maintenance",
            "SELECT CAST(a AS DECIMAL(9, 2)), a::varchar(3), CAST(a AS STRUCT<b: DECIMAL(9, 2)>) FROM maintenance",
            "SELECT a FROM maintenance GROUP BY GROUPING SETS ((a), ()) HAVING (count(*) > 1) ORDER BY (a)",
            "SELECT a FROM maintenance GROUP BY ROLLUP (a), CUBE (b) SORT BY (a)",
            "SELECT * FROM maintenance TABLESAMPLE (5 PERCENT) WHERE NOT (a) AND (b) OR (c) AND a LIKE ANY ('x', 'y')",
            "SELECT * FROM maintenance WHERE (a) BETWEEN (1) AND (2) AND b IS NOT DISTINCT FROM (c) AND a IN (1)",
            "SELECT CASE (a) WHEN (1) THEN (2) ELSE (3) END, INTERVAL '1' DAY, a DIV (2) FROM maintenance",
            "SELECT sum(a) FILTER (WHERE (b)) OVER (PARTITION BY (c) ORDER BY (d)) FROM maintenance",
            "SELECT sum(a) OVER (ORDER BY d ROWS BETWEEN (1) PRECEDING AND 2 FOLLOWING) FROM maintenance",
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM maintenance",
            "SELECT aggregate(xs, 0, (acc, x) -> acc + x, acc -> acc * 2) FROM maintenance",
            "SELECT zip_with(a, b, (x, y) -> x) FROM maintenance",
            "SELECT * FROM maintenance PIVOT (sum(a) AS s, max(b) FOR (c, d) IN ((1, 2) AS x, (3, 4))) p(e, f)",
            "SELECT * FROM maintenance UNPIVOT (a FOR b IN (c, d))",
            "SELECT * FROM maintenance LATERAL VIEW OUTER explode(xs) t AS x JOIN (SELECT 1) u(a) USING (a)",
            "SELECT extract(YEAR FROM a), trim(BOTH 'x' FROM a), position('a' IN b) FROM maintenance",
            "SELECT current_date, current_timestamp(), current_user(), if(a, b, c), a:b.c[0]::int FROM maintenance",
            "SELECT h3_toparent(a, 1), st_x(p), to_geometry(g), `date_add`(a, 1) FROM maintenance",
            "SELECT * FROM maintenance WHERE s.field IN (1) AND s.arr[0].x = (2)",
            "(SELECT a FROM maintenance) UNION ALL (SELECT b FROM maintenance) EXCEPT (SELECT 1)",
            "SELECT 'f'  'g', \"f\" IN ('a') FROM maintenance",
        ],
    )
    def test_brackets_that_call_nothing_and_built_ins_pass(self, text):
        assert FULL in resolved(text, chosen=[MAINTENANCE])


class TestGuard:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "empty"),
            (" ;; ", "empty"),
            ("SELECT 1 FROM maintenance; SELECT 2 FROM maintenance", "2 statements"),
            ("DROP TABLE maintenance", "DROP"),
            ("INSERT INTO maintenance VALUES (1)", "INSERT"),
            ("UPDATE maintenance SET a = 1", "UPDATE"),
            ("DELETE FROM maintenance", "DELETE"),
            ("MERGE INTO maintenance USING sortie ON 1 = 1 WHEN MATCHED THEN DELETE", "MERGE"),
            ("CREATE TABLE x AS SELECT * FROM maintenance", "CREATE"),
            ("SET x = 1", "SET"),
            ("CALL x()", "CALL"),
            ("USE main", "USE"),
            ("SHOW TABLES", "SHOW"),
            ("DESCRIBE maintenance", "DESCRIBE"),
            ("EXPLAIN SELECT * FROM maintenance", "EXPLAIN"),
            ("GRANT SELECT ON maintenance TO x", "GRANT"),
            ("COPY INTO x FROM 's3://x'", "COPY"),
            ("VACUUM maintenance", "VACUUM"),
            ("SELECT * INTO x FROM maintenance", "INTO"),
            ("SELECT * FROM maintenance FOR UPDATE", "FOR UPDATE"),
            ("WITH a AS (INSERT INTO x SELECT 1) SELECT * FROM maintenance", "changes data"),
            ("SELECT * FROM read_files('/etc')", "read_files"),
            ("SELECT ai_query('m', a) FROM maintenance", "ai_query"),
            ("SELECT AI_Classify(a, array('b')) FROM maintenance", "ai_classify"),
            ("SELECT http_request(conn => 'x') FROM maintenance", "http_request"),
            ("SELECT java_method('java.lang.Runtime', 'x') FROM maintenance", "java_method"),
            ("SELECT reflect('a', 'b') FROM maintenance", "reflect"),
            ("SELECT secret('a', 'b') FROM maintenance", "secret"),
            ("SELECT * FROM maintenance WHERE try_secret('a', 'b') = ''", "try_secret"),
            ("SELECT * FROM list_secrets()", "list_secrets"),
            ("SELECT `secret`('a', 'b') FROM maintenance", "secret"),
            ("SELECT main.default.f(a) FROM maintenance", "user-defined"),
            ("SELECT * FROM main.default.f(1)", "not allowed"),
            ("SELECT * FROM parquet.`/mnt/x`", "file"),
            ("SELECT * FROM csv.`s3://bucket/x`", "file"),
            ("SELECT * FROM IDENTIFIER('main.blade.x')", "identifier"),
            ("SELECT TRANSFORM(a) USING 'cat' AS (b) FROM maintenance", "runs a program"),
            ("SELECT * FROM maintenance WHERE a = :p", ":p"),
            ("SELECT * FROM maintenance WHERE a = ?", "?"),
            ("SELECT * FROM maintenance@v3", "VERSION AS OF"),
            ("FROM maintenance |> WHERE a = 1", "the pipe |> at line 1"),
            ("SELEC 1", "did you mean SELECT?"),
            ("SELECT * FROM my-source", "backticks"),
            ("SELECT 'abc", "does not end"),
        ],
    )
    def test_refused(self, text, why):
        error = refusal(text)
        assert error.reason is Reason.INVALID_SQL
        assert error.violations[0].field == "sql"
        assert why.lower() in error.message.lower()

    @pytest.mark.parametrize(
        "text",
        [
            "(SELECT * FROM maintenance)",
            "FROM maintenance SELECT a",
            "SELECT count(*) FILTER (WHERE a > 1), sum(b) OVER (PARTITION BY c) FROM maintenance GROUP BY ALL",
            "SELECT explode(split(a, ',')) FROM maintenance",
            "SELECT * FROM maintenance LATERAL VIEW explode(a) t AS x",
            "SELECT * FROM maintenance, explode(array(1, 2)) AS t(x)",
            "SELECT * FROM maintenance CROSS JOIN range(3)",
            "SELECT * FROM maintenance VERSION AS OF 3 WHERE a <=> NULL",
            "SELECT transform(xs, x -> x + 1), a:b.c, try_cast(d AS INT), current_date() FROM maintenance",
            "SELECT * EXCEPT (a) FROM maintenance QUALIFY row_number() OVER (ORDER BY b) = 1",
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r, maintenance",
        ],
    )
    def test_let_through(self, text):
        assert FULL in resolved(text)

    def test_a_syntax_error_says_where(self):
        assert "near 'AS' at line 2, column 25" in refusal("SELECT *\nFROM maintenance VERSIN AS OF 3").message

    def test_too_long_is_refused_without_parsing(self):
        assert "262,144" in refusal("SELECT '" + "x" * 300_000 + "' FROM maintenance").message

    @pytest.mark.parametrize(
        "text",
        [
            "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
            "SELECT " + "f(" * 1_000 + ")" * 1_000 + " FROM maintenance",
            "SELECT " + "- " * 50_000 + "1 FROM maintenance",
            "SELECT * FROM maintenance WHERE " + "NOT " * 20_000 + "a",
            "SELECT " + "CASE WHEN a THEN " * 2_000 + "1" + " END" * 2_000 + " FROM maintenance",
            "SELECT CAST(a AS " + "ARRAY<" * 5_000 + "INT" + ">" * 5_000 + ") FROM maintenance",
        ],
    )
    def test_deep_nesting_is_refused_and_does_not_blow_the_stack(self, text):
        assert "nested" in refusal(text).message

    def test_reasonable_nesting_and_long_chains_pass_on_a_thread(self):
        deep = "(" * 25 + "a" + ")" * 25
        texts = [
            f"SELECT {deep} FROM maintenance",
            "SELECT * FROM maintenance WHERE " + " OR ".join(f"a = {n}" for n in range(3_000)),
            "SELECT * FROM maintenance WHERE a IN (" + ", ".join(str(n) for n in range(20_000)) + ")",
        ]
        results: list[str] = []
        thread = threading.Thread(target=lambda: results.extend(resolved(text) for text in texts))
        thread.start()
        thread.join()
        assert len(results) == 3
        assert sys.getrecursionlimit() <= 1000


SCHEMA = pa.schema(
    [("tail_number", pa.string()), ("due_date", pa.date32()), ("priority", pa.string()), ("cost", pa.decimal128(9, 2))]
)


def selected(schema: pa.Schema | None = None, **query) -> str:
    return sql.select(MAINTENANCE, RowQuery(**query), schema)


class TestSelect:
    def test_all_of_it(self):
        text = selected(
            filter="priority = :p AND due_date < '2024-06-01' OR cost IS NULL",
            parameters={"p": "HIGH"},
            columns=["priority", "due_date"],
            order_by=["due_date desc", "priority"],
            limit=10,
            offset=5,
        )
        assert text == (
            f"SELECT `priority`, `due_date` FROM {FULL} WHERE (`priority` = :p AND `due_date` < '2024-06-01' "
            "OR `cost` IS NULL) ORDER BY `due_date` DESC, `priority` ASC LIMIT 10 OFFSET 5"
        )

    def test_nothing_asked_is_everything(self):
        assert selected() == f"SELECT * FROM {FULL}"

    @pytest.mark.parametrize("name", ["a`b", "a b", "; DROP TABLE x", "select", "a.b", "ü", "x asc x", 'a"b'])
    def test_odd_column_names_are_quoted_and_nothing_else(self, name):
        quoted = "`" + name.replace("`", "``") + "`"
        assert (
            selected(columns=[name], order_by=[f"{name} DESC"]) == f"SELECT {quoted} FROM {FULL} ORDER BY {quoted} DESC"
        )

    @pytest.mark.parametrize(
        ("condition", "why"),
        [
            ("a = 1; DROP TABLE x", "syntax error"),
            ("a = 1; b = 2", "one boolean expression"),
            ("a = 1) OR (1 = 1", "syntax error"),
            ("a = 1 ORDER BY b", "syntax error"),
            ("a IN (SELECT 1)", "subquery"),
            ("EXISTS (SELECT 1)", "subquery"),
            ("count(*) > 1", "more than one row"),
            ("row_number() OVER (ORDER BY a) = 1", "more than one row"),
            ("explode(a)", "no condition"),
            ("SELECT 1", "syntax error"),
            ("a = ?", "have names"),
            ("secret('a', 'b') = 'c'", "secret"),
            ("-- nothing", "one boolean expression"),
        ],
    )
    def test_a_filter_is_one_plain_condition(self, condition, why):
        with pytest.raises(Invalid) as caught:
            selected(filter=condition)
        assert caught.value.violations[0].field == "filter"
        assert caught.value.reason is Reason.INVALID_SQL
        assert why in caught.value.message

    @pytest.mark.parametrize("name", ["a) = 1 OR (1 = 1", "a) = 1) --", "a) = 1) UNION SELECT * FROM (x", "a`b", "a'b"])
    @pytest.mark.parametrize(
        "around",
        [
            "luhn_check({} => 1) = 1",
            "coalesce({} => 1) = 1",
            "dateadd({}, 1, due_date) = 1",
            "datediff({}, a, b) = 1",
        ],
    )
    def test_names_that_the_writer_does_not_quote_cannot_carry_sql(self, name, around):
        condition = around.format("`" + name.replace("`", "``") + "`")
        with pytest.raises(Invalid) as caught:
            selected(filter=condition)
        assert caught.value.reason is Reason.INVALID_SQL

    @pytest.mark.parametrize(
        "condition", ["coalesce(a => 1) = 1", "dateadd(DAY, 1, due_date) = a", "a:`b c`.d::STRING = 'x -- y'"]
    )
    def test_the_same_with_plain_names_passes(self, condition):
        assert selected(filter=condition).startswith("SELECT * FROM ")

    @pytest.mark.parametrize(
        "condition", ["map('a') = 1", "regexp_replace(a) = 'x'", "date_trunc() = 1", "sum(map(a)) = 1"]
    )
    def test_functions_with_the_wrong_arguments_are_the_callers_mistake(self, condition):
        with pytest.raises(Invalid) as caught:
            selected(filter=condition)
        assert caught.value.violations[0].field == "filter"

    def test_a_filter_of_a_megabyte_is_refused(self):
        with pytest.raises(Invalid, match="65,536"):
            selected(filter="a = '" + "x" * 1_000_000 + "'")

    def test_missing_and_unused_parameters_are_both_named(self):
        with pytest.raises(Invalid) as caught:
            selected(filter="a = :a AND b = :b", parameters={"b": "1", "c": "2"})
        assert [violation.field for violation in caught.value.violations] == ["parameters", "parameters"]
        assert "'a' is missing" in caught.value.message
        assert "'c' is not used" in caught.value.message

    def test_parameters_without_a_filter_are_refused(self):
        with pytest.raises(Invalid, match="no filter"):
            selected(parameters={"a": "1"})

    @pytest.mark.parametrize(
        ("field", "query"),
        [
            ("columns", {"columns": ["prioritty"]}),
            ("order_by", {"order_by": ["prioritty desc"]}),
            ("filter", {"filter": "prioritty = 1"}),
        ],
    )
    def test_with_a_schema_unknown_columns_are_found(self, field, query):
        with pytest.raises(Invalid, match="did you mean 'priority'") as caught:
            selected(SCHEMA, **query)
        assert caught.value.violations[0].field == field

    def test_with_a_schema_known_columns_pass_whatever_their_case(self):
        assert "`Priority`" in selected(
            SCHEMA, columns=["Priority"], filter="exists(split(PRIORITY, ','), x -> x = 'a')"
        )


class TestParameterTypes:
    @pytest.mark.parametrize(
        ("condition", "value", "written"),
        [
            ("cost > :p", "100", "`cost` > CAST(:p AS BIGINT)"),
            ("cost > :p", "0.005", "`cost` > CAST(:p AS DECIMAL(4, 3))"),
            ("cost > :p", "-0.1e-16", "`cost` > CAST(:p AS DECIMAL(18, 17))"),
            ("cost > :p", "9" * 20 + "." + "9" * 18, "`cost` > CAST(:p AS DECIMAL(38, 18))"),
            ("cost > :p", " 1e20 ", "`cost` > CAST(:p AS DECIMAL(21, 0))"),
            (":p <= COST", "1", "CAST(:p AS BIGINT) <= `COST`"),
            ("due_date BETWEEN :p AND :p", "2024-01-01", "`due_date` BETWEEN CAST(:p AS DATE) AND CAST(:p AS DATE)"),
            ("due_date IN (:p, '2024-01-02')", "2024-01-01", "`due_date` IN (CAST(:p AS DATE), '2024-01-02')"),
            ("priority = :p", "1", "`priority` = :p"),
            ("cost + 1 > :p", "1", "`cost` + 1 > :p"),
        ],
    )
    def test_a_parameter_is_read_as_what_it_is_compared_with(self, condition, value, written):
        assert selected(SCHEMA, filter=condition, parameters={"p": value}).endswith(f"WHERE ({written})")

    @pytest.mark.parametrize("value", ["", "abc", "1_000", "NaN", "1,5", "\u0663", "0x10", "1" * 39, "0." + "1" * 38])
    def test_a_value_that_is_no_number_is_refused_where_one_is_compared(self, value):
        with pytest.raises(Invalid, match=r"'p' is .*column 'cost'") as caught:
            selected(SCHEMA, filter="cost = :p OR cost = :p", parameters={"p": value})
        assert [violation.field for violation in caught.value.violations] == ["parameters"]

    @pytest.mark.parametrize("name", ["a b", "a) UNION SELECT * FROM x --", "1", "ü", "a`b"])
    def test_a_name_cannot_carry_sql(self, name):
        condition = f"priority = :a OR priority = :`{name.replace('`', '``')}`"
        with pytest.raises(Invalid, match="is no name of a parameter") as caught:
            selected(filter=condition, parameters={"a": "1", name: "1"})
        assert caught.value.violations[0].field == "parameters"

    def test_names_have_case(self):
        assert ":a OR `priority` = :A" in selected(
            filter="priority = :a OR priority = :A", parameters={"a": "1", "A": "2"}
        )


class TestWhatIsSent:
    def test_a_query_that_has_to_be_written_anew_is_checked_once_more(self):
        name = "a) FROM read_files('/etc/passwd') -- "
        with pytest.raises(Invalid) as caught:
            resolved(f"SELECT /*+ x */ coalesce(`{name}` => 1) FROM maintenance")
        assert caught.value.reason is Reason.INVALID_SQL

    def test_functions_with_the_wrong_arguments_are_the_callers_mistake(self):
        with pytest.raises(Invalid, match="wrong arguments"):
            resolved("SELECT map('a') FROM maintenance")


class TestStatements:
    def test_a_look_up_compares_the_template_and_asks_for_two(self):
        text = sql.look_up(MAINTENANCE, SCHEMA)
        assert text.startswith(f"SELECT * FROM {FULL} WHERE ")
        assert text.endswith("= :item_id LIMIT 2")
        assert "`tail_number`" in text

    def test_a_look_up_over_a_column_that_is_gone_says_so(self):
        with pytest.raises(Precondition) as caught:
            sql.look_up(MAINTENANCE, pa.schema([("tail_number", pa.string())]))
        assert caught.value.reason is Reason.MISSING_COLUMN

    def test_count_wraps_any_query(self):
        text = sql.count(resolved("WITH a AS (SELECT * FROM maintenance) SELECT x, x FROM a UNION SELECT 1, 2"))
        assert text.startswith("SELECT COUNT(*) AS `row_count` FROM (WITH a AS ")

    def test_limit_wraps_any_query(self):
        assert sql.limit(resolved("SELECT * FROM maintenance LIMIT 2 -- two"), 3).endswith(
            "LIMIT 2) AS `limited` LIMIT 3"
        )

    def test_tables_are_named_once_and_can_be_pinned(self):
        text = resolved(
            "SELECT * FROM maintenance m JOIN maintenance n USING (a) JOIN main.x.`y z` USING (b)", ALL_TABLES
        )
        assert sql.tables(text) == [FULL, "`main`.`x`.`y z`"]
        pinned = sql.pin(text, {FULL: 7})
        assert pinned.count(f"{FULL} VERSION AS OF 7 ") == 2
        assert "`y z` VERSION" not in pinned

    def test_a_version_of_the_users_stays(self):
        text = resolved("SELECT * FROM main.blade.blade_maintenance_data VERSION AS OF 3")
        assert sql.tables(text) == []
        assert sql.pin(text, {FULL: 7}) == text

    def test_names_of_with_clauses_are_not_pinned(self):
        text = resolved("WITH a AS (SELECT * FROM maintenance) SELECT * FROM a")
        assert sql.tables(text) == [FULL]

    def test_a_query_as_deep_as_allowed_can_be_wrapped(self):
        text = resolved("SELECT " + "(" * 30 + "a" + ")" * 30 + " FROM maintenance")
        assert sql.count(sql.pin(sql.limit(text, 1), {FULL: 1})).startswith("SELECT COUNT")

    def test_errors_are_ours_whatever_comes_in(self):
        for text in ["\0", "😀", "SELECT * FROM ``", "WITH " * 50, ")" * 50, "SELECT {", "${x}", "@@"]:
            with pytest.raises(BladeError):
                sql.resolve(text, REACH)


@pytest.mark.parametrize(
    ("statement", "limited"),
    [
        ("SELECT a FROM `c`.`s`.`t` ORDER BY a", "SELECT a FROM `c`.`s`.`t` ORDER BY a LIMIT 3"),
        ("SELECT 1 UNION ALL SELECT 2", "SELECT 1 UNION ALL SELECT 2 LIMIT 3"),
        ("WITH w AS (SELECT 1 LIMIT 9) SELECT * FROM w", "WITH w AS (SELECT 1 LIMIT 9) SELECT * FROM w LIMIT 3"),
        ("SELECT 1 LIMIT 9", "SELECT * FROM (SELECT 1 LIMIT 9) AS `limited` LIMIT 3"),
        ("SELECT 1 OFFSET 2", "SELECT * FROM (SELECT 1 OFFSET 2) AS `limited` LIMIT 3"),
        ("(SELECT 1)", "SELECT * FROM ((SELECT 1)) AS `limited` LIMIT 3"),
    ],
)
def test_a_limit_stands_at_the_end_where_there_is_none(statement: str, limited: str) -> None:
    assert sql.limit(statement, 3) == limited


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELEC", "begins with 'SELEC', did you mean SELECT?"),
        ("SELEC * FROM x", "begins with 'SELEC', did you mean SELECT?"),
        ("selectt a FROM x", "did you mean SELECT?"),
        ("WTIH x AS (SELECT 1) SELECT * FROM x", "did you mean WITH?"),
        ("tail_number", "begins with 'tail_number', not with SELECT"),
        ("'a'", "is an expression, not a SELECT"),
    ],
)
def test_what_begins_no_query_is_told_what_it_is(text, said):
    assert said in refusal(text).message
