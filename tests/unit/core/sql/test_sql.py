"""SQL: what is let through, what it becomes, what is refused and why."""

from __future__ import annotations

import sys
import threading

import pyarrow as pa
import pytest

from blade_server.core import sql
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


def resolved(text: str, **options) -> str:
    return sql.resolve(text, SOURCES, **options).statement


def refusal(text: str, **options) -> Invalid:
    with pytest.raises(Invalid) as caught:
        sql.resolve(text, SOURCES, **options)
    return caught.value


class TestResolve:
    def test_a_data_type_names_the_table_of_its_source(self):
        found = sql.resolve("SELECT * FROM maintenance WHERE priority='HIGH'", SOURCES)
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
        found = sql.resolve(f"SELECT 1 FROM {name}", SOURCES)
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
        found = sql.resolve("SELECT * FROM maintenance JOIN main.other.tails USING (tail_number)", SOURCES)
        assert "JOIN main.other.tails USING" in found.statement
        assert found.source is MAINTENANCE

    def test_the_chosen_source_maps_the_rows_of_a_table_that_is_no_source(self):
        assert sql.resolve("SELECT * FROM main.other.tails", SOURCES, chosen=[SORTIE]).source is SORTIE

    def test_two_sources_need_a_choice(self):
        text = "SELECT * FROM maintenance JOIN sortie USING (tail_number)"
        error = refusal(text)
        assert error.reason is Reason.SOURCE_AMBIGUOUS
        assert "blade-maintenance, sorties" in error.message
        assert sql.resolve(text, SOURCES, chosen=[SORTIE]).source is SORTIE

    def test_two_sources_of_one_data_type_need_a_choice(self):
        twin = source("maintenance-2", "maintenance", "other")
        with pytest.raises(Invalid) as caught:
            sql.resolve("SELECT * FROM maintenance", [MAINTENANCE, twin])
        assert caught.value.reason is Reason.SOURCE_AMBIGUOUS
        assert sql.resolve("SELECT * FROM maintenance", [MAINTENANCE, twin], chosen=[twin]).source is twin

    def test_sources_on_different_hosts_cannot_be_joined(self):
        far = source("far", "far", "far", host="elsewhere")
        with pytest.raises(Invalid, match="different hosts"):
            sql.resolve("SELECT * FROM far JOIN maintenance USING (a)", [MAINTENANCE, far], chosen=[far])

    def test_an_unknown_table_is_named_with_its_place_and_a_near_miss(self):
        error = refusal("SELECT *\nFROM maintenence")
        assert error.reason is Reason.INVALID_SQL
        assert "'maintenence' at line 2, column 6" in error.message
        assert "did you mean 'maintenance'" in error.message

    def test_a_query_without_a_table_is_refused(self):
        assert "reads no source" in refusal("SELECT 1").message


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
        assert (
            "secret is not allowed" in refusal("SELECT a FROM maintenance -- \r UNION SELECT secret('a', 'b')").message
        )

    def test_a_raw_string_is_written_anew(self):
        text = r"SELECT r'\d+' FROM maintenance"
        assert "r'" not in resolved(text)
        assert r"'\\d+'" in resolved(text)

    def test_comments_are_dropped(self):
        assert "secret" not in resolved("SELECT 1 -- secret\nFROM /* secret */ maintenance")

    def test_a_semicolon_at_the_end_is_no_second_statement(self):
        assert resolved("SELECT 1 FROM maintenance;").startswith("SELECT 1")


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
    @pytest.mark.parametrize("around", ["f({} => 1) = 1", "dateadd({}, 1, due_date) = 1", "datediff({}, a, b) = 1"])
    def test_names_that_the_writer_does_not_quote_cannot_carry_sql(self, name, around):
        condition = around.format("`" + name.replace("`", "``") + "`")
        with pytest.raises(Invalid) as caught:
            selected(filter=condition)
        assert caught.value.reason is Reason.INVALID_SQL

    @pytest.mark.parametrize(
        "condition", ["f(a => 1) = 1", "dateadd(DAY, 1, due_date) = a", "a:`b c`.d::STRING = 'x -- y'"]
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
            resolved(f"SELECT /*+ x */ f(`{name}` => 1) FROM maintenance")
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
        text = resolved("SELECT * FROM maintenance m JOIN maintenance n USING (a) JOIN main.x.`y z` USING (b)")
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
                sql.resolve(text, SOURCES)


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
