"""Direct queries over the real driver: items, Arrow, one item."""

from __future__ import annotations

import json
import threading

import pyarrow as pa
import pytest
from tests.support.access import called
from tests.support.timing import assert_within, seconds

from blade_server.app.policies import direct_policy
from blade_server.core.direct.queries import Queries
from blade_server.core.sources.sources import Sources
from blade_server.errors import (
    Deadline,
    Invalid,
    NotFound,
    Precondition,
    QuotaExceeded,
    Reason,
    StatementCancelled,
)
from blade_server.model import RowQuery

pytestmark = pytest.mark.usefixtures("stored")


def read(stream) -> tuple[list, list]:
    try:
        batches = list(stream)
    finally:
        stream.close()
    return [i for batch in batches for i in batch.items], [r for batch in batches for r in batch.rejected]


class TestItems:
    def test_the_default_is_a_hundred_rows(self, queries):
        items, rejected = read(queries.items(RowQuery(data_type="maintenance")))
        assert len(items) + len(rejected) == 100

    @pytest.mark.parametrize(("limit", "more"), [(None, True), (2_999, True), (3_000, False), (1_000_000_000, False)])
    def test_what_the_limit_leaves_out_is_said(self, queries, limit, more):
        stream = queries.items(RowQuery(data_type="maintenance", limit=limit))
        items, rejected = read(stream)
        assert len(items) + len(rejected) == min(limit or 100, 3_000)
        assert stream.more_rows is more

    def test_rows_become_items_with_their_origin(self, queries, sandbox):
        [item], _ = read(queries.items(RowQuery(data_type="maintenance", filter="tail_number = 'AF-012'")))
        assert item.item_id == "MAINT-AF-012-2024"
        assert item.data_type == "maintenance"
        assert item.classification == "UNCLASS"
        assert item.last_modified.startswith("2024-01-10T10:12:00")
        assert item.metadata == {"source": "databricks", "warehouse": sandbox.warehouse_id}
        assert json.loads(item.data_json)["cost"] == "15.00"

    def test_a_row_that_cannot_become_an_item_is_a_rejection(self, queries):
        items, [rejected] = read(
            queries.items(RowQuery(data_type="maintenance", filter="tail_number IN ('AF-007', 'AF-008')"))
        )
        assert [item.item_id for item in items] == ["MAINT-AF-008-2024"]
        assert rejected.error.reason is Reason.MISSING_CLASSIFICATION

    def test_filter_order_limit_and_offset_together(self, queries):
        items, _ = read(
            queries.items(
                RowQuery(
                    data_type="maintenance",
                    filter="priority = :p AND cost > :c",
                    parameters={"p": "HIGH", "c": "100"},
                    order_by=["tail_number desc"],
                    limit=2,
                    offset=1,
                )
            )
        )
        assert [item.item_id for item in items] == ["MAINT-AF-996-2024", "MAINT-AF-993-2024"]

    @pytest.mark.parametrize(
        ("value", "found"), [("0.000000000000000001", 2), ("0", 1), ("9" * 20 + "." + "9" * 18, 3)]
    )
    def test_a_decimal_of_full_width_is_compared_to_its_last_digit(self, queries, value, found):
        items, rejected = read(queries.items(RowQuery(source="exact", filter="amount = :a", parameters={"a": value})))
        assert not rejected
        assert [item.item_id for item in items] == [str(found)]

    def test_a_column_asked_for_twice_is_refused_before_anything_is_opened(self, queries):
        with pytest.raises(Invalid, match="'cost' is there more than once") as caught:
            queries.items(RowQuery(data_type="maintenance", columns=["cost", "Cost"]))
        assert caught.value.violations[0].field == "columns"

    @pytest.mark.parametrize("field", ["columns", "order_by"])
    def test_a_blank_name_is_refused_as_what_it_is(self, queries, field):
        with pytest.raises(Invalid, match="has an entry that is blank") as caught:
            queries.items(RowQuery(data_type="maintenance", **{field: ["cost", " "]}))
        assert caught.value.violations[0].field == field

    def test_columns_bring_those_of_the_mapping_along(self, queries):
        items, _ = read(queries.items(RowQuery(data_type="maintenance", columns=["cost"], limit=1)))
        assert set(json.loads(items[0].data_json)) == {
            "cost",
            "tail_number",
            "due_date",
            "last_modified",
            "classification",
        }

    def test_an_empty_table_gives_nothing(self, queries):
        assert read(queries.items(RowQuery(data_type="none"))) == ([], [])

    @pytest.mark.parametrize("limit", [0, -1, 1_000_000_001])
    def test_a_limit_out_of_range_is_refused(self, queries, limit):
        with pytest.raises(Invalid, match="limit"):
            queries.items(RowQuery(data_type="maintenance", limit=limit))

    @pytest.mark.parametrize(
        ("request_", "field"),
        [
            ({"filter": "x" * 70_000}, "filter"),
            ({"filter": "a = 1; DROP TABLE x"}, "filter"),
            ({"filter": "a = :p"}, "parameters"),
            ({"offset": -1}, "offset"),
            ({"columns": [""]}, "columns"),
            ({"order_by": [" "]}, "order_by"),
        ],
    )
    def test_a_wrong_request_is_refused_before_anything_runs(self, queries, request_, field):
        with pytest.raises(Invalid) as caught:
            queries.items(RowQuery(data_type="maintenance", **request_))
        assert caught.value.violations[0].field == field

    @pytest.mark.parametrize(
        ("request_", "field"),
        [({"columns": ["nope"]}, "columns"), ({"order_by": ["nope"]}, "order_by"), ({"filter": "nope = 1"}, "filter")],
    )
    def test_an_unknown_column_is_the_callers_mistake(self, queries, request_, field):
        with pytest.raises(Invalid) as caught:
            read(queries.items(RowQuery(data_type="maintenance", **request_)))
        assert caught.value.violations[0].field == field

    def test_a_table_that_has_got_a_column_is_looked_at_again(self, queries, sandbox, sources, source):
        run(sandbox, "CREATE TABLE main.blade.growing AS SELECT 'a' AS item_id, 'UNCLASS' AS classification")
        sources.add(source("growing", "growing", table="growing"))
        read(queries.items(RowQuery(data_type="growing", columns=["item_id"])))
        run(
            sandbox,
            "CREATE OR REPLACE TABLE main.blade.growing AS SELECT 'a' AS item_id, 'UNCLASS' AS classification, 1 AS n",
        )
        [item], _ = read(queries.items(RowQuery(data_type="growing", filter="n = 1")))
        assert json.loads(item.data_json)["n"] == 1


def run(sandbox, statement: str) -> None:
    from databricks import sql

    connection = sql.connect(
        server_hostname=sandbox.url,
        http_path=sandbox.http_path,
        _connection_uri=sandbox.url + sandbox.http_path,
        access_token=sandbox.token,
        enable_telemetry=False,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)


class TestArrow:
    def test_all_rows_come_in_their_own_types(self, queries):
        stream = queries.arrow(RowQuery(data_type="maintenance"))
        try:
            schema = stream.schema
            table = pa.Table.from_batches(list(stream), schema=schema)
        finally:
            stream.close()
        assert table.num_rows == 3000
        assert schema.field("cost").type == pa.decimal128(9, 2)
        assert schema.field("last_modified").type == pa.timestamp("us", "UTC")

    def test_columns_are_only_those_asked_for(self, queries):
        stream = queries.arrow(RowQuery(data_type="maintenance", columns=["cost"], limit=3))
        assert stream.schema.names == ["cost"]
        assert sum(batch.num_rows for batch in stream) == 3
        stream.close()


class TestEnding:
    def test_too_many_at_once_are_refused_and_places_come_back(self, queries):
        held = [queries.items(RowQuery(data_type="maintenance")) for _ in range(3)]
        with pytest.raises(QuotaExceeded):
            queries.arrow(RowQuery(data_type="maintenance"))
        with pytest.raises(QuotaExceeded):
            queries.item(data_type="maintenance", item_id="x")
        held[0].close()
        held[0].close()
        read(queries.items(RowQuery(data_type="maintenance", limit=1)))
        with pytest.raises(NotFound):
            queries.item(data_type="maintenance", item_id="x")
        for stream in held:
            stream.close()

    def test_a_failed_request_takes_no_place(self, queries):
        for _ in range(5):
            with pytest.raises(Invalid):
                queries.items(RowQuery(data_type="maintenance", limit=0))
        read(queries.items(RowQuery(data_type="maintenance", limit=1)))

    def test_a_caller_who_leaves_cancels_the_statement(self, queries, sandbox, wait_until):
        sandbox.faults.set({"slow_execute_ms": 10_000})

        def attempt() -> None:
            stream = queries.items(RowQuery(data_type="maintenance"))
            threading.Timer(0.3, stream.cancel).start()
            with pytest.raises(StatementCancelled):
                list(stream)
            stream.close()

        assert_within(2.0, lambda: seconds(attempt))
        wait_until(lambda: sandbox._service.running() == 0)

    def test_a_cancel_before_the_first_row_is_not_lost(self, queries):
        stream = queries.items(RowQuery(data_type="maintenance"))
        stream.cancel()
        with pytest.raises(StatementCancelled):
            list(stream)
        stream.close()

    def test_the_time_limit_ends_a_query(self, make_settings, store, sandbox, recorder):
        settings = make_settings(query_timeout_s=0.4)
        policy = direct_policy(settings)
        sources = Sources(policy.source, store, recorder)
        stream = Queries(policy, sources, recorder).items(RowQuery(data_type="maintenance"), by=called())
        sandbox.faults.set({"slow_execute_ms": 10_000})
        with pytest.raises(Deadline):
            list(stream)
        stream.close()


class TestItem:
    def test_one_item_by_its_id(self, queries):
        item = queries.item(data_type="maintenance", item_id="MAINT-AF-012-2024")
        assert item.item_id == "MAINT-AF-012-2024"
        assert json.loads(item.data_json)["tail_number"] == "AF-012"

    @pytest.mark.parametrize("item_id", ["a", "padded", "it's"])
    def test_blanks_and_quotes_in_ids(self, queries, item_id):
        assert queries.item(data_type="odd", item_id=item_id).item_id == item_id

    @pytest.mark.parametrize("item_id", ["nothing", " padded ", "A", "' OR '1'='1", "MAINT-AF-012-2024 "])
    def test_an_id_that_no_row_has_is_not_found(self, queries, item_id):
        with pytest.raises(NotFound) as caught:
            queries.item(data_type="odd", item_id=item_id)
        assert caught.value.reason is Reason.ITEM_NOT_FOUND

    def test_an_id_of_two_rows_is_ambiguous(self, queries):
        with pytest.raises(Precondition) as caught:
            queries.item(data_type="odd", item_id="twice")
        assert caught.value.reason is Reason.ITEM_AMBIGUOUS

    def test_a_row_that_cannot_become_an_item_says_why(self, queries):
        with pytest.raises(Precondition) as caught:
            queries.item(data_type="odd", item_id="b")
        assert caught.value.reason is Reason.ITEM_REJECTED
        assert "NOFORN" in caught.value.message
        assert caught.value.metadata["cause"] == "UNKNOWN_CLASSIFICATION"

    def test_an_empty_id_is_refused(self, queries):
        with pytest.raises(Invalid, match="item_id"):
            queries.item(data_type="odd", item_id="")


class TestRowHash:
    def test_an_item_is_found_by_the_hash_of_its_row_whatever_columns_were_asked_for(self, queries, sources, source):
        sources.add(source("hashed", "hashed", item_id="H-{row:hash}"))
        some, _ = read(queries.items(RowQuery(source="hashed", order_by=["tail_number"], limit=20)))
        same, _ = read(queries.items(RowQuery(source="hashed", order_by=["tail_number"], limit=20, columns=["cost"])))
        assert [item.item_id for item in some] == [item.item_id for item in same]
        assert len({item.item_id for item in some}) == len(some)
        assert queries.item(source="hashed", item_id=some[5].item_id).data_json == some[5].data_json

    def test_a_misspelt_column_is_said_as_for_every_other_source(self, queries, sources, source):
        sources.add(source("hashed", "hashed", item_id="H-{row:hash}"))
        with pytest.raises(Invalid, match=r"no column 'tail_nmber'; did you mean 'tail_number'\?") as caught:
            read(queries.items(RowQuery(source="hashed", columns=["cost", "tail_nmber"])))
        assert [each.field for each in caught.value.violations] == ["columns"]

    def test_an_item_is_found_by_its_hash_as_soon_as_the_table_has_another_column(
        self, queries, sandbox, sources, source
    ):
        sandbox.run("CREATE TABLE main.blade.grows AS SELECT 1 AS n, 'UNCLASS' AS classification")
        sources.add(source("grows", "grows", table="grows", item_id="{row:hash}"))

        def hashes() -> list[str]:
            return [item.item_id for item in read(queries.items(RowQuery(source="grows", limit=10)))[0]]

        (before,) = hashes()
        assert queries.item(source="grows", item_id=before).item_id == before
        sandbox.run("CREATE OR REPLACE TABLE main.blade.grows AS SELECT 1 AS n, 2 AS m, 'UNCLASS' AS classification")
        (after,) = hashes()
        assert after != before
        assert queries.item(source="grows", item_id=after).item_id == after

    def test_a_table_whose_rows_have_no_hash_in_sql_says_so(self, queries, sandbox, sources, source):
        sandbox.run("CREATE TABLE main.blade.floats AS SELECT 1.5D AS x, 'UNCLASS' AS classification")
        added = sources.add(source("floats", "floats", table="floats", item_id="{row:hash}"))
        assert "were not counted" in added.item_ids.message
        [item], _ = read(queries.items(RowQuery(source="floats")))
        with pytest.raises(
            Precondition, match=r"column 'x' of type double: such ids can be neither looked up"
        ) as caught:
            queries.item(source="floats", item_id=item.item_id)
        assert caught.value.reason is Reason.INVALID_FIELD
